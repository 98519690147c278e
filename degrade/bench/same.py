"""Compares every backend and precision with eager fp32: 200 steps of plain and residual nets on the digits.

In step: at every fourth of 200 steps of eager fp32, the other loop gets the same weights, momentum and statistics, and
trains on the same batch. So a deviation comes from one step, and no chaos of training hides or makes it. On its own:
the other loop does 200 steps from the same initial weights on the same batches, through the whole loop. Training
amplifies rounding there, so this says no more than that the loops train alike.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from degrade import data
from degrade.bench.apart import Apart
from degrade.bench.bounds import Bounded
from degrade.bench.cases import QUICKSTART
from degrade.bench.ours import engine_of
from degrade.data.images import Note
from degrade.errors import SpecError
from degrade.spec import DataSpec, NetSpec, RunSpec
from degrade.train.fit import Fit
from degrade.train.precision import settle
from degrade.train.schedule import Warmup, lr_at

STEPS, _EVERY, _FIRST_STEPS = 200, 4, 10
COMPARED_NETS = ("residual", "plain")

# Bounds on relative deviations that come from rounding alone. Measured over three seeds (x86 with AVX512-BF16, torch
# 2.15): fp32 4e-7, 3e-6 and 8e-6; bf16 3e-3, 0.045 and 0.012. tf32 rounds to a quarter of bf16's steps, and was not
# measured. A learning rate that is a tenth off makes an update deviate by 0.1; a forgotten weight decay, by 6e-4.
_BOUNDS: dict[str, dict[str, float]] = {
    "fp32": {"loss": 1e-5, "update": 1e-4, "statistics": 1e-4},
    "tf32": {"loss": 3e-3, "update": 0.02, "statistics": 0.01},
    "bf16": {"loss": 1e-2, "update": 0.08, "statistics": 0.03},
}
# Eager fp32 on two threads differs from one thread by the order of sums alone. It is up to 0.02 apart over the first
# ten steps of a plain net, and 0.28 over steps 50 to 200. So these bounds do not depend on the precision.
_ALONE_BOUNDS = {"first": 0.1, "all": 0.4}


@dataclass(frozen=True)
class Sameness(Bounded):
    """Relative deviations of one loop from eager fp32 on one net, and their bounds."""

    loop: str  # backend and precision
    net: str
    loss: float  # in step: mean over steps
    update: float  # in step: of the change of the weights, ||d - d'|| / ||d'||, median over steps
    statistics: float  # in step: of the change of BN's running statistics, mean over steps
    first: float  # on its own: of the mean loss of the first ten steps
    all: float  # on its own: of the mean loss of all steps
    bounds: dict[str, float]


def compare_loops(
    loops: Sequence[str], device: str, *, depth: int = 20, steps: int = STEPS, note: Note = data.quiet
) -> list[Sameness]:
    """Compares each loop on each net with eager fp32, on one thread. The nets run at once, each in its own process."""
    found = list[Sameness]()
    with ExitStack() as stack:
        apart = [stack.enter_context(Apart(partial(Comparison, net, device, depth, steps))) for net in COMPARED_NETS]
        for process in apart:
            process.tell("compare", loops)
        for done, process in enumerate(apart):
            note("the same as eager fp32?", done, len(apart))
            found += process.hear()
    return found


class Comparison:
    """Compares loops with eager fp32 on one net."""

    def __init__(self, net: str, device: str, depth: int = 20, steps: int = STEPS) -> None:
        self.net, self.device, self.depth, self.steps = net, device, depth, steps
        self.data = data.prepare(DataSpec(name="digits"))
        self.splits = data.load(self.data)

    def fit(self, loop: str) -> Fit:
        recipe = replace(QUICKSTART, eval_every=10**9)
        net, engine = NetSpec(net=self.net, depth=self.depth), engine_of(loop, self.device, threads=1)
        return Fit(RunSpec(net=net, data=self.data, recipe=recipe, engine=engine), self.splits)

    def compare(self, loops: Sequence[str]) -> list[Sameness]:
        fits = {loop: self.fit(loop) for loop in loops}
        # first, since the steps in step overwrite their states
        own = {loop: _train_losses(fit, self.steps) for loop, fit in fits.items()}
        exact, right, apart = self.fit("eager-fp32"), list[float](), {loop: list[_Deviation]() for loop in loops}
        for iteration in range(self.steps):
            if iteration % _EVERY:
                right += _train_losses(exact, 1)
                continue
            begin = exact.backend.state()
            right += _train_losses(exact, 1)
            end = exact.backend.state()
            for loop, fit in fits.items():
                apart[loop].append(_compare_states(begin, end, _step_from(fit, begin, iteration)))
        return [self._summarise(loop, apart[loop], own[loop], right) for loop in loops]

    def _summarise(
        self, loop: str, apart: "Sequence[_Deviation]", own: Sequence[float], right: Sequence[float]
    ) -> Sameness:
        return Sameness(
            loop,
            self.net,
            loss=fmean(step.loss for step in apart),
            update=median(step.update for step in apart),
            statistics=fmean(step.statistics for step in apart),
            first=_relative_deviation(fmean(own[:_FIRST_STEPS]), fmean(right[:_FIRST_STEPS])),
            all=_relative_deviation(fmean(own), fmean(right)),
            bounds={**_BOUNDS[loop.rsplit("-", 1)[1]], **_ALONE_BOUNDS},
        )


def _train_losses(fit: Fit, steps: int) -> list[float]:
    """Does so many steps and returns the mean loss of each, in nats."""
    settle(fit.spec.engine.precision, fit.device)  # the fits of one process share torch's settings
    sums = [fit.backend.tally[0].item()]
    for _ in range(steps):
        fit.advance(1)
        sums.append(fit.backend.tally[0].item())
    return [(after - before) / fit.spec.recipe.batch for before, after in pairwise(sums)]


def _step_from(fit: Fit, state: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    """Does one step from the state of another loop and returns the new state."""
    settle(fit.spec.engine.precision, fit.device)
    fit.backend.restore({**state, "layout": fit.backend.layout})  # of its own: it is timed there too
    fit.backend.lr.fill_(lr_at(fit.spec.recipe, iteration, Warmup()))
    fit.backend.step(iteration)
    return fit.backend.state()


@dataclass(frozen=True)
class _Deviation:
    """Relative deviations of one step."""

    loss: float
    update: float
    statistics: float


def _compare_states(begin: Mapping[str, Any], right: Mapping[str, Any], found: Mapping[str, Any]) -> _Deviation:
    """Compares two states that were reached from one state by one step."""
    weights = list(begin["momentum"])
    statistics = [name for name, value in begin["net"].items() if name not in weights and value.is_floating_point()]
    change = [float(state["tally"][0] - begin["tally"][0]) for state in (found, right)]
    return _Deviation(
        _relative_deviation(*change),
        _distance(begin, right, found, weights),
        _distance(begin, right, found, statistics),
    )


def _distance(begin: Mapping[str, Any], right: Mapping[str, Any], found: Mapping[str, Any], names: list[str]) -> float:
    """||(found - begin) - (right - begin)|| / ||right - begin||, over the tensors of these names."""
    start, one, other = (_flatten(state["net"], names) for state in (begin, right, found))
    return float((other - one).norm() / (one - start).norm())


def _flatten(tensors: Mapping[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in names]).double()


def _relative_deviation(found: float, right: float) -> float:
    return abs(found - right) / abs(right)


def find_available(loops: Sequence[str], device: str) -> tuple[list[str], dict[str, str]]:
    """Finds the loops that can be had here, and why the others cannot."""
    comparison, had, refused = Comparison(COMPARED_NETS[0], device, depth=8), list[str](), dict[str, str]()
    for loop in loops:
        try:
            comparison.fit(loop)
            had.append(loop)
        except SpecError as error:
            refused[loop] = str(error)
    return had, refused
