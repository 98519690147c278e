"""How figures look, in one place: colour and marker say depth (or net, or time), dash, weight and fill say split."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from matplotlib import style

from degrade.figures import marks
from degrade.figures.canvas import Canvas


@dataclass(frozen=True)
class Colours:
    """The colours of a style."""

    paper: str
    ink: str
    muted: str  # title and notes
    grid: str
    lines: tuple[str, ...]  # by the index that marks.assign gives: depths, nets, times


# In each family any two colours are told apart with protanopia, deuteranopia, tritanopia and in grey: their lightness
# rises in even steps, from what stands out against the paper (contrast 3:1) to its opposite. The paper's hues are kept:
# mustard 20, cyan 32, green 44, red 56, black 110. tests/figures/test_colours.py measures the distances.
STYLES = {
    "paper": Colours(
        "#ffffff",
        "#000000",
        "#555555",
        "#bbbbbb",
        (
            *(
                "#b98e01",
                "#058dc3",
                "#4f8039",
                "#ca041d",
                "#0f0f0f",
                "#771485",
                "#1b45d0",
                "#033e47",
                "#4c1b02",
                "#340148",
            ),
            *("#df5205", "#6265b9", "#14a87d", "#690062", "#494949", "#3d2002", "#051a23", "#94421f"),
            *("#01a696", "#3375a2", "#2f448d", "#02174b"),
        ),
    ),
    "dark": Colours(
        "#14171c",
        "#e8eaed",
        "#aab0b8",
        "#4a5058",
        (
            *(
                "#fee83e",
                "#15d8f0",
                "#a5be4e",
                "#fe5971",
                "#f8f8f8",
                "#a065ef",
                "#ace592",
                "#fd72c2",
                "#697d03",
                "#066aab",
            ),
            *("#fe7d0c", "#188efd", "#69e397", "#b7569c", "#b6b6b6", "#fae173", "#806028", "#f1f9fe"),
            *("#6960c3", "#649bce", "#10d6d5", "#f1f6a7"),
        ),
    ),
}
MARKERS = dict(zip((*marks.MARKERS, *marks.VARIANTS), "osD^vPX*<>pH8dh", strict=True))
BEYOND = {-1: 7, 1: 6}  # matplotlib's carets: down where a value is below the resolution, up where it never came
DASH: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (3, 1.5)),
    "dotted": (0, (1, 1)),
    "dash-dotted": (0, (5, 1.5, 1, 1.5)),
}
WEIGHT = {"bold": 2.0, "medium": 1.4, "thin": 1.0}  # points


def settings(canvas: Canvas | None = None) -> AbstractContextManager[None]:
    """matplotlib's own defaults and ours meanwhile, whatever a matplotlibrc or the program around us has set."""
    canvas = canvas or Canvas()
    colours, points = STYLES[canvas.style], canvas.points
    ours: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": points,
        "text.parse_math": False,  # a $ in a name is a $
        "text.color": colours.ink,
        "figure.facecolor": colours.paper,
        "axes.facecolor": colours.paper,
        "axes.edgecolor": colours.ink,
        "axes.labelcolor": colours.ink,
        "axes.linewidth": 0.8 * max(0.75, points / 9),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": points + (1 if points > 8 else 0.5),
        "legend.fontsize": points - (1 if points > 8 else 0.5),
        "legend.edgecolor": "none",
        "legend.framealpha": 0.6,
        "svg.hashsalt": "degrade",  # the same figure, the same bytes
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
    return style.context(["default", ours])
