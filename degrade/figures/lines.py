"""The paper's curves: frame -> panels of labelled lines and bands. draw.py draws them.

The frames come from analysis.curves.add_standing: a row per (run, iteration, split), with the run's state and schedule.
Several seeds become their mean and a band from the least to the greatest, as far as every seed goes. A seed that is
ahead of the others goes on as its own dotted line, so that no mean is over changing runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import pandas as pd

from degrade.analysis.curves import CURVE_KEYS, beyond_seeds, over_seeds
from degrade.figures.panels import OWN_AXES, Line, NothingToDraw, Panel, View, gridlines, require_rows, yticks
from degrade.figures.ticks import top_over
from degrade.spec.rows import FOREIGN, foreign_label

NET_ORDER = {"plain": 0, "residual": 1, "highway": 2}  # order of panels, left to right
_TAIL = 4e4 / 6.4e4  # the part of the schedule at which the paper's third panel begins
_AHEAD = "dotted"  # the dash of a seed that is ahead of the others of its group


@dataclass(frozen=True)
class Look:
    """How the lines of one split are drawn."""

    dash: str = "solid"
    weight: str = "bold"
    labelled: bool = True
    dashes: Mapping[str, str] = field(default_factory=dict[str, str])  # net -> dash, if it is not `dash`


def fig1(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Fig. 1: the shallowest and the deepest plain net of the runs; training error left, test error right.

    Raises NothingToDraw if the plain nets do not have two depths.
    """
    plain = require_rows(curves[curves.net == "plain"], "fig1", (view.split, "test"), "plain net")
    depths = sorted(plain.depth.unique())
    if len(depths) < 2:
        raise NothingToDraw(
            f"fig1: needs plain nets of two depths, but only depth {depths[0]} is there; train another depth"
        )
    return _panels_by_split(plain[plain.depth.isin([depths[0], depths[-1]])], view)


def fig4(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Fig. 4: training thin and test bold, both solid; a panel for each net and shortcut.

    Raises NothingToDraw if no net from random weights has a point.
    """
    rows = require_rows(curves, "fig4", (view.split, "test"))
    looks = {view.split: Look(weight="thin", labelled=False), "test": Look()}
    return say_axes(_panels_by_net(rows, view, looks, (f"thin, hollow: {view.training}", "bold: test")))


def fig6(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Fig. 6: training dashed and test bold; a panel for each net and shortcut, and one for the deepest residual nets.

    The last panel shows the end of training for the first option with three depths or more. Raises NothingToDraw if no
    net from random weights has a point.
    """
    rows = require_rows(curves, "fig6", (view.split, "test"))
    looks = {view.split: Look("dashed", "thin", labelled=False), "test": Look()}
    notes = (f"dashed, hollow: {view.training}", "bold: test")
    panels = _panels_by_net(rows, view, looks, notes)
    deep, end = _keep_deepest(rows[rows.net == "residual"]), view.end(rows)
    late = deep.iteration >= _TAIL * deep.iterations
    first = float(deep.seconds[late].min()) if view.x == "seconds" else _TAIL * end  # so that fast nets stay
    lines = tuple(error_lines(deep, view, looks, keys_of(rows), since=first))
    if not lines:
        return say_axes(panels)
    title = f"{kind_label('residual', deep.shortcut.iloc[0])}, the deepest: end of training"
    top = view.top or top_over(max(float(line.high[line.x >= first].max(initial=0)) for line in lines))
    return say_axes([*panels, error_panel(title, lines, view, (first, end), top, notes)])


def options(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Shortcut options A, B, C of Sec. 3.3 at the deepest depth with two or more options; training left, test right.

    The plain net of this depth is dashed, for reference. Raises NothingToDraw if no depth has two options.
    """
    rows = require_rows(curves, "options", (view.split, "test"))
    count = rows[rows.net == "residual"].groupby("depth").shortcut.nunique()
    if not (count > 1).any():
        raise NothingToDraw("options: needs residual nets of one depth with two shortcut options; sweep shortcut=A,B,C")
    depth = count[count > 1].index.max()
    rows = rows[(rows.depth == depth) & rows.net.isin(["residual", "plain"])]
    return _panels_by_split(rows, view, by_option=True)


def _panels_by_split(rows: pd.DataFrame, view: View, *, by_option: bool = False) -> list[Panel]:
    """Training error left, test error right; colours by depth, or by shortcut option."""
    keys, top, end = keys_of(rows, by_option=by_option), view.limit(rows), view.end(rows)
    look = Look(dashes={"plain": "dashed"} if by_option else {})
    panels: list[Panel] = []
    for split, title in ((view.split, f"{view.training} error"), ("test", "test error")):
        lines = tuple(error_lines(rows, view, {split: look}, keys))
        panels.append(error_panel(title, lines, view, (0, end), top))
    return panels


def _panels_by_net(rows: pd.DataFrame, view: View, looks: Mapping[str, Look], notes: tuple[str, ...]) -> list[Panel]:
    """A panel for each net and shortcut, plain first. The error axis of each ends where its own nets ask for."""
    keys, end = keys_of(rows), view.end(rows)
    kinds = rows[["net", "shortcut"]].drop_duplicates().itertuples(index=False)
    panels: list[Panel] = []
    for net, shortcut in sorted(kinds, key=lambda kind: (NET_ORDER.get(kind[0], len(NET_ORDER)), kind)):
        own = rows[(rows.net == net) & (rows.shortcut == shortcut)]
        lines = tuple(error_lines(own, view, looks, keys))
        panels.append(error_panel(kind_label(net, shortcut), lines, view, (0, end), view.limit(own), notes))
    return panels


def say_axes(panels: list[Panel]) -> list[Panel]:
    """The panels, with a note if their error axes end at different values."""
    if len({panel.ylim for panel in panels}) < 2:
        return panels
    return [replace(panel, notes=(*panel.notes, OWN_AXES)) for panel in panels]


def error_panel(
    title: str,
    lines: tuple[Line, ...],
    view: View,
    xlim: tuple[float, float],
    top: float,
    notes: tuple[str, ...] = (),
    ticks: tuple[float, ...] = (),
) -> Panel:
    ahead = ("dotted: a seed ahead of the others",) if any(line.dash == _AHEAD for line in lines) else ()
    spread = [line for line in lines if line.banded]
    both = len({line.training for line in spread}) > 1
    bands = (f"band: least to greatest seed{' (training: its outline)' if both else ''}",) if spread else ()
    return Panel(
        title=title,
        xlabel=view.axis.label,
        ylabel="error (%)",
        lines=lines,
        xlim=xlim,
        ylim=(0, top),
        ticks=ticks or yticks(top),
        grid=gridlines(top),
        notes=(*notes, *bands, *ahead),
    )


def _keep_deepest(residual: pd.DataFrame) -> pd.DataFrame:
    """Keeps the two deepest depths of the first shortcut option with three depths, or no row if no option has three."""
    for _, rows in residual.groupby("shortcut"):
        depths = sorted(rows.depth.unique())
        if len(depths) >= 3:
            return rows[rows.depth.isin(depths[-2:])]
    return residual.iloc[:0]


def error_lines(
    rows: pd.DataFrame,
    view: View,
    looks: Mapping[str, Look],
    keys: Mapping[str, str],
    since: float = 0.0,
) -> Iterator[Line]:
    """The lines of each group, shallow to deep, in the order of `looks`. Lines that end by x = `since` are left out."""
    means = over_seeds(rows, view.axis.column)  # once for all groups: a call takes as long for few rows as for many
    of_means, of_ahead = _split_by_group(means), _split_by_group(beyond_seeds(rows, means))
    none = rows.iloc[:0]
    for _, own in rows.groupby(["depth", "net", "shortcut", "width", "protocol", "group"]):
        first = own.iloc[0]
        key, name = keys[first.group], name_of(first, keys)
        for split, look in looks.items():
            part = own[own.split == split]
            mean, ahead = (of.get((first.group, split), none) for of in (of_means, of_ahead))
            look = replace(look, dash=look.dashes.get(first.net, look.dash))
            label = name + _standing_label(part, mean, view) if look.labelled and len(part) else ""
            yield from _group_lines(part, mean, ahead, view, look, key, label, since)


class Facts(TypedDict):
    """What a line shows: fields of Line."""

    net: str
    depth: int
    seeds: tuple[int, ...]
    split: str
    runs: tuple[str, ...]


def facts_of(rows: pd.DataFrame, split: str = "") -> Facts:
    """What a line of these rows, of one group, shows."""
    first = rows.iloc[0]
    return {
        "net": kind_label(first.net, first.shortcut),
        "depth": int(first.depth),
        "seeds": tuple(sorted(int(seed) for seed in rows.seed.unique())),
        "split": split,
        "runs": tuple(sorted(rows.run.unique())),
    }


def _split_by_group(rows: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """(group, split) -> its rows."""
    return {(str(group), str(split)): own for (group, split), own in rows.groupby(["group", "split"])}


def _group_lines(
    rows: pd.DataFrame,
    mean: pd.DataFrame,
    ahead: pd.DataFrame,
    view: View,
    look: Look,
    key: str,
    label: str,
    since: float,
) -> Iterator[Line]:
    """One group on one split: the mean of its seeds as far as all go, then a line for each seed that is ahead."""
    parts = [(mean, look.dash, rows)] if len(mean) else []
    for _, own in ahead.groupby("run"):
        alone = own.assign(x=own[view.axis.column], mean=own.error, low=own.error, high=own.error)
        parts.append((alone, _AHEAD, own))
    for part, dash, shown in parts:
        part = (
            part[part.x >= part.x[part.x <= since].max()] if (part.x <= since).any() else part
        )  # with the last point before `since`
        if not (part.x > since).any():
            continue
        part = part.sort_values("iteration")
        yield Line(
            label=label,
            key=key,
            x=part.x.to_numpy(float),
            y=part["mean"].to_numpy(float),
            low=part.low.to_numpy(float),
            high=part.high.to_numpy(float),
            dash=dash,
            weight=look.weight,
            **facts_of(shown, str(shown.split.iloc[0])),
        )
        label = ""  # only the first line of a group has a label


def name_of(row: "pd.Series[Any]", keys: Mapping[str, str]) -> str:
    """The name of a row's group in a legend: plain-56, or plain-56 w32 if the key says more than the depth.

    A net from a file of others has the label of its file: residual-A-20 (resnet20).
    """
    if row.protocol == FOREIGN:
        return f"{kind_label(row.net, row.shortcut)}-{row.depth} ({foreign_label(row.group)})"
    extra = keys[row.group].partition(" ")[2]
    return f"{kind_label(row.net, row.shortcut)}-{row.depth}" + (f" {extra}" if extra else "")


def _standing_label(rows: pd.DataFrame, mean: pd.DataFrame, view: View) -> str:
    """The text after a group's name in the legend: ", 3 seeds (to 3,000; 1 diverged)"."""
    seeds = rows.run.nunique()
    drawn = mean if len(mean) else rows.assign(x=rows[view.axis.column])  # no shared point: each seed has its own line
    last = drawn.sort_values("iteration").iloc[-1]
    diverged = rows[rows.state == "diverged"].run.nunique()
    marks: list[str] = []
    if last.iteration < rows.iterations.max():
        marks.append(f"{'diverged at' if diverged and seeds == 1 else 'to'} {view.axis.show(last.x)}")
    if diverged and seeds > 1:
        marks.append(f"{diverged} diverged")
    return (f", {seeds} seeds" if seeds > 1 else "") + (f" ({'; '.join(marks)})" if marks else "")


def keys_of(rows: pd.DataFrame, *, by_option: bool = False) -> dict[str, str]:
    """group -> its key: "56" (or "B" by option) for the colour, then whatever tells the group from others of that name.

    The key adds the width if it is not the paper's 16, and the origin of a constructed net. If names are still equal,
    it adds the hash of the protocol, and if that does not help, the hash of the group.
    """
    groups = rows[[*CURVE_KEYS, "origin"]].drop_duplicates()
    base = groups.depth.astype(str)
    if by_option:
        base = groups.shortcut.where(groups.shortcut != "none", groups.net)
    base = base + groups.width.map(lambda width: f" w{width}" if width != 16 else "")
    base = base + groups.origin.map(lambda origin: f" {origin}" if origin else "")
    for column in (None, "protocol", "group"):
        more = "" if column is None else " " + groups[column].str.rsplit("-", n=1).str[-1]
        names = groups.assign(key=base + more)
        if not names.duplicated(["net", "shortcut", "depth", "key"]).any():
            break
    return dict(zip(names.group, names.key, strict=True))


def kind_label(net: str, shortcut: str) -> str:
    """plain, residual-A."""
    return net if shortcut == "none" else f"{net}-{shortcut}"
