"""How figures look, in one place: colour and marker say depth (or option, or time), dash and weight say split."""

from contextlib import AbstractContextManager
from typing import Any

from matplotlib import style

from degrade.figures import marks

COLOURS = (
    *("#c8a415", "#17a2c4", "#2e9e3f", "#d62728", "#111111", "#7b4fa3", "#1f5fbf", "#e377a2", "#8c564b", "#ff7f0e"),
    *("#555555", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"),
    *("#7cc5b8", "#3b9bc4", "#2a5aa8", "#1a1446"),
)
MARKERS = dict(zip(marks.MARKERS, "osD^vPX*<>", strict=True))

DASH: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (3, 1.5)),
    "dotted": (0, (1, 1)),
    "dash-dotted": (0, (5, 1.5, 1, 1.5)),
}
WEIGHT = {"bold": 2.0, "medium": 1.4, "thin": 1.0}  # points

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a $ in a name is a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.6,
    "svg.hashsalt": "degrade",  # the same figure, the same bytes
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def settings() -> AbstractContextManager[None]:
    """matplotlib's own defaults and RC meanwhile, whatever a matplotlibrc or the program around us has set."""
    return style.context(["default", RC])
