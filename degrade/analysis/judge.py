"""Judges one line of nets: numbers in, verdicts out. No frame, no file, so that a simulation can run what judges.

A line holds nets that differ in nothing but depth. Verdicts rest on groups of several runs. A single run differs, or
does not: it is no evidence about depth. docs/verdicts.md explains every rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from degrade.analysis.gate import correct
from degrade.analysis.pairs import Group, Pair, compare_groups
from degrade.analysis.stats import ALPHA, SCALES, Contrast, above, below, contrast, pool

DEGRADES, OVERFITS, GAINS, SAME, OPEN = "degrades", "overfits", "gains", "within the margin", "undecided"
UNJUDGED = "cannot be judged"
DIFFERS, ALIKE, FAILS = "differs in this one run", "about equal in this one run", "fails to train in this one run"
ONE_RUN = (DIFFERS, ALIKE, FAILS)  # what is said of single runs; not verdicts
# of a whole line
PARTLY, SLIGHTLY, NEVER = "degrades at some depths", "rises by less than the margin", "does not degrade"


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
    pairs = [compare_groups(deep, shallow) for shallow, deep in combinations(groups, 2)]
    judged = [pair for pair in pairs if pair.judged]
    several = [group for group in groups if group.runs > 1]
    trained = [group for group in several if not group.hopeless]
    primary = next((pair for pair in judged if (pair.shallow, pair.deep) == (trained[0], several[-1])), None)
    on_train, on_test = (
        _locate(judged, primary, limit, scale, split, pool([group.on(split)[scale] for group in several]))
        if judged
        else {}
        for split in ("train", "test")
    )
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
    trend, trending = _trend(trained, scale)
    return Line(tuple(groups), tuple(found), _sum_up(found, limit, scale), trend, trending)


@dataclass(frozen=True)
class _Location:
    """Where the difference of a pair lies."""

    where: str  # above | below | inside (the margin) | open
    p: float  # that it is not above the margin; corrected


def _locate(
    pairs: Sequence[Pair], primary: Pair | None, limit: float, scale: str, split: str, common: float
) -> dict[int, _Location]:
    """Locates the differences of all judged pairs of a line, by the identity of the pair.

    In pairs other than the primary, each variance counts as at least `common`, the variance of all groups of the line:
    among many pairs some have two groups that are tight by accident.
    """
    ordered = sorted(pairs, key=lambda pair: pair is not primary)
    sides = [_contrasts(pair, scale, split, 0.0 if pair is primary else common) for pair in ordered]
    lead = 0 if primary is None else 1
    worse, better = (
        _correct([tests(*each, limit, split) for each in zip(ordered, sides, strict=True)], lead)
        for tests in (_test_worse, _test_better)
    )
    found: dict[int, _Location] = {}
    for pair, over, under in zip(ordered, worse, better, strict=True):
        low, high = pair.ends(scale, split)
        where = "inside" if -limit <= low and high <= limit else "open"
        found[id(pair)] = _Location("above" if over < ALPHA else "below" if under < ALPHA else where, over)
    return found


def _correct(tests: Sequence[tuple[float, float]], lead: int) -> list[float]:
    """The corrected p of all pairs, of which the first `lead` (0 or 1) are the primary one."""
    first, others = correct(tests[0] if lead else None, tests[lead:])
    return [*[first][:lead], *others]


def _test_worse(pair: Pair, sides: Sequence[Contrast], limit: float, split: str) -> tuple[float, float]:
    """Two p that the deeper net is not worse: by means and by failures to train.

    Where runs failed to train, errors are far from normal, and few runs of either kind fall apart by chance. Then means
    are no stronger evidence than the counts of failures.
    """
    by_means = max(float(above(each, limit)) for each in sides)
    return max(by_means, pair.fails) if pair.failed else by_means, pair.fails if split == "train" else 1.0


def _test_better(pair: Pair, sides: Sequence[Contrast], limit: float, split: str) -> tuple[float, float]:
    """The same two p that the deeper net is not better. That it fails less often is no gain by itself."""
    by_means = max(float(below(each, -limit)) for each in sides)
    return max(by_means, pair.recovers) if pair.failed else by_means, 1.0


def _contrasts(pair: Pair, scale: str, split: str, common: float) -> list[Contrast]:
    """What must agree: what is found of the pair, and, if not 0, the same with variances of at least `common`."""
    found = pair.found(scale, split)
    if common:
        both = [group.on(split)[scale] for group in (pair.deep, pair.shallow)]
        found.append(contrast([each._replace(variance=max(float(each.variance), common)) for each in both], [1, -1]))
    return found


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
    has one run, or failed to train, the next one has that role too.
    """
    shallower = [group for group in groups if group.depth < pair.deep.depth]
    trained = [group for group in shallower if not group.hopeless]
    several = [group for group in trained if group.runs > 1] if pair.deep.runs > 1 else []
    shallowest = pair.shallow in (shallower[0], *trained[:1], *several[:1])
    choice = several or trained
    best = bool(choice) and pair.shallow is min(choice, key=lambda group: float(group.clean.mean()))
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

    The contrast Σ w mean gives its interval, with w = (x - x̄) / Σ (x - x̄)² and x = log2 depth.
    """
    if len(groups) < 3:
        return None, ()
    x = np.log2([group.depth for group in groups])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    found = contrast([group.trained[scale] for group in groups], weights.tolist())
    return found, tuple(group.depth for group in groups)
