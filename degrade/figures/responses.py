"""What layers and blocks of trained nets do: tables of degrade.spec.rows -> panels.

Each run shows its latest measured iteration. Several seeds become their mean and a band from the least to the greatest.
Measurements on the test set under running statistics come before others. The notes of a panel name the kind it shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from degrade.figures.lines import facts_of, keys_of, name_of
from degrade.figures.panels import STD_COLUMNS, Line, NothingToDraw, Panel, View

_NET_DASHES = {"plain": "dashed", "residual": "solid", "highway": "dash-dotted"}
# Greatest value over median. Above it the y axis is logarithmic, since nets that failed would hide the others.
_LOG_ABOVE = 8.0
# (split, BN statistics). The first kind that was measured is shown.
_PREFERRED = [("test", "running"), ("train", "running"), ("test", "batch"), ("train", "batch")]


def fig7(responses: pd.DataFrame, view: View) -> list[Panel]:
    """Fig. 7: standard deviation of each 3x3 layer's responses; original order above, sorted by magnitude below.

    Constructed nets are left out, as in the paper's other figures, unless there are no other nets.
    """
    random = responses[responses.origin == ""]
    rows = _keep_latest(random if len(random) else responses)
    rows = rows.assign(y=rows[STD_COLUMNS[view.over]])
    ranked = rows.assign(layer=rows.groupby("run").y.rank(ascending=False, method="first").astype(int))
    over = "" if view.over == "pooled" else ", mean over channels"
    sorted_by = "layer index (sorted by magnitude)"
    original = _response_panel(rows, "layer", "layer index (original)", f"std{over}")
    return [
        replace(original, lines=_drop_labels(original.lines)),
        _response_panel(ranked, "layer", sorted_by, f"std{over}"),
    ]


def blocks(rows: pd.DataFrame, view: View) -> list[Panel]:
    """How little a block changes its signal: ||F(x)|| / ||x|| if F is added to x, ||H(x) - x|| / ||x|| for all."""
    rows = _keep_latest(rows)
    made: list[Panel] = []
    added = rows[rows.opening == 1]  # a gate would scale F, and a plain block has no x to add F to
    if len(added):
        added = added.assign(y=added.change)
        made.append(_response_panel(added, "index", "block", "||F(x)|| / ||x||", "what a block adds"))
    moved, title = rows.assign(y=rows.distance), "distance of a block from the identity"
    return [*made, _response_panel(moved, "index", "block", "||H(x) − x|| / ||x||", title)]


def gates(rows: pd.DataFrame, view: View) -> list[Panel]:
    """Mean opening of each shortcut: an identity is never closed, a gate may be (Sec. 2).

    Raises NothingToDraw if there is no highway net.
    """
    rows = _keep_latest(rows)
    if "highway" not in set(rows.net):
        raise NothingToDraw(
            "gates: needs a highway net; train one with `degrade sweep net=highway`, then run `degrade responses`"
        )
    made = _response_panel(rows.assign(y=rows.opening), "index", "block", "mean opening of the shortcut", "gates")
    notes = ("1: an identity shortcut", "0: none, a plain block", *made.notes)
    return [replace(made, ylim=(0.0, 1.03), ticks=(0.0, 0.25, 0.5, 0.75, 1.0), grid=(0.0, 1.0), notes=notes)]


def _keep_latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps one kind of measurement, at the latest iteration that all measured seeds of a group share.

    A run without this kind is left out, and so is a run with a number that is not finite. Raises NothingToDraw if no
    run is left.
    """
    kinds = {(split, bn) for split, bn in zip(rows.split, rows.bn, strict=True)}
    split, bn = next(kind for kind in _PREFERRED if kind in kinds)
    rows = keep_finite(rows[(rows.split == split) & (rows.bn == bn)])
    if rows.empty:
        raise NothingToDraw(
            "responses: no measured net has finite responses, since all have diverged; measure nets that have not"
        )
    runs = rows.groupby(["group", "iteration"]).run.transform("nunique")
    rows = rows[runs == runs.groupby(rows.group).transform("max")]
    return rows[rows.iteration == rows.groupby("group").iteration.transform("max")]


def keep_finite(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps the nets whose numbers are all finite, at each iteration."""
    good = (rows.select_dtypes("float").abs() < float("inf")).all(axis=1)
    return rows[good.groupby([rows.run, rows.iteration]).transform("all")]


def _response_panel(rows: pd.DataFrame, x: str, xlabel: str, ylabel: str, title: str = "") -> Panel:
    """The panel of these rows, whose column y is drawn over column `x`."""
    first, iterations = rows.iloc[0], sorted(rows.iteration.unique())
    at = [f"after {', '.join(f'{i:,}' for i in iterations)} iterations"] if len(iterations) > 1 else []
    said = {"running": "running statistics", "batch": "batch statistics"}[first.bn]
    drawn = tuple(_response_lines(rows, x))
    values = rows.y[rows.y > 0]
    wide = len(values) > 0 and values.max() > _LOG_ABOVE * values.median()
    top = max(float(line.high.max()) for line in drawn)
    return Panel(
        title=title,
        xlabel=xlabel,
        ylabel=ylabel,
        lines=drawn,
        xlim=(0, float(rows[x].max())),
        ylim=(0.8 * float(values.min()), 1.25 * top) if wide else (_bottom(drawn, top), 1.05 * top or 1.0),
        ticks=(),
        grid=(),
        notes=(f"{first.split} images", said, *at, *_dash_notes(rows)),
        scale="log" if wide else "linear",
    )


def _bottom(lines: Sequence[Line], top: float) -> float:
    """Where a linear axis begins: at 0, or nearer to values that all lie in its upper half."""
    least = min(float(line.low.min()) for line in lines)
    return max(0.0, least - 0.15 * (top - least)) if least > 0.5 * top else 0.0


def _response_lines(rows: pd.DataFrame, x: str) -> Iterator[Line]:
    """One line per group, shallow to deep: the mean of y over its runs, and a band from the least to the greatest."""
    keys: Mapping[str, str] = keys_of(rows)
    for _, own in rows.groupby(["depth", "net", "shortcut", "width", "protocol", "group"]):
        first, seeds = own.iloc[0], own.run.nunique()
        by = own.groupby(x).y.agg(["mean", "min", "max"])
        yield Line(
            label=name_of(first, keys) + (f", {seeds} seeds" if seeds > 1 else ""),
            key=keys[first.group],
            x=by.index.to_numpy(float),
            y=by["mean"].to_numpy(float),
            low=by["min"].to_numpy(float),
            high=by["max"].to_numpy(float),
            dash=_NET_DASHES.get(first.net, "dotted"),
            weight="bold" if first.origin else "medium",  # constructed nets have the colour of their depth
            **facts_of(own),
        )


def _dash_notes(rows: pd.DataFrame) -> Sequence[str]:
    """The notes that explain dashes and weights, if there is more than one."""
    nets = [net for net in _NET_DASHES if net in set(rows.net)]
    built = ["bold: constructed"] if {"", *rows.origin} == {*rows.origin} != {""} else []
    return [*([f"{_NET_DASHES[net]}: {net}" for net in nets] if len(nets) > 1 else []), *built]


def _drop_labels(drawn: Sequence[Line]) -> tuple[Line, ...]:
    """The same lines without labels, for a panel whose legend stands in another panel."""
    return tuple(replace(line, label="") for line in drawn)
