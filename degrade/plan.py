"""What a sweep will cost, from a few measured steps on this device: time, memory, disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from degrade import data, nets
from degrade.spec import RunSpec
from degrade.train.fit import Fit
from degrade.train.probe import probe

SHALLOW, DEEP = 8, 20  # depths that are measured; every other one lies on the line through them
PATIENCE = 0.4  # seconds of steps that a measurement takes, or one step
CURVE_ROW = 60  # bytes of one row of a curve on disk, compressed


@dataclass(frozen=True)
class Price:
    """Of one run."""

    epochs: float  # passes over the training set
    seconds: float  # of training, probes and evaluation, alone on its worker
    memory: float  # bytes on the device: weights, gradients, momentum, what backward needs, the images
    disk: float  # bytes when it is finished: two checkpoints and the curve


@dataclass(frozen=True)
class Sample:
    """What one net costs, measured."""

    step: float  # seconds
    image: float  # seconds of evaluation
    probe: float  # seconds of one look at the gradients; 0 without engine.probe
    saved: float  # bytes kept for the backward pass


class Prices:
    """Prices of runs. Each kind of net is measured at two depths: a block costs the same at any depth."""

    def __init__(self) -> None:
        self._samples: dict[object, Sample] = {}

    def of(self, spec: RunSpec) -> Price:
        train, test, val = data.load(spec.data)
        sample = self._at(spec)
        recipe, n = spec.recipe, len(train)
        points = -(-recipe.iterations // recipe.eval_every)
        held = len(val) if val else 0
        probes = -(-recipe.iterations // spec.engine.probe) if spec.engine.probe else 0
        looked_at = (points - 1) * min(recipe.clean_images, n) + n + points * (len(test) + held)
        if recipe.precise_bn:
            looked_at += n
        shape = {"channels": train.pixels.shape[1], "classes": len(train.classes), "size": train.pixels.shape[-1]}
        weights = 4 * nets.cost(spec.net, **shape).parameters
        pictures = train.pixels.nbytes + test.pixels.nbytes
        return Price(
            epochs=recipe.iterations * recipe.batch / n,
            seconds=recipe.iterations * sample.step + looked_at * sample.image + probes * sample.probe,
            memory=3 * weights + sample.saved + pictures,
            disk=2 * 2 * weights + 3 * points * CURVE_ROW,
        )

    def _at(self, spec: RunSpec) -> Sample:
        shallow, deep = (self._measured(spec, depth) for depth in (SHALLOW, DEEP))
        share = (spec.net.depth - SHALLOW) / (DEEP - SHALLOW)
        at = {
            k: getattr(shallow, k) + share * (getattr(deep, k) - getattr(shallow, k))
            for k in ("step", "image", "probe", "saved")
        }
        return Sample(**{key: max(value, getattr(shallow, key)) for key, value in at.items()})

    def _measured(self, spec: RunSpec, depth: int) -> Sample:
        at = replace(spec, net=replace(spec.net, depth=depth))
        key = (at.net, at.data, at.recipe.batch, at.recipe.norm, at.recipe.bn_group, at.engine)
        if key not in self._samples:
            self._samples[key] = measure(at)
        return self._samples[key]


def measure(spec: RunSpec) -> Sample:
    """A few steps and evaluations of a run, timed; nothing is stored."""
    never = replace(spec.recipe, iterations=10**9, eval_every=10**9)
    fit = Fit(replace(spec, recipe=never, engine=replace(spec.engine, probe=0)), data.load(spec.data))
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        fit.advance(1)
    few = min(250, len(fit.test))
    return Sample(
        step=timed(fit, lambda: fit.advance(1)),
        image=timed(fit, lambda: fit.backend.evaluate(fit.test, 0, few)) / few,
        probe=timed(fit, lambda: probe(fit.backend.copy(), *fit.batches.at(0))) if spec.engine.probe else 0.0,
        saved=sum(saved.values()),
    )


def timed(fit: Fit, act: Callable[[], object]) -> float:
    """Median seconds of doing `act`, after once for warmth."""
    act()
    spent: list[float] = []
    while sum(spent) < PATIENCE:
        begin = time.perf_counter()
        act()
        if fit.device.type == "cuda":
            torch.cuda.synchronize(fit.device)
        spent.append(time.perf_counter() - begin)
    return sorted(spent)[len(spent) // 2]


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long runs take on so many workers, the longest placed first."""
    busy = [0.0] * max(1, workers)
    for run in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += run
    return max(busy)
