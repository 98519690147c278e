"""Our loop, which is Fit, and the work of a run besides its steps: evaluation, checkpoints, curves."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from degrade.bench.cases import Case
from degrade.spec import EngineSpec
from degrade.spec.rows import Point
from degrade.store.folder import RunDir
from degrade.store.state import BEAT, State
from degrade.train.checkpoint import pack
from degrade.train.fit import Fit

_TIMES = 5  # each act besides the steps is timed so often
_ROWS_A_POINT = 3  # of a curve: train, train_clean, test
_SAVE_SECONDS = 60.0  # seconds between two checkpoints, as engine.checkpoint_every


@dataclass(frozen=True)
class Aside:
    """Seconds of each act besides the steps, for one time."""

    image: float  # evaluation of one image
    checkpoint: float  # the state as bytes, written and flushed to disk
    curve: float  # rewriting half of the curve: the mean over the run
    beat: float  # state.json


@dataclass(frozen=True)
class Shares:
    """Seconds of a whole run, by kind of work."""

    steps: float
    evaluation: float
    checkpoints: float
    logging: float  # curves and state.json

    @property
    def total(self) -> float:
        return self.steps + self.evaluation + self.checkpoints + self.logging

    def of(self, part: str) -> float:
        """The share of one kind of work in the whole run, from 0 to 1."""
        return getattr(self, part) / self.total


class Ours:
    """Fit on one backend, with all that a step does in a run."""

    def __init__(self, case: Case, engine: EngineSpec) -> None:
        """Raises SpecError where there is no such backend or precision."""
        self.case = case
        self.fit = Fit(case.spec(engine), case.splits())

    def go(self, steps: int) -> int:
        """Does so many steps, waits for the device, and returns the images."""
        self.fit.advance(steps)
        self.fit.backend.tally.tolist()  # waits for the device
        return steps * self.case.recipe.batch

    def aside(self) -> Aside:
        """Times the acts besides the steps, on the net as it stands, in a temporary folder."""
        fit, recipe = self.fit, self.case.recipe
        few = min(1_000, len(fit.test))
        points = [_make_point(fit, i) for i in range(-(-recipe.iterations // recipe.eval_every) * _ROWS_A_POINT // 2)]
        with tempfile.TemporaryDirectory(prefix="degrade-bench-") as root:
            folder = RunDir(Path(root), "bench")
            folder.path.mkdir(parents=True)
            return Aside(
                image=_time_act(lambda: _evaluate(fit, few)) / few,
                checkpoint=_time_act(lambda: folder.write_checkpoint(pack(fit.state()))),
                curve=_time_act(lambda: folder.write_curve(fit.spec, points)),
                beat=_time_act(lambda: folder.write_state(State("running", iteration=1))),
            )


def _evaluate(fit: Fit, images: int) -> None:
    """Evaluates as Fit does: in batches, with one wait for the device at the end."""
    sums = torch.zeros(2, dtype=torch.float64, device=fit.device)
    for start, stop in fit.test.spans(images):
        sums += fit.backend.evaluate(fit.test, start, stop)
    sums.tolist()


def _make_point(fit: Fit, i: int) -> Point:
    """Makes a row of a curve that is as long as a real row."""
    return Point(i, i / 3, "train_clean", i**0.5, i**0.5, 5000, 0.1, 1 / (i + 1), 1000.0 + i**0.5, i * 1.1)


def _time_act(act: Callable[[], object]) -> float:
    """The median time of `act`, in seconds, after one call to warm up."""
    act()
    spent: list[float] = []
    for _ in range(_TIMES):
        begin = time.perf_counter()
        act()
        spent.append(time.perf_counter() - begin)
    return median(spent)


def shares(case: Case, step: float, aside: Aside) -> Shares:
    """Shares of a run of this case by its recipe; each step takes `step` seconds."""
    recipe = case.recipe
    steps, evaluation = recipe.iterations * step, case.evaluated * aside.image
    points, seconds = -(-recipe.iterations // recipe.eval_every), steps + evaluation
    logging = points * aside.curve + seconds / BEAT * aside.beat
    return Shares(steps, evaluation, (seconds / _SAVE_SECONDS + 1) * aside.checkpoint, logging)


def engine_of(name: str, device: str, threads: int) -> EngineSpec:
    """The engine of a loop by its name, as native-bf16."""
    backend, precision = name.rsplit("-", 1)
    return EngineSpec(backend=backend, precision=precision, device=device, threads=threads)
