"""Panels -> a matplotlib Figure. No pyplot, no global state."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from degrade.figures import style
from degrade.figures.lines import Line, Panel


def draw(panels: Sequence[Panel], title: str = "") -> Figure:
    """One row of panels that share the y axis."""
    colour = style.colours(sorted({line.depth for panel in panels for line in panel.lines}))
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(0.8 + 4.2 * len(panels), 4.4), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            draw_panel(axes, panel, colour)
        row[0].set_ylabel(panels[0].ylabel)
        figure.suptitle("; ".join(part for part in (title, panels[0].key) if part), fontsize=8.5, color="#555555")
    return figure


def draw_panel(axes: Axes, panel: Panel, colour: dict[int, str]) -> None:
    for y in panel.grid:
        axes.axhline(y, color="#bbbbbb", linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    for line in panel.lines:
        draw_line(axes, line, colour[line.depth])
    axes.set(title=panel.title, xlabel=panel.xlabel, ylim=(0, panel.top))
    axes.set_yticks([0, *panel.grid])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    if any(line.label for line in panel.lines):
        axes.legend(loc="best", handlelength=2.0)


def draw_line(axes: Axes, line: Line, colour: str) -> None:
    dash, thickness = (0, (3, 1.5)) if line.dashed else "-", 2.0 if line.bold else 1.1
    axes.plot(line.x, line.y, color=colour, label=line.label or "_", linestyle=dash, linewidth=thickness)
    if (line.high > line.low).any():
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
