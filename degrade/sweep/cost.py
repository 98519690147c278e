"""Prices of runs from samples of their kinds. A block costs the same at any depth."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean

from degrade import data
from degrade.spec import RunSpec

SAMPLED_DEPTHS = (8, 20, 56)  # these are measured; others lie on the line through the two around or before them
_CURVE_ROW = 60  # bytes of one row of a curve on disk, compressed


@dataclass(frozen=True)
class Price:
    """What one run costs."""

    epochs: float  # passes over the training set
    seconds: float  # of training, probes and evaluation, beside as many others as there are workers
    memory: float  # bytes at the peak: resident in the worker process, or of the GPU where it trains on one
    disk: float  # bytes when it is finished: two checkpoints and the curve


@dataclass(frozen=True)
class Sample:
    """What one net costs, as measured."""

    load: float  # seconds until a process has its libraries
    begin: float  # seconds until the first step is done
    step: float  # seconds
    image: float  # seconds of evaluation
    probe: float  # seconds of one look at the gradients; 0 without engine.probe
    memory: float  # bytes, as in Price
    checkpoint: float  # bytes


Samples = Mapping[int, Sample]  # by depth


class Prices:
    """Prices runs from samples of their kinds."""

    def __init__(self, samples: Mapping[Hashable, Samples]) -> None:
        self.samples = samples
        self.load = max(sample.load for each in samples.values() for sample in each.values())  # seconds, of a worker

    def of(self, spec: RunSpec) -> Price:
        """Prices one run. Its kind must be among the samples."""
        train, test, val = data.load(spec.data)
        sample = interpolate(self.samples[kind(spec)], spec.net.depth)
        recipe, n = spec.recipe, len(train)
        points = -(-recipe.iterations // recipe.eval_every)
        held = len(val) if val else 0
        probes = -(-recipe.iterations // spec.engine.probe) if spec.engine.probe else 0
        looked_at = (points - 1) * min(recipe.clean_images, n) + n + points * (len(test) + held)
        if recipe.precise_bn:
            looked_at += n
        work = recipe.iterations * sample.step + looked_at * sample.image + probes * sample.probe
        return Price(
            epochs=recipe.iterations * recipe.batch / n,
            seconds=sample.begin + work,
            memory=sample.memory,
            disk=2 * sample.checkpoint + 3 * points * _CURVE_ROW,
        )


def interpolate(samples: Samples, depth: int) -> Sample:
    """Estimates the sample at `depth`, on the line through the two measured ones around it, or through the last two."""
    known = sorted(samples)
    if len(known) == 1:
        return samples[known[0]]
    place = max([i for i in range(len(known) - 1) if known[i] <= depth], default=0)
    left, right = known[place : place + 2]
    share = (depth - left) / (right - left)
    ends = [(f.name, getattr(samples[left], f.name), getattr(samples[right], f.name)) for f in fields(Sample)]
    return Sample(**{name: max(a + share * (b - a), getattr(samples[known[0]], name)) for name, a, b in ends})


def kind(spec: RunSpec) -> Hashable:
    """A key that runs share if they differ only in depth, seed and schedule."""
    recipe = spec.recipe
    variant = (recipe.batch, recipe.norm, recipe.bn_group, recipe.augment)
    return replace(spec.net, depth=SAMPLED_DEPTHS[0]), spec.data, spec.engine, variant


def average(several: Sequence[Samples]) -> Samples:
    """Averages samples of one kind that were measured side by side; takes the greatest peak memory."""
    depths = set[int].intersection(*(set(samples) for samples in several))
    return {depth: _average_samples([samples[depth] for samples in several]) for depth in depths}


def _average_samples(samples: Sequence[Sample]) -> Sample:
    names = [f.name for f in fields(Sample)]
    values = {name: fmean(getattr(sample, name) for sample in samples) for name in names}
    return Sample(**{**values, "memory": max(sample.memory for sample in samples)})


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds that runs take on so many workers, where the longest is placed first."""
    busy = [0.0] * max(1, workers)
    for run in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += run
    return max(busy)
