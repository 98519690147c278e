"""Compares every backend with float64 at the paper's shape: one step of a net on 128 pictures of 3x32x32.

The yardstick is plain torch, contiguous, in the precision of the backend: a few orders of the same batch have the same
exact gradient, and their deviations from it are what rounding alone does. Nets are fresh, and trained for a few steps.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from degrade import data, nets
from degrade.bench.apart import Apart
from degrade.bench.bounds import Bounded
from degrade.bench.ours import engine_of
from degrade.data.images import Images, Note, Splits
from degrade.errors import SpecError
from degrade.spec import DataSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.fit import Fit
from degrade.train.precision import autocast, settle

QUICK_NETS = ("residual-20", "plain-20")  # seconds in all
NETS = (*QUICK_NETS, "plain-56")
STATES = ("fresh", "trained")
YARDSTICK = "torch"  # the beginning of the names of its rows
_TRAINING = RecipeSpec(iterations=10**9, batch=32, eval_every=10**9)  # of the trained nets, which take STEPS of it
STEPS = 40
_MEASURED = RecipeSpec(weight_decay=0.0, augment="none", iterations=10**9, eval_every=10**9)  # momentum is the gradient
_ORDERS = 2  # of one batch, in the yardstick
# A backend may deviate so many times as much as the yardstick at its worst. A unit before a ReLU that is zero up to
# rounding opens in one order and not in another, so the deviation of a gradient differs from order to order. Statistics
# do not, but the kernels were at 2.5 times the yardstick in plain-56; channels-last batch norm, at 60 times and more.
_MARGINS = {"loss": 4.0, "gradient": 4.0, "statistics": 10.0}
LOST = (
    0.1  # relative deviation of the yardstick's gradient from which on only statistics are judged: the rest is chance
)
# The largest deviations of the yardstick in trained nets: residual-20 and plain-20, seven batches each, and residual-8
# (2 cores of an Intel Xeon, torch 2.15.0, 2026-12-01). Where it happens to be nearer, this counts. tf32 rounds to an
# eighth of bf16's steps, and was not measured.
_SEEN: dict[str, dict[str, float]] = {
    "fp32": {"loss": 1.1e-7, "gradient": 1.2e-4, "statistics": 7e-8},
    "tf32": {"loss": 1e-4, "gradient": 2e-3, "statistics": 1.2e-4},
    "bf16": {"loss": 8e-4, "gradient": 1.7e-2, "statistics": 9e-4},
}
_ENLARGED = 4  # the digits' 8x8 pixels become 32x32
_TINTS = (1.0, 0.75, 0.5)  # of the three channels


@dataclass(frozen=True)
class Exactness(Bounded):
    """Relative deviations of one step of a loop from float64, and their bounds."""

    loop: str  # backend and precision; torch-fp32: the yardstick, the largest deviation of its orders
    net: str
    state: str  # of STATES
    loss: float
    gradient: float  # ||g - g'|| / ||g'|| over all parameters
    statistics: float  # the same of BN's mean and variance over all layers
    bounds: dict[str, float]  # of what is judged; empty for the yardstick


def parse_net(name: str) -> NetSpec:
    """plain-56 -> its spec. Raises SpecError for a name that is none."""
    net, _, depth = name.rpartition("-")
    if not net or not depth.isdecimal():
        raise SpecError(f"--float64={name}: must be nets with their depth, as in residual-20,plain-56")
    return NetSpec(net=net, depth=int(depth))


def compare_with_float64(
    loops: Sequence[str], device: str, names: Sequence[str], note: Note = data.quiet
) -> list[Exactness]:
    """Compares each loop on each net, on one thread. The nets go two at a time, each in its own process."""
    found = list[Exactness]()
    for first in range(0, len(names), 2):
        with ExitStack() as stack:
            apart = [stack.enter_context(Apart(partial(Comparison, name, device))) for name in names[first : first + 2]]
            for process in apart:
                process.tell("compare", loops)
            for done, process in enumerate(apart):
                note("how far from float64?", first + done, len(names))
                found += process.hear()
    return found


class _Step(NamedTuple):
    """What one step of a net computes."""

    loss: float
    gradient: Tensor  # of all parameters, flat, float64
    statistics: Tensor  # BN's mean and variance in all layers, flat, float64


class Comparison:
    """Compares loops with float64 on one net."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.net, self.device = name, parse_net(name), torch.device(device)
        self.splits = _draw_pictures()

    def compare(self, loops: Sequence[str]) -> list[Exactness]:
        fits = {loop: self._fit(loop, _MEASURED) for loop in loops}
        found = list[Exactness]()
        for state, weights in zip(STATES, (self._fresh(), self._trained()), strict=True):
            found += self._compare_on(state, weights, fits)
        return found

    def _fit(self, loop: str, recipe: RecipeSpec) -> Fit:
        engine = engine_of(loop, self.device.type, threads=1)
        return Fit(RunSpec(net=self.net, data=DataSpec(name="digits"), recipe=recipe, engine=engine), self.splits)

    def _fresh(self) -> dict[str, Tensor]:
        return nets.build(self.net, channels=len(_TINTS), classes=10).state_dict()

    def _trained(self) -> dict[str, Tensor]:
        fit = self._fit("auto-fp32", _TRAINING)
        settle("fp32", self.device)
        fit.advance(STEPS)
        return fit.backend.state()["net"]

    def _compare_on(self, state: str, weights: Mapping[str, Tensor], fits: Mapping[str, Fit]) -> list[Exactness]:
        weights = {name: torch.zeros_like(each) if "running" in name else each for name, each in weights.items()}
        x, y = next(iter(fits.values())).batches.at(0)
        right = self._step_of_torch(weights, x, y, torch.float64)
        bounds, found = dict[str, dict[str, float]](), list[Exactness]()
        for precision in dict.fromkeys(loop.rsplit("-", 1)[1] for loop in fits):
            own = [
                _deviate(self._step_of_torch(weights, x[order], y[order], torch.float32, precision), right)
                for order in _orders(len(x), self.device)
            ]
            worst = {name: max(each[name] for each in own) for name in own[0]}
            bounds[precision] = _bound(worst, precision)
            found.append(Exactness(f"{YARDSTICK}-{precision}", self.name, state, **worst, bounds={}))
        for loop, fit in fits.items():
            apart = _deviate(_step_of_fit(fit, weights), right)
            found.append(Exactness(loop, self.name, state, **apart, bounds=bounds[loop.rsplit("-", 1)[1]]))
        return found

    def _step_of_torch(
        self, weights: Mapping[str, Tensor], x: Tensor, y: Tensor, kind: torch.dtype, precision: str = "fp32"
    ) -> _Step:
        """Plain torch, contiguous."""
        settle(precision, self.device)
        net = nets.build(self.net, channels=len(_TINTS), classes=10)
        net.load_state_dict(weights)
        net = net.to(self.device, kind).train()
        with autocast(precision, self.device):
            logits = net(x.to(kind))
        loss = F.cross_entropy(logits.to(kind), y)
        loss.backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        return _Step(loss.item(), _flatten(gradients), _statistics(net.state_dict()))


def _bound(worst: Mapping[str, float], precision: str) -> dict[str, float]:
    """The bounds that follow from the largest deviations of the yardstick."""
    judged = _MARGINS if worst["gradient"] <= LOST else ("statistics",)
    return {name: _MARGINS[name] * max(worst[name], _SEEN[precision][name]) for name in judged}


def _draw_pictures() -> Splits:
    """The digits, enlarged, in three tints: pictures of the paper's shape that a net can learn, without a download."""

    def enlarge(images: Images) -> Images:
        wide = images.pixels.repeat(_ENLARGED, axis=2).repeat(_ENLARGED, axis=3)
        return Images(
            np.concatenate([(wide * tint).astype(np.uint8) for tint in _TINTS], 1), images.labels, images.classes
        )

    train, test, _ = data.load(data.prepare(DataSpec(name="digits")))
    return Splits(enlarge(train), enlarge(test), None)


def _orders(n: int, device: torch.device) -> list[Tensor]:
    """Orders of a batch, (n,) int64 each."""
    draws = torch.Generator().manual_seed(0)
    return [torch.randperm(n, generator=draws).to(device) for _ in range(_ORDERS)]


def _step_of_fit(fit: Fit, weights: Mapping[str, Tensor]) -> _Step:
    """One step of a backend at rate 0. From momentum 0 and without decay, momentum becomes the gradient."""
    settle(fit.spec.engine.precision, fit.device)
    begin = fit.backend.state()
    momentum = {name: torch.zeros_like(each) for name, each in begin["momentum"].items()}
    fit.backend.restore({**begin, "net": weights, "momentum": momentum})
    fit.backend.lr.fill_(0.0)
    fit.backend.step(0)
    end = fit.backend.state()
    loss = float(end["tally"][0] - begin["tally"][0]) / fit.spec.recipe.batch
    return _Step(loss, _flatten(end["momentum"]), _statistics(end["net"]))


def _statistics(state: Mapping[str, Tensor]) -> Tensor:
    return _flatten({name: each for name, each in state.items() if "running" in name})


def _flatten(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([each.detach().double().flatten() for each in tensors.values()])


def _deviate(found: _Step, right: _Step) -> dict[str, Any]:
    """Relative deviations, by the fields of Exactness."""
    return {
        "loss": abs(found.loss - right.loss) / abs(right.loss),
        "gradient": float((found.gradient - right.gradient).norm() / right.gradient.norm()),
        "statistics": float((found.statistics - right.statistics).norm() / right.statistics.norm()),
    }
