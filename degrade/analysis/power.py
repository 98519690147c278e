"""What so many seeds can show, before a run is trained. Numbers in, numbers out: no frame, no file.

The seeds of a net are taken to end at normal errors around a true mean, with an assumed spread. So many made-up studies
are drawn, always the same, and go through the intervals of degrade.analysis.stats as degrade.analysis.judge takes them.
One set of draws serves all spreads and rises: a spread multiplies it, a rise moves it. So a rise that a study shows as
`degrades` follows from where its interval lies, and nothing is drawn anew. Of 10,000 studies, the share that sees a
rise is right to within a point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from degrade.analysis.failures import fails_more, share
from degrade.analysis.gate import BY_FAILURES
from degrade.analysis.stats import ALPHA, ROBUST_RUNS, SCALES, Sample, contrast, sample, trimmed

# Assumed standard deviations over seeds, points. 0.16: the paper's only one, of the test error of ResNet-110 (Table 6).
SPREADS = (0.16, 0.3, 1.0, 3.0)
CHANCES = (0.8, 0.9)  # of seeing a rise
FAILING = 0.2  # assumed chance that a seed fails to train
_STUDIES = 10_000
_MOST_RUNS = 4_000_000  # drawn at once; with more runs in a line there are fewer studies
_SHARP = 10**12  # images on which an error has no binomial variance to speak of


@dataclass(frozen=True)
class Rise:
    """What is seen if seeds spread so far."""

    spread: float  # points, standard deviation over seeds
    seen: tuple[float, ...]  # points: the true rises that are seen with CHANCES; NaN where none below 100 % error is


@dataclass(frozen=True)
class Failures:
    """What so many seeds say about failures to train."""

    seen: float  # chance that at least one seed of the deepest net fails, if each fails with FAILING
    needed: int | None  # failures of the deepest net that give `degrades` against none of the shallowest; None: never
    limit: float  # %: upper end of the exact 95 % interval of the share, if none of the deepest net's seeds fails


@dataclass(frozen=True)
class Power:
    """What a line of so many seeds can show."""

    rises: tuple[Rise, ...]  # one for each of SPREADS
    spread: float  # points: the largest at which `does not degrade` is shown 8 times in 10; NaN: it never is
    failures: Failures


@dataclass(frozen=True, eq=False)
class _Draws:
    """The simulated studies of one depth, around 0 and with spread 1."""

    whole: Sample
    trimmed: Sample | None  # where the judge looks at a robust interval too


@lru_cache(maxsize=256)
def find_power(seeds: tuple[int, ...], images: int | None, error: float, margin: float) -> Power:
    """The power of a line with so many seeds of each depth, shallow to deep: two depths or more, two seeds or more.

    `images`: that the clean training error is measured on; None: so many that they do not matter. `error`: the true
    error (%) of the shallowest net. `margin`: the smallest rise of interest, points.
    """
    assert len(seeds) > 1
    assert min(seeds) > 1
    studies = max(500, min(_STUDIES, _MOST_RUNS // sum(seeds)))
    rng = np.random.default_rng(0)
    draws = [_standardise(rng.standard_normal((studies, each))) for each in seeds]
    rises = tuple(_find_rises(draws[-1], draws[0], spread, images, error, margin) for spread in SPREADS)
    return Power(rises, _find_spread(draws, images, error, margin), _count_failures(seeds[-1], seeds[0]))


def _standardise(errors: np.ndarray) -> _Draws:
    """Summarises standard normal errors (studies, runs)."""
    robust = errors.shape[-1] >= ROBUST_RUNS
    return _Draws(sample(errors, _SHARP), trimmed(SCALES["points"], errors, _SHARP) if robust else None)


def _floor(error: float, images: int | None) -> float:
    """The binomial variance of an error, as stats.sample has it."""
    return 0.0 if images is None else float(sample([error], images).floor)


def _place(draws: _Draws, error: float, spread: float, images: int | None) -> _Draws:
    """The studies of a net with this true error and spread. The floor is that of the true error."""
    floor = _floor(error, images)

    def move(each: Sample) -> Sample:
        variance = np.maximum(spread**2 * each.variance, floor)
        return each._replace(mean=error + spread * each.mean, variance=variance, floor=floor)

    return _Draws(move(draws.whole), None if draws.trimmed is None else move(draws.trimmed))


def _ends(deep: _Draws, shallow: _Draws) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the intervals that decide, as judge.Pair.ends has them."""
    found = [contrast([deep.whole, shallow.whole], [1, -1])]
    if deep.trimmed and shallow.trimmed:
        found.append(contrast([deep.trimmed, shallow.trimmed], [1, -1]))
    return np.min([each.low for each in found], axis=0), np.max([each.high for each in found], axis=0)


def _find_rises(deep: _Draws, shallow: _Draws, spread: float, images: int | None, error: float, margin: float) -> Rise:
    """Finds the true rises of the deepest net over the shallowest that are seen with CHANCES."""
    base, seen = _place(shallow, error, spread, images), list[float]()
    rise = found = margin
    for chance in CHANCES:
        for _ in range(50):  # the floor depends on the rise, but little: three rounds are common
            low, _ = _ends(_place(deep, error + rise, spread, images), base)
            found = float(np.quantile(rise + margin - low, chance))  # what lifts the interval above the margin so often
            rise, before = min(found, 100 - error), rise
            if abs(rise - before) <= 1e-3 * rise:
                break
        seen.append(found if found < 100 - error else float("nan"))
    return Rise(spread, tuple(seen))


def _find_spread(draws: Sequence[_Draws], images: int | None, error: float, margin: float) -> float:
    """Finds the largest spread at which a line in which depth changes nothing `does not degrade` 8 times in 10."""

    def reach(spread: float, floor_of: int | None) -> float:
        placed = [_place(each, error, spread, floor_of) for each in draws]
        return float(np.quantile(_find_highest(placed), CHANCES[0]))

    high = margin / reach(1.0, None)  # without a floor, intervals grow as the spread does
    if images is None:
        return high
    if reach(0.0, images) > margin:
        return float("nan")
    low = 0.0
    while reach(high, images) <= margin:  # a floor makes groups vary alike, which gives intervals more freedom
        low, high = high, 2 * high
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(middle, images) <= margin else (low, middle)
    return low


def _find_highest(placed: Sequence[_Draws]) -> np.ndarray:
    """The highest end of a line's intervals in each study: against the shallowest net, and the best shallower one."""
    means = np.stack([each.whole.mean for each in placed])
    highest = np.full(means.shape[1], -np.inf)
    for i, deep in enumerate(placed[1:], 1):
        highest = np.maximum(highest, _ends(deep, placed[0])[1])
        best = means[:i].argmin(axis=0)
        for j in range(1, i):
            own = np.flatnonzero(best == j)
            if len(own):
                highest[own] = np.maximum(highest[own], _ends(_take(deep, own), _take(placed[j], own))[1])
    return highest


def _take(draws: _Draws, studies: np.ndarray) -> _Draws:
    """Some of the studies."""

    def take(each: Sample) -> Sample:
        return each._replace(mean=each.mean[studies], variance=each.variance[studies])

    return _Draws(take(draws.whole), None if draws.trimmed is None else take(draws.trimmed))


def _count_failures(deep: int, shallow: int) -> Failures:
    """Counts the failures of `deep` seeds that give `degrades` by Boschloo's test against none of `shallow`."""
    decided = (failed for failed in range(1, deep + 1) if fails_more(failed, deep, 0, shallow) / BY_FAILURES < ALPHA)
    return Failures(1 - (1 - FAILING) ** deep, next(decided, None), share(0, deep)[1])
