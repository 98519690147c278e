"""How runs ended: errors at the end of training, over seeds, and how soon runs reached a training error.

Pure functions frame -> frame. They use every run they get: the caller chooses which runs count.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from degrade.analysis.stats import Sample, interval, sample
from degrade.spec import RunSpec

THRESHOLDS = (50.0, 20.0, 10.0, 5.0)  # %, of clean training error
GROUP = {
    "protocol": "groups that may be compared",
    "group": "runs that differ in nothing but the seed",
    "label": "the group in short: residual-A-56",
    "line": "nets that differ in nothing but depth: residual-A",
    "net": "plain | residual | ...",
    "shortcut": "A | B | C | none",
    "width": "channels of the first stage",
    "depth": "weighted layers",
    "origin": "nothing: weights drawn at random; constructed-20: a constructed net, which no verdict is about",
}
GROUP_KEYS = list(GROUP)
GROUP_ORDER = ["protocol", "net", "shortcut", "width", "line", "depth", "origin", "group"]
SUMMARY = GROUP | {
    "split": "train_clean | train | test | val",
    "statistic": "last: error at the last iterate; tail: mean over the last evaluations; optimistic: least seen",
    "evaluations": "that the statistic looks at; missing for optimistic, which looks at all",
    "mean": "over runs, %",
    "std": "over runs (n - 1), points; NaN for one run",
    "min": "least of the runs, %",
    "max": "greatest of the runs, %",
    "low": "lower end of the 95 % interval of the mean, %; NaN for optimistic",
    "high": "its upper end, %",
    "basis": "seeds: Student's interval over runs; images: of one run, Wilson's, which says nothing about seeds",
    "runs": "over which this is; diverged and not started ones are among them",
    "diverged": "runs of these whose loss was no longer finite",
    "not_started": "runs of these that never left chance",
    "images": "that the error at the last iterate was measured on",
}
REACHED = GROUP | {
    "error": "clean training error (%) to be reached",
    "iterations": "until the first evaluation at or below it: median over runs; NaN where half of them never got there",
    "seconds": "of wall time until then, likewise; of the machine it ran on",
    "reached": "runs that got there",
    "runs": "all runs of the group",
}


def _extras(spec: RunSpec) -> str:
    """The settings of a net that its name does not show: " pad=split"."""
    shown = ("family", "net", "shortcut", "depth", "width")
    return "".join(f" {key}={value}" for key, value in spec.identity["net"].items() if key not in shown)


def _group_label(spec: RunSpec) -> str:
    """The group in short: residual-A-56, plain-20-w32, residual-A-20 pad=split."""
    return spec.name + _extras(spec)


def _line_label(spec: RunSpec) -> str:
    """The net without its depth: residual-A, plain-w32."""
    net = spec.net
    kind = net.net if net.shortcut == "none" else f"{net.net}-{net.shortcut}"
    return kind + (f"-w{net.width}" if net.width != 16 else "") + _extras(spec)


def add_labels(curves: pd.DataFrame, specs: Mapping[str, RunSpec]) -> pd.DataFrame:
    """Adds the columns `label` and `line`."""
    names = {run: (_group_label(specs[run]), _line_label(specs[run])) for run in curves.run.unique()}
    return curves.assign(label=[names[run][0] for run in curves.run], line=[names[run][1] for run in curves.run])


def outcomes(curves: pd.DataFrame, diverged: Collection[str], evaluations: int) -> pd.DataFrame:
    """One row per (run, split) of labelled curves: `last`, `tail`, `best` (%), and `n`, the images of the last point.

    The tail of a diverged run is its last error, whatever errors it had before.
    """
    by = curves.sort_values("iteration", kind="stable").groupby(["run", "split"], sort=False)
    ends = by.tail(1).set_index(["run", "split"]).rename(columns={"error": "last"})
    tail = by.tail(evaluations).groupby(["run", "split"]).error.mean()
    frame = ends.assign(tail=tail, best=by.error.min()).reset_index()
    frame["tail"] = frame["tail"].where(~frame.run.isin(list(diverged)), frame["last"])
    return frame.sort_values([*GROUP_ORDER, "seed", "split"], ignore_index=True)


def by_group(frame: pd.DataFrame, *more: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yields each group, nets in order, shallow to deep: its values in GROUP and `more`, and its rows."""
    for _, rows in frame.groupby([*GROUP_ORDER, *more], sort=True):
        first = rows.iloc[0]
        yield {key: first[key] for key in (*GROUP_KEYS, *more)}, rows


def sample_rows(rows: pd.DataFrame, column: str = "last") -> Sample:
    """The errors of one group on one split, as a sample."""
    return sample(rows[column].to_numpy(float), int(rows.n.iloc[0]))


def summary(ends: pd.DataFrame, outcome: Mapping[str, str], evaluations: int) -> pd.DataFrame:
    """The columns of SUMMARY, one row per (group, split, statistic). `outcome` maps a run to diverged | not started."""
    found: list[dict[str, Any]] = []
    for keys, rows in by_group(ends, "split"):
        ended = [outcome.get(run, "") for run in rows.run]
        common = {**keys, "diverged": ended.count("diverged"), "not_started": ended.count("not started")}
        found.append({**common, "statistic": "last", "evaluations": 1, **_spread_columns(rows, "last")})
        found.append({**common, "statistic": "tail", "evaluations": evaluations, **_spread_columns(rows, "tail")})
        if keys["split"] == "test":
            best = {**_spread_columns(rows, "best"), "low": float("nan"), "high": float("nan")}
            found.append({**common, "statistic": "optimistic", "evaluations": None, **best})
    return pd.DataFrame(found, columns=list(SUMMARY)).astype({"evaluations": "Int64"})


def _spread_columns(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    """Mean, spread and interval of one column over the runs of a group."""
    errors, one = rows[column], sample_rows(rows, column)
    low, high = interval(one)
    over = {"mean": errors.mean(), "std": errors.std(), "min": errors.min(), "max": errors.max()}
    basis = "seeds" if one.runs > 1 else "images"
    return {**over, "low": low, "high": high, "basis": basis, "runs": one.runs, "images": one.images}


def measure_speed(curves: pd.DataFrame) -> pd.DataFrame:
    """Measures how slowly nets converge (Sec. 4.1): the columns of REACHED, one row per (group, threshold).

    A run that never reaches a threshold counts as later than every run that does, so the median is over all runs.
    """
    clean = curves[curves.split == "train_clean"].sort_values("iteration", kind="stable")
    runs = clean.groupby("run")[GROUP_KEYS].first().sort_values(GROUP_ORDER)
    frames = [_measure_threshold(clean, runs, error) for error in THRESHOLDS]
    frame = pd.concat(frames).sort_values(
        [*GROUP_ORDER, "error"], ascending=[True] * len(GROUP_ORDER) + [False], ignore_index=True
    )
    return frame[list(REACHED)]


def _measure_threshold(clean: pd.DataFrame, runs: pd.DataFrame, error: float) -> pd.DataFrame:
    """One threshold, one row per group. `runs` holds the columns GROUP_KEYS, indexed by run."""
    first = clean[clean.error <= error].groupby("run")[["iteration", "seconds"]].first()
    never = float("inf")
    by = runs.join(first).fillna({"iteration": never, "seconds": never}).groupby(GROUP_KEYS, sort=False)
    median = by[["iteration", "seconds"]].median().replace(never, float("nan"))
    frame = median.rename(columns={"iteration": "iterations"}).assign(error=error, runs=by.size())
    return frame.assign(reached=by.iteration.agg(lambda each: int((each < never).sum()))).reset_index()
