"""Panels -> a matplotlib Figure. No pyplot, no global state. Control characters in names are escaped: SVG bans them."""

import textwrap
from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from degrade.figures import marks, style
from degrade.figures.panels import Line, Panel
from degrade.spec.escape import controls

_ABREAST = 3  # panels in a row
_MARKERS_PER_LINE = 6  # about
_AXIS_MARGIN = 0.015  # part of an axis added beyond its limits: a line at 0 % and the last marker are drawn whole


def draw(panels: Sequence[Panel], title: str = "", abreast: int = _ABREAST) -> Figure:
    """Draws the panels in rows of at most `abreast`, below the title and the notes that explain the lines."""
    rows = ceil(len(panels) / abreast)
    columns = ceil(len(panels) / rows)
    panels = marks.assign(panels)
    with style.settings():
        width = 0.8 + 4.2 * columns
        names = max(ceil(len(_legend_names(panel)) / _legend_columns(panel)) for panel in panels)
        figure = Figure(figsize=(width, 0.5 + (3.7 + 0.17 * names) * rows), layout="constrained")
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, number + 1)
            _draw_panel(axes, panel)
            if number % columns == 0 or panel.ylabel != panels[number - 1].ylabel:
                axes.set_ylabel(panel.ylabel)
        notes = ", ".join({note: 0 for panel in panels for note in panel.notes})
        text = [line for part in (title, notes) for line in textwrap.wrap(controls(part), int(width * 15))]
        figure.suptitle("\n".join(text), fontsize=8.5, color="#555555")
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for y in panel.grid:
        axes.axhline(y, color="#bbbbbb", linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    for number, line in enumerate(panel.lines):
        _draw_line(axes, line, number)
    (left, right), (low, high) = panel.xlim, panel.ylim
    axes.set_title(controls(panel.title), y=1.0)  # the default place, but matplotlib would measure all ticks to find it
    axes.set_xlabel(panel.xlabel)
    axes.set_xlim(left, right + _AXIS_MARGIN * (right - left))
    if panel.scale == "log":
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(low - _AXIS_MARGIN * (high - low), high)
    if panel.ticks:
        axes.set_yticks(panel.ticks, [f"{y:g}" for y in panel.ticks])
    if panel.xscale == "log":
        axes.set_xscale("log", base=2)
        axes.set_xticks(panel.xticks)
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    if _legend_names(panel):  # below the axes, so that it hides no line
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=_legend_columns(panel), handlelength=2.6)


def _legend_names(panel: Panel) -> list[str]:
    """The names in the panel's legend."""
    return [controls(line.label) for line in panel.lines if line.label]


def _legend_columns(panel: Panel) -> int:
    """Columns of the panel's legend: as many as fit below the panel."""
    return 2 if max(map(len, _legend_names(panel)), default=0) <= 22 else 1


def _draw_line(axes: Axes, line: Line, turn: int) -> None:
    """Draws the line and its band. Markers stand on a line with a name, and on a line of one point, else invisible."""
    step = max(1, len(line.x) // _MARKERS_PER_LINE)
    marked = bool(line.label) or len(line.x) == 1
    axes.plot(
        line.x,
        line.y,
        color=style.COLOURS[line.colour],
        label=controls(line.label) or "_",
        linestyle=style.DASH[line.dash],
        linewidth=style.WEIGHT[line.weight],
        marker=style.MARKERS[line.marker] if marked else "",
        markersize=4.5 if line.weight == "bold" else 3,
        markevery=(turn % step, step),  # each line begins at another point, so that markers do not overlap
    )
    if (line.high > line.low).any():
        axes.fill_between(line.x, line.low, line.high, color=style.COLOURS[line.colour], alpha=0.15, linewidth=0)
