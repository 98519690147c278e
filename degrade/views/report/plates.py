"""The figures of a page: each panel as SVG, legend, numbers, words, and data for the script that makes it move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from degrade.figures import AXES, FIGURES, NothingToDraw, Panel, View, picture, svg
from degrade.figures.panels import Line
from degrade.views.report.words import describe, meaning_of, name_lines

# order on the page; figures that are not named here follow
_ORDER = ("ladder", "fig1", "fig4", "fig6", "reached", "difference", "options", "fig7", "blocks", "gates", "gradients")
_TITLES = {
    "ladder": "Final error against depth",
    "fig1": "As Fig. 1: training and test error of the shallowest and the deepest plain net",
    "fig4": "As Fig. 4: training and test error by net",
    "fig6": "As Fig. 6: training and test error by net",
    "reached": "How soon nets reach an error",
    "difference": "Deeper minus shallower",
    "options": "Shortcut options",
    "fig7": "As Fig. 7: responses of layers",
    "blocks": "Responses of blocks",
    "gates": "Gates of highway nets",
    "constructed": "The solution by construction",
    "gradients": "Gradients by layer",
}
_DIGITS = 4  # of a number that is drawn or told; curves have more


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of a legend."""

    key: str
    label: str
    swatch: str  # svg


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One panel."""

    title: str
    picture: str  # svg
    legend: tuple[Key, ...]
    notes: tuple[str, ...]
    words: tuple[str, ...]  # a sentence a line
    heads: tuple[str, ...]  # of the table of numbers
    rows: tuple[tuple[str, ...], ...]
    colours: tuple[int, ...]  # of its lines
    data: Mapping[str, Any]  # for the script; plain values


@dataclass(frozen=True, kw_only=True)
class Plate:
    """One figure of one protocol."""

    name: str  # a key of FIGURES
    title: str
    panels: tuple[Drawn, ...]
    axes: tuple[str, ...]  # what the script can put on the x axis, the one that is drawn first
    splits: tuple[str, ...]  # kinds of lines that can be hidden
    seeds: bool  # whether single runs can be shown


def make_plates(tables: Mapping[str, pd.DataFrame], place: str) -> list[Plate]:
    """Every figure that the rows of one protocol allow. `place` tells protocols apart in names within the page."""
    order = sorted(FIGURES, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    plates: list[Plate] = []
    for name in order:
        rows = tables.get(FIGURES[name].table)
        if rows is None or rows.empty:
            continue
        try:
            plates.append(_make(name, rows, place))
        except NothingToDraw:
            continue
    return plates


def shades(plates: Sequence[Plate]) -> dict[str, str]:
    """class -> colour on a dark page, of all lines."""
    found = {colour for plate in plates for panel in plate.panels for colour in panel.colours}
    return {svg.name_colour(colour): svg.dark(colour) for colour in sorted(found)}


def _make(name: str, rows: pd.DataFrame, place: str) -> Plate:
    curves = FIGURES[name].table == "curves"
    panels = picture(name, rows).panels
    others = {axis: _try(name, rows, View(x=axis)) for axis in list(AXES)[1:]} if curves else {}
    alone = _make_seeds(name, rows) if curves else []
    drawn = tuple(
        _draw(
            panel,
            f"{place}{chr(97 + list(FIGURES).index(name) % 26)}{number}_",
            {axis: _find(panel, given) for axis, given in others.items()},
            [found for given in alone if (found := _find(panel, given))],
        )
        for number, panel in enumerate(panels)
    )
    moves = [set(panel.data["views"]) for panel in drawn]
    return Plate(
        name=name,
        title=_TITLES.get(name, name),
        panels=drawn,
        axes=tuple(axis for axis in AXES if all(axis in each for each in moves)),
        splits=tuple(dict.fromkeys(line["s"] for panel in drawn for line in panel.data["lines"] if line["s"])),
        seeds=any(panel.data["seeds"] for panel in drawn),
    )


def _try(name: str, rows: pd.DataFrame, view: View) -> Sequence[Panel]:
    """The panels of a figure under another view; none where it has none."""
    try:
        return picture(name, rows, view).panels
    except NothingToDraw:
        return []


def _make_seeds(name: str, rows: pd.DataFrame) -> list[Sequence[Panel]]:
    """The panels of each seed alone, where a figure is over several."""
    if rows.groupby("group").run.nunique().max() < 2:
        return []
    return [_try(name, own, View()) for _, own in rows.groupby("seed")]


def _find(panel: Panel, others: Sequence[Panel]) -> Panel | None:
    """The panel of the same title."""
    return next((other for other in others if other.title == panel.title), None)


def _draw(panel: Panel, name: str, views: Mapping[str, Panel | None], alone: Sequence[Panel]) -> Drawn:
    names = name_lines(panel)
    heads, rows = _tabulate(panel, names)
    labelled = [line for line in panel.lines if line.label]
    return Drawn(
        title=panel.title,
        picture=svg.render(panel, name),
        legend=tuple(Key(key=line.key, label=line.label, swatch=svg.swatch(line, panel, name)) for line in labelled),
        notes=panel.notes,
        words=tuple(describe(panel)),
        heads=heads,
        rows=rows,
        colours=tuple(sorted({line.colour for line in panel.lines})),
        data=_data(panel, names, views, alone),
    )


def _tabulate(panel: Panel, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Heads and rows of the numbers: a row an x, a column a line."""
    places = sorted({float(x) for line in panel.lines for x in line.x})
    columns = [_cells(line) for line in panel.lines]
    rows = tuple((f"{x:,.10g}", *(cells.get(x, "") for cells in columns)) for x in places)
    return (panel.xlabel, *names), rows


def _cells(line: Line) -> dict[float, str]:
    """x -> 12.3, or 12.3 [11.9, 12.8] where there are several runs."""
    found: dict[float, str] = {}
    for x, y, low, high in zip(line.x, line.y, line.low, line.high, strict=True):
        wide = f" [{low:.{_DIGITS}g}, {high:.{_DIGITS}g}]" if high > low else ""
        found[float(x)] = f"{y:.{_DIGITS}g}{wide}"
    return found


def _data(
    panel: Panel, names: Sequence[str], views: Mapping[str, Panel | None], alone: Sequence[Panel]
) -> dict[str, Any]:
    """What the script needs: rows of x are stored once, and lines say which is theirs for each axis."""
    stored: dict[tuple[float | None, ...], int] = {}

    def keep(x: Any) -> int:
        return stored.setdefault(tuple(_numbers(x)), len(stored))

    drawn = panel.xlabel if panel.xlabel in AXES else "x"
    limits = {drawn: panel.xlim}
    lines = [_line(panel, turn, name, [keep(panel.lines[turn].x)]) for turn, name in enumerate(names)]
    for axis, other in views.items():
        if other is not None and _same(panel, other):
            limits[axis] = other.xlim
            for line, moved in zip(lines, other.lines, strict=True):
                line["x"].append(keep(moved.x))
    x, y = svg.scales(panel)
    return {
        "views": {axis: _numbers(limit) for axis, limit in limits.items()},
        "xlabel": panel.xlabel,
        "xlog": x.log,
        "xticks": _numbers(x.ticks),
        "ylim": _numbers(panel.ylim),
        "log": y.log,
        "ylabel": panel.ylabel,
        "yticks": _numbers(y.ticks),
        "shade": None if panel.shade is None else _numbers(panel.shade),
        "lines": lines,
        "seeds": [each for other in alone for each in _seed_lines(panel, other, keep)],
        "xs": [list(x) for x in stored],  # last: keep has filled it
    }


def _line(panel: Panel, turn: int, name: str, x: list[int]) -> dict[str, Any]:
    """One line: t its name, k its key, s its split or kind, x its rows of `xs` by view, b its points beyond."""
    line = panel.lines[turn]
    found: dict[str, Any] = {"t": name, "k": line.key, "s": meaning_of(panel, line), "x": x}
    found["y"] = _numbers(line.y)
    if line.banded:
        found |= {"lo": _numbers(line.low), "hi": _numbers(line.high)}
    if any(line.beyond):
        found["b"] = list(line.beyond)
    if line.spread == "bars":
        found["bars"] = 1
    return found


def _same(panel: Panel, other: Panel) -> bool:
    """Whether two panels have the same lines, each with as many points."""
    pairs = list(zip(panel.lines, other.lines, strict=False))
    return len(panel.lines) == len(other.lines) and all(
        (a.key, a.dash, a.weight, len(a.x)) == (b.key, b.dash, b.weight, len(b.x)) for a, b in pairs
    )


def _seed_lines(panel: Panel, other: Panel, keep: Any) -> list[dict[str, Any]]:
    """The lines of one seed, each with the place of the mean that it belongs to."""
    found: list[dict[str, Any]] = []
    for place, line in enumerate(panel.lines):
        own = [each for each in other.lines if (each.key, each.weight) == (line.key, line.weight) and each.runs]
        if len(line.runs) > 1 and own:
            found.append({"i": place, "x": keep(own[0].x), "y": _numbers(own[0].y)})
    return found


def _numbers(values: Any) -> list[float | None]:
    """Numbers for JSON, to four digits; None for what is no number."""
    return [
        float(f"{value:.{_DIGITS}g}") if abs(value) < 1e4 else round(float(value), 1) if np.isfinite(value) else None
        for value in np.asarray(values, float)
    ]
