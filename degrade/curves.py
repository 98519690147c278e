"""Curves: a tidy frame, one row per (run, iteration, split), with the columns of degrade.point.MEANING.

Pure functions frame -> frame: nothing reads a file, nothing is changed in place.
"""

from collections.abc import Mapping

import pandas as pd

KEYS = ["protocol", "group", "net", "shortcut", "depth", "width"]


def last_points(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last measured iteration of each run. Table 6 of the paper reports the last iterate too."""
    return curves[curves.iteration == curves.groupby("run").iteration.transform("max")]


def final_errors(curves: pd.DataFrame) -> pd.DataFrame:
    """One row a group: for each split the mean error (%) at the last point over seeds, `<split>_std`, and `seeds`.

    The standard deviation is that of a sample (n - 1), NaN for one seed.
    """
    last = last_points(curves)
    by = last.groupby([*KEYS, "split"]).error.agg(["mean", "std"]).unstack("split")
    flat = pd.DataFrame({(s if part == "mean" else f"{s}_std"): by[part, s] for part, s in by.columns})
    flat["seeds"] = last.groupby(KEYS).run.nunique()
    return flat.reset_index().sort_values(["protocol", "net", "shortcut", "depth", "width"], ignore_index=True)


def over_seeds(curves: pd.DataFrame, x: str = "iteration", y: str = "error") -> pd.DataFrame:
    """One row per (group, split, iteration): `mean`, `low`, `high` (least, greatest) of y over `seeds` runs, and `x`.

    Only where every seed of the group has a point, so that the mean is always over the same runs.
    """
    by = curves.groupby([*KEYS, "split", "iteration"])
    frame = by.agg(x=(x, "mean"), mean=(y, "mean"), low=(y, "min"), high=(y, "max"), seeds=("run", "nunique"))
    frame = frame.reset_index()
    return frame[frame.seeds == frame.group.map(curves.groupby("group").run.nunique())]


def chosen_rates(curves: pd.DataFrame, configuration: Mapping[str, str], rate: Mapping[str, float]) -> pd.DataFrame:
    """For each configuration the learning rate with the least validation error: `rate`, and the error of each split.

    `configuration` names for each run all of it but rate and seed. The choice looks at the held-out images alone, at
    the last point, as a mean over seeds; so the test error beside it is an honest one.
    """
    last = last_points(curves)
    last = last.assign(configuration=last.run.map(configuration), rate=last.run.map(rate))
    keys = ["configuration", "net", "shortcut", "depth", "width"]
    errors = last.groupby([*keys, "rate", "split"]).error.mean().unstack("split").reset_index()
    best = errors.loc[errors.groupby("configuration").val.idxmin()]
    return best.sort_values(["net", "shortcut", "depth", "width", "configuration"], ignore_index=True)
