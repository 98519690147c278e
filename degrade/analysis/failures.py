"""Failures to train are a result: which runs failed, how often, and whether deeper nets fail more often."""

from collections.abc import Collection, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special

from degrade.spec import RunSpec
from degrade.spec.parts import CLASSES

# of the error of a guess: the same share as in the outcome `not started` of a run (degrade.train.fit)
AT_CHANCE = 0.95


def failed_runs(ends: pd.DataFrame, outcome: Mapping[str, str], specs: Mapping[str, RunSpec]) -> set[str]:
    """The runs of the frame `ends` that failed to train: they diverged, never started, or end at chance.

    `outcome` maps a run to diverged | not started | "". A run ends at chance if its clean training error is above 95 %
    of the error of a guess. That needs the number of classes, so for image folders the outcome alone counts.
    """
    clean = ends[ends.split == "train_clean"]
    chance = [_chance(specs[run]) for run in clean.run]
    at_chance: Collection[str] = {*clean.run[clean["last"].to_numpy(float) > AT_CHANCE * np.array(chance)]}
    return {run for run in ends.run.unique() if outcome.get(run) or run in at_chance}


def _chance(spec: RunSpec) -> float:
    """The error (%) of a guess among classes of equal size; infinite if their number is not known."""
    classes = CLASSES.get(spec.data.name)
    return float("inf") if classes is None else 100 * (1 - 1 / classes)


def share(failed: int, runs: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, in percent (Clopper and Pearson 1934, Biometrika 26)."""
    low = special.betaincinv(failed, runs - failed + 1, 0.025) if failed else 0.0
    high = special.betaincinv(failed + 1, runs - failed, 0.975) if failed < runs else 1.0
    return 100 * float(low), 100 * float(high)


@lru_cache(maxsize=4096)
def fails_more(failed: int, runs: int, failed_than: int, runs_than: int) -> float:
    """One-sided p that the first group fails no more often than the second (Boschloo 1970, Statistica Neerlandica 24).

    Exact for any chance of failure that both share, and never less powerful than Fisher's test.
    """
    if failed * runs_than <= failed_than * runs:
        return 1.0
    from scipy import stats  # a second to load, and failures are rare

    table = [[failed, failed_than], [runs - failed, runs_than - failed_than]]
    return min(1.0, float(stats.boschloo_exact(table, alternative="greater").pvalue))
