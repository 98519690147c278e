"""Intervals, tests and corrections for errors in percent: numbers in, numbers out. No frame, no file.

`sample`, `contrast`, `above` and `below` also take arrays, one value per replicate, so a simulation can run the code
that judges.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

_LEVEL = 0.95  # of every interval
ALPHA = 1 - _LEVEL  # of every corrected test
_MOST_SEEDS = 1_000  # runs of one net; nobody will train more


class Sample(NamedTuple):
    """The errors (%) of the runs of one group on one split."""

    mean: Any  # %
    variance: Any  # %², of one run's error: estimated over runs, at least `floor`; NaN if there is one run
    floor: Any  # %², of one run's error: binomial, from the number of images
    runs: int
    images: int


class Contrast(NamedTuple):
    """A weighted sum of group means, in points of error, with its 95 % interval."""

    difference: Any
    error: Any  # standard error
    freedom: Any  # degrees of freedom; infinite over images
    low: Any
    high: Any
    basis: str  # seeds: the interval is about other seeds; images: about other images only, nothing is known of seeds


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


def contrast(samples: Sequence[Sample], weights: Sequence[float]) -> Contrast:
    """Σ w·mean, with se² = Σ w² v / n and Welch and Satterthwaite's freedom se⁴ / Σ (w² v / n)² / (n - 1).

    Weights 1, -1 are Welch's t test of two groups (scipy.stats.ttest_ind with equal_var=False). Weights 1, -1, -1, 1
    are the interaction of four groups. If any group has a single run, nothing is known over seeds. Then each v / n is
    the binomial variance of one run, and the interval is normal, over images. (Runs of one group see the same images,
    so several runs do not make it narrower.)
    """
    difference = sum(w * each.mean for w, each in zip(weights, samples, strict=True))
    if any(each.runs == 1 for each in samples):
        error = np.sqrt(sum(w**2 * each.floor for w, each in zip(weights, samples, strict=True)))
        freedom, basis = np.full_like(error, np.inf), "images"
    else:
        parts = [w**2 * each.variance / each.runs for w, each in zip(weights, samples, strict=True)]
        error = np.sqrt(sum(parts))
        freedom = error**4 / sum(part**2 / (each.runs - 1) for part, each in zip(parts, samples, strict=True))
        basis = "seeds"
    half = stats.t.ppf((1 + _LEVEL) / 2, freedom) * error
    return Contrast(difference, error, freedom, difference - half, difference + half, basis)


def above(found: Contrast, limit: float) -> Any:
    """One-sided p of the hypothesis that the true difference is not above `limit`."""
    return stats.t.sf((found.difference - limit) / found.error, found.freedom)


def below(found: Contrast, limit: float) -> Any:
    """One-sided p of the hypothesis that the true difference is not below `limit`."""
    return stats.t.cdf((found.difference - limit) / found.error, found.freedom)


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
    mistakes = round(float(one.mean) / 100 * one.images)
    found = stats.binomtest(mistakes, one.images).proportion_ci(_LEVEL, method="wilson")
    return 100 * float(found.low), 100 * float(found.high)


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
    enough = stats.t.ppf((1 + _LEVEL) / 2, freedom) * error <= width
    return int(runs[enough.argmax()]) if enough.any() else None
