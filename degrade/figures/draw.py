"""Panels -> a matplotlib Figure. No pyplot, no global state. Control characters in names are escaped: SVG bans them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from degrade.figures import marks, style, ticks
from degrade.figures.canvas import Canvas
from degrade.figures.panels import Line, Panel
from degrade.spec.escape import controls

_ABREAST = 3  # panels in a row
_MARKERS_PER_LINE = 6  # about
_APART = 3.0  # points between lines with bars
_AXIS_MARGIN = 0.015  # part of an axis added beyond its limits: a line at 0 % and the last marker are drawn whole
_INCH = 72  # points


@dataclass(frozen=True)
class _Room:
    """The room of a panel, and what fits into it."""

    width: float  # inches
    points: float  # size of the type
    colours: style.Colours
    tall: float  # height of its axes over its width

    @property
    def scale(self) -> float:
        """Of lines and markers, which get thinner with the type, but not too thin to print."""
        return max(0.75, self.points / 9)

    def fits(self, points: float) -> int:
        """Characters across, of a size."""
        return int(self.width * _INCH / (0.56 * points))

    def legend(self, panel: Panel) -> tuple[list[str], int]:
        """The names in the panel's legend, wrapped, and how many stand beside one another."""
        size = self.points - 1 if self.points > 8 else self.points - 0.5
        names = [textwrap.fill(name, max(12, self.fits(size) - 8)) for name in legend_names(panel)]
        longest = max((len(part) for name in names for part in name.split("\n")), default=0)
        return names, 2 if 2 * (longest + 9) <= self.fits(size) else 1


def draw(panels: Sequence[Panel], title: str = "", abreast: int = _ABREAST, canvas: Canvas | None = None) -> Figure:
    """Draws the panels in rows of at most `abreast`, below the title and the notes that explain the lines."""
    canvas, panels = canvas or Canvas(), marks.assign(panels)
    columns = canvas.count_columns(abreast, len(panels))
    rows = -(-len(panels) // columns)
    width, each = canvas.measure(columns)
    room = _Room(each, canvas.points, style.STYLES[canvas.style], canvas.measure_tall(each))
    notes = ", ".join({note: 0 for panel in panels for note in panel.notes})
    told = [part for part in (title if canvas.title else "", notes) if part]
    wide = int(width * _INCH / (0.56 * (room.points - 0.5)))
    text = [line for part in told for line in textwrap.wrap(controls(part), wide)]
    with style.settings(canvas):
        figure = Figure(figsize=(width, canvas.height or _height(panels, room, rows, len(text))), layout="constrained")
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, number + 1)
            _draw_panel(axes, panel, room)
            if number % columns == 0 or panel.ylabel != panels[number - 1].ylabel:
                axes.set_ylabel(panel.ylabel)
        figure.suptitle("\n".join(text), fontsize=room.points - 0.5, color=room.colours.muted)
    return figure


def _height(panels: Sequence[Panel], room: _Room, rows: int, lines: int) -> float:
    """The height of the figure in inches: axes of three parts to four, and what stands above and below them."""
    names = max(_count_rows(*room.legend(panel)) for panel in panels)
    around = (5.5 + 1.45 * names) * room.points / _INCH
    return lines * 1.3 * room.points / _INCH + rows * (room.tall * room.width + around)


def _count_rows(names: Sequence[str], columns: int) -> int:
    """Lines of text in a legend."""
    return -(-sum(name.count("\n") + 1 for name in names) // columns)


def _draw_panel(axes: Axes, panel: Panel, room: _Room) -> None:
    for y in panel.grid:
        axes.axhline(y, color=room.colours.grid, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    if panel.shade:
        axes.axhspan(*panel.shade, color=room.colours.grid, alpha=0.35, linewidth=0, zorder=0)
    middle = (len(panel.lines) - 1) / 2
    for number, line in enumerate(panel.lines):
        _draw_line(axes, line, number - middle if line.spread == "bars" else number, room)
    title = textwrap.fill(controls(panel.title), max(14, room.fits(room.points + 1) - 7))
    axes.set_title(title, y=1.0)  # the default place, but matplotlib would measure all ticks to find it
    axes.set_xlabel(panel.xlabel)
    _set_axis(axes, "x", panel.xscale, panel.xlim, panel.xticks, room.fits(room.points) // 7)
    apart = 1.15 * room.points / (room.tall * room.width * _INCH)  # of labels, as a part of the axis
    _set_axis(axes, "y", panel.scale, panel.ylim, ticks.thin(panel.ticks, panel.ylim, panel.scale, apart), 7)
    axes.tick_params(labelsize=room.points - 0.5, colors=room.colours.ink, width=0.8 * room.scale)
    names, columns = room.legend(panel)
    if names:  # below the axes, so that it hides no line
        handles = [handle for handle in axes.lines if not str(handle.get_label()).startswith("_")]
        below = ScaledTranslation(0, -3.3 * room.points / _INCH, axes.get_figure(root=True).dpi_scale_trans)  # pyright: ignore[reportOptionalMemberAccess]
        axes.legend(
            handles,
            names,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=axes.transAxes + below,
            ncols=columns,
            handlelength=2.6,
        )


def _set_axis(axes: Axes, which: str, scale: str, limits: tuple[float, float], at: Sequence[float], most: int) -> None:
    """Scale, limits, ticks and their labels. A linear axis has a margin where a line may run along its end."""
    low, high = limits
    axis = axes.xaxis if which == "x" else axes.yaxis
    if scale == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=2 if which == "x" else 10)
    elif which == "x":
        high += _AXIS_MARGIN * (high - low)
    else:
        low -= _AXIS_MARGIN * (high - low)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    shown = list(at) or list(ticks.choose(*limits, scale, max(3, min(7, most))))
    axis.set_ticks(shown, ticks.write(shown, scale))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def legend_names(panel: Panel) -> list[str]:
    """The names in the panel's legend."""
    return [controls(line.label) for line in panel.lines if line.label]


def _draw_line(axes: Axes, line: Line, place: float, room: _Room) -> None:
    """Draws the line, its band or bars, and a marker at some of its points, or at all if it has bars.

    A point that was never reached has a caret alone: no line leads to it. `place` is 0 for a line in the middle of its
    panel: lines with bars stand a little beside one another.
    """
    colour, beyond = room.colours.lines[line.colour], np.array(line.beyond or [0] * len(line.x))
    where = axes.transData
    if line.spread == "bars":
        where += ScaledTranslation(_APART * place / _INCH, 0, axes.get_figure(root=True).dpi_scale_trans)  # pyright: ignore[reportOptionalMemberAccess]
    axes.plot(
        line.x,
        np.where(beyond > 0, np.nan, line.y) if line.beyond else line.y,
        color=colour,
        label=controls(line.label) or "_",
        linestyle=style.DASH[line.dash],
        linewidth=style.WEIGHT[line.weight] * room.scale,
        marker=style.MARKERS[line.marker],
        markersize=(4.5 if line.weight == "bold" else 3.6) * room.scale,
        markerfacecolor=room.colours.paper if line.training else colour,
        markeredgewidth=0.9 * room.scale,
        markevery=_pick_marked(line, beyond, int(place)),
        transform=where,
    )
    for sign, marker in style.BEYOND.items():
        if (there := beyond == sign).any():
            (carets,) = axes.plot(line.x[there], line.y[there], color=colour, linestyle="", marker=marker, label="_")
            carets.set(markersize=7 * room.scale, clip_on=False, transform=where)
    if not line.banded:
        return
    if line.spread == "bars":
        axes.vlines(line.x, line.low, line.high, color=colour, linewidth=1.2 * room.scale, transform=where)
    elif line.training:  # an outline, so that it is told from the filled band of the test error
        band = axes.fill_between(line.x, line.low, line.high, facecolor="none", edgecolor=colour)
        band.set(linewidth=0.6 * room.scale, linestyle=(0, (1, 1.5)))
    else:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)


def _pick_marked(line: Line, beyond: NDArray[np.int64], turn: int) -> list[int]:
    """The points with a marker. Each line begins at another point, so that markers do not overlap."""
    step = 1 if line.spread == "bars" else max(1, len(line.x) // _MARKERS_PER_LINE)
    return [at for at in range(turn % step, len(line.x), step) if beyond[at] == 0]
