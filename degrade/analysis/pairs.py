"""The runs of one depth, and a deeper net less a shallower one: what verdicts are judged from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from degrade.analysis.failures import fails_more
from degrade.analysis.stats import ROBUST_RUNS, SCALES, Contrast, Sample, contrast, far_out, trimmed


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one depth."""

    depth: int
    clean: NDArray[np.float64]  # clean training errors, %
    test: NDArray[np.float64]  # test errors, %
    images: int  # that the clean training error is measured on
    test_images: int
    failed: NDArray[np.bool_]  # the runs that failed to train
    seeds: tuple[int, ...] = ()

    @property
    def runs(self) -> int:
        return len(self.clean)

    @cached_property
    def failures(self) -> int:
        return int(self.failed.sum())

    @property
    def hopeless(self) -> bool:
        """Whether all of its runs failed to train, so that no deeper net can be judged against them."""
        return self.failures == self.runs

    @cached_property
    def trained(self) -> dict[str, Sample]:
        """The clean training errors on each scale of SCALES."""
        return {name: scale.sample(self.clean, self.images) for name, scale in SCALES.items()}

    @cached_property
    def tested(self) -> dict[str, Sample]:
        """The test errors on each scale."""
        return {name: scale.sample(self.test, self.test_images) for name, scale in SCALES.items()}

    def on(self, split: str) -> dict[str, Sample]:
        """The errors on a split, train or test, on each scale."""
        return self.trained if split == "train" else self.tested

    def far(self, margin: float) -> NDArray[np.bool_]:
        """The runs that trained, and whose error is far from the others of the group, and by more than `margin`."""
        found = np.zeros(self.runs, dtype=bool)
        found[~self.failed] = far_out(self.clean[~self.failed], self.images, margin)
        return found


@dataclass(frozen=True, eq=False)
class Pair:
    """A deeper net less a shallower one. Each contrast is there on every scale of SCALES."""

    deep: Group
    shallow: Group
    train: Mapping[str, Contrast]  # of clean training errors
    test: Mapping[str, Contrast]
    robust: Mapping[str, Contrast]  # of trimmed means of clean training errors; empty where there are too few runs
    fails: float  # p that the deeper net fails to train no more often; 1 where it does not
    recovers: float  # p that the shallower net fails to train no more often

    @property
    def single(self) -> bool:
        """Whether one of the groups has a single run."""
        return min(self.deep.runs, self.shallow.runs) == 1

    @property
    def judged(self) -> bool:
        """Whether the pair can have a verdict."""
        return not self.single and not self.shallow.hopeless

    @property
    def failed(self) -> bool:
        """Whether any run of the pair failed to train."""
        return bool(self.deep.failures or self.shallow.failures)

    def found(self, scale: str, split: str) -> list[Contrast]:
        """What must agree: Welch's contrast, and where there is one the robust contrast of training errors."""
        if split == "test":
            return [self.test[scale]]
        return [self.train[scale], *([self.robust[scale]] if self.robust else [])]

    def ends(self, scale: str, split: str = "train") -> tuple[float, float]:
        """The ends of the interval that decides: where a robust interval reaches further, its own."""
        both = self.found(scale, split)
        return min(float(each.low) for each in both), max(float(each.high) for each in both)


def compare_groups(deep: Group, shallow: Group) -> Pair:
    """Compares two groups on every scale."""
    train, test, robust = dict[str, Contrast](), dict[str, Contrast](), dict[str, Contrast]()
    for name, scale in SCALES.items():
        train[name] = contrast([deep.trained[name], shallow.trained[name]], [1, -1])
        test[name] = contrast([deep.tested[name], shallow.tested[name]], [1, -1])
        if min(deep.runs, shallow.runs) >= ROBUST_RUNS:
            cut = [trimmed(scale, each.clean, each.images) for each in (deep, shallow)]
            robust[name] = contrast(cut, [1, -1])
    counts = (deep.failures, deep.runs, shallow.failures, shallow.runs)
    return Pair(deep, shallow, train, test, robust, fails_more(*counts), fails_more(*counts[2:], *counts[:2]))
