"""Means and their intervals, on one of two scales: numbers in, numbers out. No frame, no file.

`sample`, `contrast`, `above` and `below` also take arrays, one value per replicate.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special

_LEVEL = 0.95  # of every interval
_HALF = (1 + _LEVEL) / 2
ALPHA = 1 - _LEVEL  # of every corrected test
TRIM = 0.2  # of the runs at each end, in a robust interval (Yuen 1974)
ROBUST_RUNS = 8  # runs a group from which on a robust interval is looked at too: it then leaves out one at each end
_MOST_SEEDS = 1_000  # runs of one net; nobody will train more


class Sample(NamedTuple):
    """The errors of the runs of one group on one split, on one scale: in % or as log odds."""

    mean: Any  # %, or log odds
    variance: Any  # squared, of one run: estimated over runs, at least `floor`; NaN if there is one run
    floor: Any  # squared, of one run: binomial, from the number of images
    runs: int  # of a trimmed mean: those that are left
    images: int


class Contrast(NamedTuple):
    """A weighted sum of group means, in points of error or log odds, with its 95 % interval."""

    difference: Any
    error: Any  # standard error
    freedom: Any  # degrees of freedom; infinite over images
    low: Any
    high: Any
    basis: str  # what the interval is about. seeds: other seeds; images: other images only, nothing is known of seeds;
    # prediction: one more run of the group that has several, if the group of one run spreads as it does


def sample(errors: Any, images: int) -> Sample:
    """Summarises errors (..., runs) in %, each measured on `images` images.

    The floor is 100² p(1-p) / images with p = (x + 2) / (images + 4) of the mean number of mistakes x (Agresti and
    Coull 1998), so that three runs without a mistake still have a variance.
    """
    errors = np.asarray(errors, dtype=float)
    mean, runs = errors.mean(axis=-1), errors.shape[-1]
    p = (mean / 100 * images + 2) / (images + 4)
    floor = 1e4 * p * (1 - p) / images
    over = np.maximum(errors.var(axis=-1, ddof=1), floor) if runs > 1 else np.full_like(mean, np.nan)
    return Sample(mean, over, floor, runs, images)


def sample_odds(errors: Any, images: int) -> Sample:
    """Summarises errors (..., runs) in % as log odds of a mistake, log((x + ½) / (images - x + ½)) for x mistakes.

    The half counts keep the odds finite for runs without a mistake (Haldane 1956; Anscombe 1956). The floor is
    1 / (x + ½) + 1 / (images - x + ½) of the mean number of mistakes (Gart and Zweifel 1967, Biometrika 54).
    """
    mistakes = np.asarray(errors, dtype=float) / 100 * images
    odds = np.log(mistakes + 0.5) - np.log(images - mistakes + 0.5)
    mean, runs = odds.mean(axis=-1), odds.shape[-1]
    x = mistakes.mean(axis=-1)
    floor = 1 / (x + 0.5) + 1 / (images - x + 0.5)
    over = np.maximum(odds.var(axis=-1, ddof=1), floor) if runs > 1 else np.full_like(mean, np.nan)
    return Sample(mean, over, floor, runs, images)


@dataclass(frozen=True)
class Scale:
    """What a mean error is measured in."""

    sample: Callable[[Any, int], Sample]
    margin: float  # the smallest difference of interest, unless another is asked for
    margins: tuple[float, float]  # a margin is above the first and at most the second
    unit: str
    inner: Callable[[float], float]  # a margin in `unit` -> the difference of two means
    outer: Callable[[float], float]  # back


SCALES = {
    "points": Scale(sample, 0.5, (0, 100), "points", float, float),
    "odds": Scale(sample_odds, 1.25, (1, 1_000), "times", math.log, math.exp),
}


def trimmed(scale: Scale, errors: Any, images: int) -> Sample:
    """The trimmed mean of errors (..., runs) in %, without the TRIM least and greatest, on a scale.

    Its variance is that of the winsorized errors, so scaled that `contrast` gives the test of Yuen (1974, Biometrika
    61); scipy.stats.ttest_ind with equal_var=False and trim=TRIM gives the same. It is at least the binomial floor.
    """
    ordered = np.sort(np.asarray(errors, dtype=float), axis=-1)
    runs = ordered.shape[-1]
    out = int(TRIM * runs)
    left = runs - 2 * out
    cut = ordered[..., out : runs - out]
    winsorized = ordered.clip(cut[..., :1], cut[..., -1:])
    whole, inner = scale.sample(winsorized, images), scale.sample(cut, images)
    spread = whole.variance * (runs - 1) / (left - 1)
    return Sample(inner.mean, np.maximum(spread, inner.floor), inner.floor, left, images)


def contrast(samples: Sequence[Sample], weights: Sequence[float]) -> Contrast:
    """Σ w·mean, with se² = Σ w² v / n and Welch and Satterthwaite's freedom se⁴ / Σ (w² v / n)² / (n - 1).

    Weights 1, -1 are Welch's t test of two groups (scipy.stats.ttest_ind with equal_var=False). Weights 1, -1, -1, 1
    are the interaction of four groups. The freedom is at most that of equally large groups of the least number of runs:
    beyond it, 2 runs against 10 would give one false alarm in 17 on the one side, where one in 40 is asked for
    (benchmarks/calibrate.py). With unequal numbers the error is at least that of a common variance: a small group that
    is tight by accident does not decide. With equal numbers of runs both change nothing.

    If one of two groups has a single run, the interval is the prediction interval of one run: it supposes that the
    single run comes from a group that spreads as the other does. If both of two, or any of more groups have a single
    run, nothing is known over seeds. Then each v / n is the binomial variance of one run, and the interval is normal,
    over images. (Runs of one group see the same images, so several do not make it narrower.)
    """
    difference = sum(w * each.mean for w, each in zip(weights, samples, strict=True))
    several = [each for each in samples if each.runs > 1]
    if len(samples) == 2 and len(several) == 1:
        error = np.sqrt(several[0].variance * (1 + 1 / several[0].runs))
        freedom, basis = np.full_like(error, several[0].runs - 1), "prediction"
    elif len(several) < len(samples):
        error = np.sqrt(sum(w**2 * each.floor for w, each in zip(weights, samples, strict=True)))
        freedom, basis = np.full_like(error, np.inf), "images"
    else:
        parts = [w**2 * each.variance / each.runs for w, each in zip(weights, samples, strict=True)]
        error = np.sqrt(sum(parts))
        freedom = error**4 / sum(part**2 / (each.runs - 1) for part, each in zip(parts, samples, strict=True))
        freedom = np.minimum(freedom, len(samples) * (min(each.runs for each in samples) - 1))
        if len({each.runs for each in samples}) > 1:
            inverse = sum(w**2 / each.runs for w, each in zip(weights, samples, strict=True))
            error = np.maximum(error, np.sqrt(pool(samples) * inverse))
        basis = "seeds"
    half = quantile(freedom) * error
    return Contrast(difference, error, freedom, difference - half, difference + half, basis)


def pool(samples: Sequence[Sample]) -> Any:
    """The common variance of one run, from groups of several runs: their variances weighted by runs - 1."""
    total = sum(each.runs - 1 for each in samples)
    return sum(each.variance * (each.runs - 1) for each in samples) / total


def quantile(freedom: Any) -> Any:
    """Student's t of a 95 % interval; the normal one for infinite freedom."""
    finite = np.minimum(freedom, 1e12)  # from there on equal to the normal quantile to the last digit shown anywhere
    return special.stdtrit(finite, _HALF)


def predict(several: Sample) -> tuple[float, float]:
    """The 95 % prediction interval (%) of one more run of a group: mean ± t · sqrt(v (1 + 1/n)), for normal errors."""
    half = float(quantile(several.runs - 1) * np.sqrt(several.variance * (1 + 1 / several.runs)))
    return float(several.mean) - half, float(several.mean) + half


def above(found: Contrast, limit: float) -> Any:
    """One-sided p of the hypothesis that the true difference is not above `limit`."""
    return special.stdtr(np.minimum(found.freedom, 1e12), (limit - found.difference) / found.error)


def below(found: Contrast, limit: float) -> Any:
    """One-sided p of the hypothesis that the true difference is not below `limit`."""
    return special.stdtr(np.minimum(found.freedom, 1e12), (found.difference - limit) / found.error)


# Runs a group -> how many robust deviations (1.4826 · median absolute deviation) a run lies from the median to be far
# out. One group in twenty of independent normal errors has a run so far out (simulated, at least 200,000 groups each).
_FAR = {3: 22.0, 4: 6.9, 5: 7.9, 6: 5.5, 7: 5.9, 8: 4.9, 9: 5.1}
_FAR_BEYOND = 4.6  # 10 runs; from there on it falls slowly


def far_out(errors: Any, images: int, least: float) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Which of the errors (runs,) in % lie far from the median of their group, and by more than `least` points.

    The robust deviation is at least the binomial one. With fewer than three runs none is far out.
    """
    errors = np.asarray(errors, dtype=float)
    if len(errors) < 3:
        return np.zeros(len(errors), dtype=bool)
    away = np.abs(errors - np.median(errors))
    spread = max(1.4826 * float(np.median(away)), float(np.sqrt(sample(errors, images).floor)))
    return away > np.maximum(_FAR.get(len(errors), _FAR_BEYOND) * spread, least)


def holm(p: Sequence[float]) -> list[float]:
    """Corrects the p values of one family after Holm (1979).

    Rejecting every corrected p below 0.05 risks any false rejection at 5 %. The i-th least p of m, counted from 0, is
    multiplied by m - i, raised to at least the corrected p before it, and cut at 1. NaN stays NaN and counts in m.
    """
    values = np.asarray(p, dtype=float)
    order = values.argsort()
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1)
    return corrected.tolist()


def interval(one: Sample) -> tuple[float, float]:
    """The 95 % interval (%) of a group's mean: Student's over runs, or Wilson's over images if there is one run."""
    if one.runs > 1:
        found = contrast([one], [1.0])
        return max(0.0, float(found.low)), min(100.0, float(found.high))
    n, z = one.images, float(quantile(np.inf))
    p = round(float(one.mean) / 100 * n) / n
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return 100 * max(0.0, low), 100 * min(1.0, high)


def seeds_needed(samples: Sequence[Sample], weights: Sequence[float], width: float) -> int | None:
    """The least number of runs per group that makes the interval ± `width` points, if variances stay as observed.

    None if a group has a single run (its variance is not known), or if 1,000 runs are not enough.
    """
    if any(each.runs == 1 for each in samples):
        return None
    runs = np.arange(2, _MOST_SEEDS + 1)
    parts = [w**2 * float(each.variance) / runs for w, each in zip(weights, samples, strict=True)]
    error = np.sqrt(sum(parts))
    freedom = error**4 / sum(part**2 / (runs - 1) for part in parts)
    enough = quantile(freedom) * error <= width
    return int(runs[enough.argmax()]) if enough.any() else None
