"""How figures look, in one place: colour says depth, dash says split, as in the paper's Fig. 6."""

from typing import Any

# The paper's: mustard 20, cyan 32, green 44, red 56, black 110.
DEPTHS = {20: "#c8a415", 32: "#17a2c4", 44: "#2e9e3f", 56: "#d62728", 110: "#111111"}
OTHERS = ("#7b4fa3", "#1f5fbf", "#e377a2", "#8c564b", "#ff7f0e", "#5f6b6d")  # depths the paper does not have

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "svg.hashsalt": "degrade",  # the same figure, the same bytes
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def colours(depths: list[int]) -> dict[int, str]:
    """A colour for each depth: the paper's where it has one."""
    spare = iter(OTHERS * (1 + len(depths) // len(OTHERS)))
    return {depth: DEPTHS.get(depth) or next(spare) for depth in sorted(depths)}
