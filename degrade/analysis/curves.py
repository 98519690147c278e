"""Curves: a tidy frame, one row per (run, iteration, split), with the columns of degrade.spec.rows.CURVE.

Pure functions frame -> frame: nothing reads a file, nothing is changed in place.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from degrade.errors import SpecError

CURVE_KEYS = ["protocol", "group", "net", "shortcut", "depth", "width"]


def add_standing(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The curves with two columns of the table of runs: `state`, and `iterations`, the steps of the whole schedule."""
    known = runs.reindex(columns=["run", "state", "iterations"])
    states, lengths = (dict(zip(known.run, known[column], strict=True)) for column in ("state", "iterations"))
    codes, names = pd.factorize(curves.run)  # each run once: curves have many rows
    last = curves.groupby("run").iteration.transform("max")  # a schedule is at least as long as what was done of it
    length = np.array([lengths.get(run) for run in names], dtype=float)[codes]
    state = pd.Series([str(states.get(run, "unknown")) for run in names], dtype=curves.run.dtype).iloc[codes]
    whole = pd.Series(length, index=curves.index).fillna(last).astype("int64")
    return curves.assign(state=state.set_axis(curves.index), iterations=whole)


def choose(curves: pd.DataFrame, **wanted: Sequence[str] | None) -> pd.DataFrame:
    """The rows whose columns have one of the wanted values, as in chosen(curves, net=["plain"], depth=["20", "56"]).

    A wanted shortcut keeps the nets that have none, as in a sweep. Raises SpecError for a value that no run has, or
    where no run has all that is wanted.
    """
    asked = {column: list(values) for column, values in wanted.items() if values}
    keep = pd.Series(True, index=curves.index)
    for column, values in asked.items():
        there = curves[column].astype(str)
        for value in values:
            if value not in set(there):
                known = ", ".join(str(one) for one in sorted(curves[column].unique()))
                raise SpecError(f"--{column}={value}: no run with a point has it; there is {known or 'no point yet'}")
        keep &= there.isin(values) | (column == "shortcut") & (there == "none")
    if not keep.any() and len(curves):
        said = " ".join(f"--{column}={','.join(values)}" for column, values in asked.items())
        raise SpecError(f"{said}: no run is all of these; leave one of them out")
    return curves[keep]


def last_points(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last measured iteration of each run. Table 6 of the paper reports the last iterate too."""
    return curves[curves.iteration == curves.groupby("run").iteration.transform("max")]


def final_errors(curves: pd.DataFrame) -> pd.DataFrame:
    """One row a group: for each split the mean error (%) at the last point over seeds, `<split>_std`, and `seeds`.

    The standard deviation is that of a sample (n - 1), NaN for one seed.
    """
    last = last_points(curves)
    by = last.groupby([*CURVE_KEYS, "split"]).error.agg(["mean", "std"]).unstack("split")
    flat = pd.DataFrame({(s if part == "mean" else f"{s}_std"): by[part, s] for part, s in by.columns})
    flat["seeds"] = last.groupby(CURVE_KEYS).run.nunique()
    return flat.reset_index().sort_values(["protocol", "net", "shortcut", "depth", "width"], ignore_index=True)


def over_seeds(curves: pd.DataFrame, x: str = "iteration", y: str = "error") -> pd.DataFrame:
    """One row per (group, split, iteration): `mean`, `low`, `high` (least, greatest) of y over `seeds` runs, and `x`.

    Only where every seed of the group has a point, so that the mean is always over the same runs.
    """
    by = curves.groupby(["group", "split", "iteration"])  # a group has one value of each of KEYS
    frame = by.agg(x=(x, "mean"), mean=(y, "mean"), low=(y, "min"), high=(y, "max"), seeds=(y, "count"))
    frame = frame.reset_index().merge(curves[CURVE_KEYS].drop_duplicates("group"), on="group")
    frame = frame[frame.seeds == frame.group.map(curves.groupby("group").run.nunique())]
    return frame.sort_values([*CURVE_KEYS, "split", "iteration"], ignore_index=True)


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


def beyond_seeds(curves: pd.DataFrame, means: pd.DataFrame | None = None) -> pd.DataFrame:
    """The rows that over_seeds leaves out: runs ahead of the last point that all seeds share, from that point on.

    `means`: what over_seeds makes of the curves, if that is known.
    """
    means = over_seeds(curves) if means is None else means
    shared = means.groupby(["group", "split"]).iteration.max().rename("shared")
    since = curves.join(shared, on=["group", "split"]).shared.fillna(-1)
    ahead = curves.groupby(["run", "split"]).iteration.transform("max") > since
    return curves[ahead & (curves.iteration >= since)]
