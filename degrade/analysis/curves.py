"""Curves: a tidy frame, one row per (run, iteration, split), with the columns of degrade.spec.rows.CURVE.

Pure functions frame -> frame: nothing reads a file, nothing is changed in place.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from degrade.errors import SpecError

CURVE_KEYS = ["protocol", "group", "net", "shortcut", "depth", "width"]


def add_standing(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Adds two columns of the table of runs: `state`, and `iterations`, the steps of the whole schedule."""
    known = runs.reindex(columns=["run", "state", "iterations"])
    states, lengths = (dict(zip(known.run, known[column], strict=True)) for column in ("state", "iterations"))
    codes, names = pd.factorize(curves.run)  # looks each run up once, since curves have many rows
    last = curves.groupby("run").iteration.transform("max")  # a schedule has at least the steps that were done
    length = np.array([lengths.get(run) for run in names], dtype=float)[codes]
    state = pd.Series([str(states.get(run, "unknown")) for run in names], dtype=curves.run.dtype).iloc[codes]
    whole = pd.Series(length, index=curves.index).fillna(last).astype("int64")
    return curves.assign(state=state.set_axis(curves.index), iterations=whole)


def choose(curves: pd.DataFrame, **wanted: Sequence[str] | None) -> pd.DataFrame:
    """Keeps the rows whose columns have a wanted value, as in choose(curves, net=["plain"], depth=["20", "56"]).

    A wanted shortcut also keeps the nets without a shortcut, as in a sweep. Raises SpecError if no run has a wanted
    value, or if no run has all of them together.
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
        raise SpecError(f"{said}: no run has all of these values; leave one of them out")
    return curves[keep]


def last_points(curves: pd.DataFrame) -> pd.DataFrame:
    """Keeps the rows of each run's last measured iteration. Table 6 of the paper reports the last iterate too."""
    return curves[curves.iteration == curves.groupby("run").iteration.transform("max")]


def final_errors(curves: pd.DataFrame) -> pd.DataFrame:
    """One row a group: for each split the mean error (%) at the last point over seeds, `<split>_std`, and `seeds`.

    The standard deviation is the sample standard deviation (n - 1), NaN for one seed.
    """
    last = last_points(curves)
    by = last.groupby([*CURVE_KEYS, "split"]).error.agg(["mean", "std"]).unstack("split")
    flat = pd.DataFrame({(s if part == "mean" else f"{s}_std"): by[part, s] for part, s in by.columns})
    flat["seeds"] = last.groupby(CURVE_KEYS).run.nunique()
    return flat.reset_index().sort_values(["protocol", "net", "shortcut", "depth", "width"], ignore_index=True)


def over_seeds(curves: pd.DataFrame, x: str = "iteration", y: str = "error") -> pd.DataFrame:
    """One row per (group, split, iteration): `mean`, `low`, `high` (least, greatest) of y over `seeds` runs, and `x`.

    An iteration needs a point of every seed of the group, so that the mean is always over the same runs.
    """
    by = curves.groupby(["group", "split", "iteration"])  # a group has one value of each of CURVE_KEYS
    frame = by.agg(x=(x, "mean"), mean=(y, "mean"), low=(y, "min"), high=(y, "max"), seeds=(y, "count"))
    frame = frame.reset_index().merge(curves[CURVE_KEYS].drop_duplicates("group"), on="group")
    frame = frame[frame.seeds == frame.group.map(curves.groupby("group").run.nunique())]
    return frame.sort_values([*CURVE_KEYS, "split", "iteration"], ignore_index=True)


def chosen_rates(curves: pd.DataFrame, configuration: Mapping[str, str], rate: Mapping[str, float]) -> pd.DataFrame:
    """Picks for each configuration the learning rate of least validation error: `rate`, and the error of each split.

    `configuration` maps a run to a name for everything but its rate and seed. The choice uses only the validation error
    at the last point, averaged over seeds. The test error beside it is therefore honest.
    """
    last = last_points(curves)
    last = last.assign(configuration=last.run.map(configuration), rate=last.run.map(rate))
    keys = ["configuration", "net", "shortcut", "depth", "width"]
    errors = last.groupby([*keys, "rate", "split"]).error.mean().unstack("split").reset_index()
    best = errors.loc[errors.groupby("configuration").val.idxmin()]
    return best.sort_values(["net", "shortcut", "depth", "width", "configuration"], ignore_index=True)


def beyond_seeds(curves: pd.DataFrame, means: pd.DataFrame | None = None) -> pd.DataFrame:
    """Keeps what over_seeds leaves out: the rows of runs that are past the last point all seeds share, from that point.

    `means` is the result of over_seeds on the curves, if the caller has it.
    """
    means = over_seeds(curves) if means is None else means
    shared = means.groupby(["group", "split"]).iteration.max().rename("shared")
    since = curves.join(shared, on=["group", "split"]).shared.fillna(-1)
    ahead = curves.groupby(["run", "split"]).iteration.transform("max") > since
    return curves[ahead & (curves.iteration >= since)]
