"""The tables that figures draw, from everything under results folders."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import pandas as pd

from degrade.analysis import curves
from degrade.analysis.compare import compare
from degrade.store.results import Tables

JUDGED = ("summary", "reached", "verdicts")  # frames of degrade.analysis.compare that figures draw
_SHARED = ["data", "recipe", "precision"]  # of all runs of a protocol; the title names them


def collect(
    tables: Tables, wanted: Mapping[str, Sequence[str]] | None = None, needed: Collection[str] | None = None
) -> dict[str, pd.DataFrame]:
    """The rows of each table, of the runs whose columns have the wanted values. `needed`: the tables that are drawn.

    Raises SpecError if no run has a wanted value.
    """
    chosen = curves.choose(tables.curves, **(wanted or {}))
    rows = curves.add_standing(chosen, tables.runs)
    runs = rows.run.unique()
    found = {"curves": rows, **{name: frame[frame.run.isin(runs)] for name, frame in tables.measurements().items()}}
    if needed is None or {*JUDGED} & {*needed}:
        found |= _judge(tables, rows)
    return found


def _judge(tables: Tables, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The frames of JUDGED, with columns for the title and `names`, the runs of a row."""
    own = tables.runs[tables.runs.reindex(columns=["run"]).run.isin(rows.run.unique())]
    judged = compare(tables._replace(runs=own)).frames()
    shared = pd.DataFrame(
        {
            str(protocol): {key: ", ".join(sorted({*each[key]})) for key in _SHARED}
            for protocol, each in _by(rows, "protocol")
        }
    ).T
    of_group = {group: tuple(sorted({*each.run})) for group, each in _by(rows, "group")}
    of_depth = _runs_by_depth(judged["summary"], of_group)
    found: dict[str, pd.DataFrame] = {}
    for name in JUDGED:
        frame = judged[name]
        if name == "verdicts":
            keys = [frame[key] for key in ("protocol", "line", "depth", "than")]
            pairs = [
                of_depth[p, line, deep] + of_depth[p, line, than] for p, line, deep, than in zip(*keys, strict=True)
            ]
        else:
            pairs = [of_group[group] for group in frame.group]
        found[name] = frame.assign(names=pd.Series(pairs, index=frame.index, dtype=object)).join(shared, on="protocol")
    return found


def _runs_by_depth(
    summary: pd.DataFrame, of_group: dict[str, tuple[str, ...]]
) -> dict[tuple[str, str, int], tuple[str, ...]]:
    """(protocol, line, depth) -> its runs, without constructed nets."""
    own = summary[summary.origin == ""].drop_duplicates("group")
    found: dict[tuple[str, str, int], tuple[str, ...]] = {}
    for protocol, line, depth, group in zip(own.protocol, own.line, own.depth, own.group, strict=True):
        found[protocol, line, depth] = found.get((protocol, line, depth), ()) + of_group[group]
    return found


def _by(rows: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for value, own in rows.groupby(column):
        yield str(value), own
