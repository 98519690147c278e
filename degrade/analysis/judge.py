"""Judges one line of nets: numbers in, verdicts out. No frame, no file, so that a simulation can run what judges.

A line holds nets that differ in nothing but depth. Verdicts rest on groups of several runs. A single run differs, or
does not: it is no evidence about depth. docs/verdicts.md explains every rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from degrade.analysis.failures import fails_more
from degrade.analysis.gate import correct
from degrade.analysis.stats import (
    ALPHA,
    ROBUST_RUNS,
    SCALES,
    Contrast,
    Sample,
    above,
    below,
    contrast,
    far_out,
    trimmed,
)

DEGRADES, OVERFITS, GAINS, SAME, OPEN = "degrades", "overfits", "gains", "within the margin", "undecided"
UNJUDGED = "cannot be judged"
DIFFERS, ALIKE, FAILS = "differs in this one run", "about equal in this one run", "fails to train in this one run"
ONE_RUN = (DIFFERS, ALIKE, FAILS)  # what is said of single runs; not verdicts
# of a whole line
PARTLY, SLIGHTLY, NEVER = "degrades at some depths", "rises by less than the margin", "does not degrade"


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

    def ends(self, scale: str) -> tuple[float, float]:
        """The ends of the interval of training error that decides: where a robust interval reaches further, its own."""
        both = [self.train[scale], *([self.robust[scale]] if self.robust else [])]
        return min(float(each.low) for each in both), max(float(each.high) for each in both)


@dataclass(frozen=True, eq=False)
class Judged:
    """A pair and what is found of it."""

    pair: Pair
    role: str  # of the shallower net: shallowest | best | both
    primary: bool
    verdict: str
    p: float  # that the deeper net is not worse by more than the margin; corrected; NaN where there is no verdict
    test_p: float


@dataclass(frozen=True, eq=False)
class Line:
    """A line and what is found of it."""

    groups: tuple[Group, ...]  # shallow to deep
    pairs: tuple[Judged, ...]  # those with a role, shallow to deep
    verdict: str  # of the whole line; "" for a line of one depth
    trend: Contrast | None  # of the mean, for each doubling of depth; None below three depths
    trending: tuple[int, ...]  # the depths that the trend is over

    @property
    def primary(self) -> Judged | None:
        """The comparison of the deepest net with the shallowest, of those with several runs."""
        return next((each for each in self.pairs if each.primary), None)


def judge(groups: Sequence[Group], margin: float, scale: str) -> Line:
    """Judges a line on a scale of SCALES. `margin`, the smallest difference of interest, is in the scale's unit."""
    groups = sorted(groups, key=lambda group: group.depth)
    limit = SCALES[scale].inner(margin)
    pairs = [_compare(deep, shallow) for shallow, deep in combinations(groups, 2)]
    judged = [pair for pair in pairs if pair.judged]
    several = [group for group in groups if group.runs > 1]
    primary = next((pair for pair in judged if (pair.shallow, pair.deep) == (several[0], several[-1])), None)
    on_train, on_test = (_locate(judged, primary, limit, scale, split) for split in ("train", "test"))
    found: list[Judged] = []
    for pair in pairs:
        if not (role := _role(pair, groups)):
            continue
        if pair.judged:
            train, test = on_train[id(pair)], on_test[id(pair)]
            verdict = _verdict_of(train.where, test.where, pair.ends(scale)[1], limit)
            found.append(Judged(pair, role, pair is primary, verdict, train.p, test.p))
        else:
            verdict = UNJUDGED if pair.shallow.hopeless else _describe_single(pair, limit, scale)
            found.append(Judged(pair, role, False, verdict, float("nan"), float("nan")))
    found.sort(key=lambda each: (each.pair.deep.depth, each.pair.shallow.depth))
    trend, trending = _trend([group for group in several if not group.hopeless], scale)
    return Line(tuple(groups), tuple(found), _sum_up(found, limit, scale), trend, trending)


def _compare(deep: Group, shallow: Group) -> Pair:
    train, test, robust = dict[str, Contrast](), dict[str, Contrast](), dict[str, Contrast]()
    for name, scale in SCALES.items():
        train[name] = contrast([deep.trained[name], shallow.trained[name]], [1, -1])
        test[name] = contrast([deep.tested[name], shallow.tested[name]], [1, -1])
        if min(deep.runs, shallow.runs) >= ROBUST_RUNS:
            cut = [trimmed(scale, each.clean, each.images) for each in (deep, shallow)]
            robust[name] = contrast(cut, [1, -1])
    counts = (deep.failures, deep.runs, shallow.failures, shallow.runs)
    return Pair(deep, shallow, train, test, robust, fails_more(*counts), fails_more(*counts[2:], *counts[:2]))


@dataclass(frozen=True)
class _Location:
    """Where the difference of a pair lies."""

    where: str  # above | below | inside (the margin) | open
    p: float  # that it is not above the margin; corrected


def _locate(pairs: Sequence[Pair], primary: Pair | None, limit: float, scale: str, split: str) -> dict[int, _Location]:
    """Locates the differences of all judged pairs of a line, by the identity of the pair."""
    rest = [pair for pair in pairs if pair is not primary]
    worse, better = (
        correct(
            None if primary is None else tests(primary, limit, scale, split),
            [tests(p, limit, scale, split) for p in rest],
        )
        for tests in (_test_worse, _test_better)
    )
    order = rest if primary is None else [primary, *rest]
    skip = 0 if primary is not None else 1
    found: dict[int, _Location] = {}
    for pair, over, under in zip(order, [worse[0], *worse[1]][skip:], [better[0], *better[1]][skip:], strict=True):
        low, high = (
            pair.ends(scale) if split == "train" else (float(pair.test[scale].low), float(pair.test[scale].high))
        )
        where = "inside" if -limit <= low and high <= limit else "open"
        found[id(pair)] = _Location("above" if over < ALPHA else "below" if under < ALPHA else where, over)
    return found


def _test_worse(pair: Pair, limit: float, scale: str, split: str) -> tuple[float, float]:
    """Two p that the deeper net is not worse: by means and by failures to train.

    Where runs failed to train, errors are far from normal, and few runs of either kind fall apart by chance. Then means
    are no stronger evidence than the counts of failures.
    """
    by_means = max(float(above(each, limit)) for each in _contrasts(pair, scale, split))
    return max(by_means, pair.fails) if pair.failed else by_means, pair.fails if split == "train" else 1.0


def _test_better(pair: Pair, limit: float, scale: str, split: str) -> tuple[float, float]:
    """The same two p that the deeper net is not better. That it fails less often is no gain by itself."""
    by_means = max(float(below(each, -limit)) for each in _contrasts(pair, scale, split))
    return max(by_means, pair.recovers) if pair.failed else by_means, 1.0


def _contrasts(pair: Pair, scale: str, split: str) -> list[Contrast]:
    """What must agree: Welch's contrast, and the robust one of training errors where there is one."""
    if split == "test":
        return [pair.test[scale]]
    return [pair.train[scale], *([pair.robust[scale]] if pair.robust else [])]


def _verdict_of(train: str, test: str, high: float, limit: float) -> str:
    """The verdict from the locations on train and test. `high` is the upper end of the interval on training error."""
    if train == "above":
        return DEGRADES
    if high > limit:
        return OPEN
    if test == "above":  # though training is equivalent or better
        return OVERFITS
    if "below" in (train, test):
        return GAINS
    return SAME if train == "inside" else OPEN


def _describe_single(pair: Pair, limit: float, scale: str) -> str:
    """What is said of a pair in which one group has a single run."""
    if pair.deep.runs == 1 and pair.deep.failures:
        return FAILS
    return DIFFERS if abs(float(pair.train[scale].difference)) > limit else ALIKE


def _role(pair: Pair, groups: Sequence[Group]) -> str:
    """The role of the shallower net of a pair: shallowest | best | both, or "" if it has no role.

    Where the deeper net has several runs, the best net is sought among those with several runs. If the shallowest net
    has one run, the shallowest with several has that role too.
    """
    shallower = [group for group in groups if group.depth < pair.deep.depth]
    several = [group for group in shallower if group.runs > 1] if pair.deep.runs > 1 else []
    pool = [group for group in several or shallower if not group.hopeless]
    shallowest = pair.shallow in (shallower[0], *several[:1])
    best = bool(pool) and pair.shallow is min(pool, key=lambda group: float(group.clean.mean()))
    return "both" if shallowest and best else "shallowest" if shallowest else "best" if best else ""


def _sum_up(pairs: Sequence[Judged], limit: float, scale: str) -> str:
    """The verdict of a whole line."""
    judged = [each for each in pairs if each.pair.judged]
    if not judged:
        last = [each for each in pairs if "best" not in each.role or each.role == "both"][-1:]
        return last[0].verdict if last else ""
    if any(each.verdict == DEGRADES for each in judged):
        return DEGRADES if any(each.primary and each.verdict == DEGRADES for each in judged) else PARTLY
    unsure = any(each.verdict == OPEN and each.pair.ends(scale)[1] > limit for each in judged)
    if unsure:
        return OPEN
    return SLIGHTLY if any(each.primary and float(each.pair.train[scale].low) > 0 for each in judged) else NEVER


def _trend(groups: Sequence[Group], scale: str) -> tuple[Contrast | None, tuple[int, ...]]:
    """The slope of the mean error over log2 depth, by least squares over the groups, with unequal variances.

    Its interval is that of the contrast Σ w mean, w = (x - x̄) / Σ (x - x̄)², x = log2 depth.
    """
    if len(groups) < 3:
        return None, ()
    x = np.log2([group.depth for group in groups])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    found = contrast([group.trained[scale] for group in groups], weights.tolist())
    return found, tuple(group.depth for group in groups)
