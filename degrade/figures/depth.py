"""What depth does to trained nets, from the tables of `degrade compare`: a line a net, over weighted layers.

The frames are those of frames.collect: `summary`, `reached` and `verdicts` of degrade.analysis.compare, with the names
of the runs. Only runs that are over count. Constructed nets are left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypedDict

import numpy as np
import pandas as pd

from degrade.figures.panels import OWN_AXES, Line, NothingToDraw, Panel, View
from degrade.figures.ticks import choose_log, limits, top_over

NO_ENDS = "no run is over; wait for `degrade sweep`, or see `degrade status`"
_LOG_ABOVE = 30.0  # greatest mean over least: above it a linear axis would lay the lower nets on one another
_NEAR = 1.2  # depths nearer to one another than this factor get one label
_SPLITS = {"train_clean": "clean training error", "test": "test error"}
_INTERVAL = "bars: 95 % interval of the mean"


def ladder(rows: pd.DataFrame, view: View) -> list[Panel]:
    """Final error over depth: clean training error left, test error right, both with one axis.

    Raises NothingToDraw if no net has two depths.
    """
    own = rows[(rows.origin == "") & (rows.statistic == "last") & rows.split.isin(list(_SPLITS))]
    own = _require_depths(own, "ladder")
    least = 100 / (own.images * own.runs)  # one mistake in all images of all runs
    own = own.assign(zero=own["mean"] < 0.5 * least, y=own["mean"].clip(lower=least), least=least)
    scale = "log" if view.top is None and own.y.max() > _LOG_ABOVE * own.y.min() else "linear"
    if scale == "log":
        ylim = limits(pd.concat([own.y / 1.2, own.high.clip(lower=own.y)]))
    else:
        ylim = (0.0, view.top or top_over(float(own.high.max())))
        own = own.assign(y=own["mean"])
    grid = choose_log(*ylim) if scale == "log" else ()
    bars = f"{_INTERVAL}{'; of a single run, over images' if (own.basis == 'images').any() else ''}"
    notes = [bars]
    if scale == "log" and own.zero.any():
        notes.append("caret down: no mistake, drawn at one mistake in all images")
    if scale == "log" and (own.low < ylim[0]).any():
        notes.append("bars that end at the axis go further down")
    return [
        Panel(
            title=title,
            xlabel="weighted layers",
            ylabel="final error (%)",
            lines=tuple(_ladder_lines(own[own.split == split], split, scale, ylim)),
            **_depth_axis(own.depth),
            ylim=ylim,
            ticks=grid,
            grid=grid,
            notes=tuple(notes),
            scale=scale,
        )
        for split, title in _SPLITS.items()
    ]


def _ladder_lines(rows: pd.DataFrame, split: str, scale: str, ylim: tuple[float, float]) -> Iterator[Line]:
    for label, key, own in _by_line(rows):
        ends = own.low.clip(lower=ylim[0]), own.high.clip(upper=ylim[1])
        dash = "dashed" if split == "train_clean" else "solid"
        below = -own.zero.astype(int) if scale == "log" else None
        yield _line(own, label + _say_seeds(own.runs), key, split, own.y, ends, beyond=below, dash=dash)


def reached(rows: pd.DataFrame, view: View) -> list[Panel]:
    """Iterations to a clean training error of 50, 20, 10 and 5 %, over depth: how slowly nets converge (Sec. 4.1).

    The median over seeds. A net of which half of the runs never got there stands at the upper end. Raises NothingToDraw
    if no net has two depths, or none got to any of them.
    """
    own = _require_depths(rows[rows.origin == ""], "reached")
    got = own[own.iterations.notna()]
    if got.empty:
        raise NothingToDraw("reached: no net reached a clean training error of 50 %; train longer, or shallower nets")
    end = 1.1 * float(got.iterations.max())
    never = "caret up: half of the runs or more never got there"
    made: list[Panel] = []
    for error, each in sorted(own.groupby("error"), reverse=True):
        if each.iterations.isna().all():
            continue
        lines = tuple(_reached_lines(each, end))
        notes = ("first evaluation at or below that clean training error, median over seeds",)
        made.append(
            Panel(
                title=f"to {error:g} % training error",
                xlabel="weighted layers",
                ylabel="iterations",
                lines=lines,
                **_depth_axis(own.depth),
                ylim=(0.0, end),
                notes=(*notes, never) if each.iterations.isna().any() else notes,
            )
        )
    return made


def _reached_lines(rows: pd.DataFrame, end: float) -> Iterator[Line]:
    for label, key, own in _by_line(rows):
        y, never = own.iterations.fillna(end), own.iterations.isna().astype(int)
        yield _line(own, label + _say_seeds(own.runs), key, "train_clean", y, (y, y), beyond=never)


def difference(rows: pd.DataFrame, view: View) -> list[Panel]:
    """Error of each deeper net minus the shallowest, over depth; a panel a net, the margin shaded.

    Raises NothingToDraw if no net has two depths.
    """
    own = rows[rows.against != "best"]
    if own.empty:
        raise NothingToDraw("difference: needs a net of two depths whose runs are over; train another depth")
    made: list[Panel] = []
    for label, key, each in _by_line(own.sort_values(["depth", "primary", "runs_than", "than"])):
        pairs = each.drop_duplicates("depth", keep="last").sort_values("depth")
        margin = float(pairs.margin.iloc[0])
        ends = pairs[["low", "high", "test_low", "test_high", "difference", "test_difference"]].to_numpy(float)
        low, high = min(-margin, float(np.nanmin(ends))), max(margin, float(np.nanmax(ends)))
        room = 0.06 * (high - low)
        shallow = " or ".join(str(than) for than in sorted({*pairs.than}))
        made.append(
            Panel(
                title=f"{label}, minus {shallow} layers",
                xlabel="weighted layers",
                ylabel="difference (points)",
                lines=tuple(_difference_lines(pairs, key)),
                **_depth_axis(pairs.depth),
                ylim=(low - room, high + room),
                grid=(0.0,),
                notes=(*_explain_bars(pairs), f"shaded: within the margin of {margin:g} points"),
                shade=(-margin, margin),
            )
        )
    if len(made) > 1:
        ends = [panel.ylim for panel in made]
        shared = min(low for low, _ in ends), max(high for _, high in ends)
        crushed = any(high - low < (shared[1] - shared[0]) / 4 for low, high in ends)
        made = [_with_axis(panel, panel.ylim if crushed else shared, crushed) for panel in made]
    return made


def _with_axis(panel: Panel, ylim: tuple[float, float], own: bool) -> Panel:
    return replace(panel, ylim=ylim, notes=(*panel.notes, OWN_AXES) if own else panel.notes)


def _difference_lines(rows: pd.DataFrame, key: str) -> Iterator[Line]:
    for split, prefix, label, dash in (
        ("train_clean", "", "clean training", "dashed"),
        ("test", "test_", "test", "solid"),
    ):
        middle = rows[f"{prefix}difference"]
        ends = rows[f"{prefix}low"].fillna(middle), rows[f"{prefix}high"].fillna(middle)
        yield _line(rows, label, key, split, middle, ends, dash=dash)


def _explain_bars(rows: pd.DataFrame) -> Iterator[str]:
    """What the intervals are about, for each basis that there is."""
    said = {
        "seeds": "bars: 95 % interval over seeds",
        "images": "bars of single runs: 95 % interval over images",
        "prediction": "bars where one net has a single run: 95 % prediction interval",
    }
    yield from (text for basis, text in said.items() if basis in set(rows.basis))


def _require_depths(rows: pd.DataFrame, figure: str) -> pd.DataFrame:
    if rows.empty or rows.groupby(["protocol", "line"]).depth.nunique().max() < 2:
        raise NothingToDraw(f"{figure}: needs a net of two depths whose runs are over; train another depth")
    return rows


def _by_line(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yields each line of nets: its label, its key, and its rows, shallow to deep."""
    mixed = rows.protocol.nunique() > 1
    for (protocol, line), own in rows.groupby(["protocol", "line"]):
        label = f"{line} {str(protocol).rsplit('-', 1)[-1]}" if mixed else str(line)
        yield label, label.replace(" ", ","), own.sort_values("depth")


def _line(
    rows: pd.DataFrame,
    label: str,
    key: str,
    split: str,
    y: "pd.Series[float]",
    ends: "tuple[pd.Series[float], pd.Series[float]]",
    *,
    beyond: "pd.Series[int] | None" = None,
    dash: str = "solid",
) -> Line:
    """A line with a point and a bar a depth."""
    return Line(
        label=label,
        key=key,
        x=rows.depth.to_numpy(float),
        y=np.asarray(y, dtype=np.float64),
        low=np.asarray(ends[0], dtype=np.float64),
        high=np.asarray(ends[1], dtype=np.float64),
        net=str(rows.line.iloc[0]),
        split=split,
        dash=dash,
        weight="medium",
        spread="bars",
        beyond=() if beyond is None else tuple(int(each) for each in beyond),
        runs=tuple(sorted({name for names in rows.names for name in names})),
    )


def _say_seeds(runs: Iterable[int]) -> str:
    """What a label adds: ", 3 seeds", or ", 2 to 3 seeds"."""
    least, most = min(runs), max(runs)
    if most == 1:
        return ""
    return f", {most} seeds" if least == most else f", {least} to {most} seeds"


class _Axis(TypedDict):
    xlim: tuple[float, float]
    xscale: str
    xticks: tuple[float, ...]


def _depth_axis(depths: Iterable[int]) -> _Axis:
    """A logarithmic axis with the depths as its ticks, without those too near to their neighbours to be read."""
    known = sorted({int(depth) for depth in depths})
    shown = [known[-1]]
    for depth in reversed(known[:-1]):
        if shown[-1] >= _NEAR * depth:
            shown.append(depth)
    return {
        "xlim": (known[0] / 2**0.25, known[-1] * 2**0.25),
        "xscale": "log",
        "xticks": tuple(float(depth) for depth in reversed(shown)),
    }
