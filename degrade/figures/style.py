"""How figures look, in one place: colour and marker say depth (or option, or time), dash and weight say split."""

import colorsys
from collections.abc import Iterable, Iterator, Set
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from matplotlib import style


class Mark(NamedTuple):
    """What tells a key from the others. The marker works without colour."""

    colour: str
    marker: str


# The paper's depths in its Fig. 6: mustard 20, cyan 32, green 44, red 56, black 110. Options in Okabe and Ito's
# colours, which readers with any colour vision tell apart.
DEPTHS = {"20": "#c8a415", "32": "#17a2c4", "44": "#2e9e3f", "56": "#d62728", "110": "#111111"}
OPTIONS = {"A": "#0072b2", "B": "#d55e00", "C": "#009e73", "plain": "#555555"}
TIMES = {"t1": "#7cc5b8", "t2": "#3b9bc4", "t3": "#2a5aa8", "t4": "#1a1446"}  # times of a training, light to dark
_PAPER_COLOURS = DEPTHS | OPTIONS | TIMES
_SPARE_COLOURS = ("#7b4fa3", "#1f5fbf", "#e377a2", "#8c564b", "#ff7f0e", "#5f6b6d")  # for keys the paper does not have
_MARKERS = "osD^vPX*<>"

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


def marks(keys: Iterable[str]) -> dict[str, Mark]:
    """Gives each key its own colour and a marker, shallow to deep. The paper's keys keep the paper's colours."""
    order = sorted(set(keys), key=_rank)
    own = {key: _PAPER_COLOURS[key] for key in order if key in _PAPER_COLOURS}
    for key in (key for key in order if key not in own):
        taken = set(own.values())
        wanted = _PAPER_COLOURS.get(key.split(" ")[0])  # "56 w4" is red if there is no "56"
        own[key] = wanted if wanted and wanted not in taken else _pick_spare(taken)
    return {key: Mark(own[key], _MARKERS[number % len(_MARKERS)]) for number, key in enumerate(order)}


def _pick_spare(taken: Set[str]) -> str:
    """The next spare colour. Once they are used up, the colour of the wheel that is farthest from all taken colours."""
    free = [colour for colour in _SPARE_COLOURS if colour not in taken]
    return free[0] if free else max(_WHEEL, key=lambda colour: min(distance(colour, one) for one in taken))


def distance(one: str, other: str) -> float:
    """How different two colours look, roughly: the eye weighs green most (Riemersma's "redmean" with fixed weights)."""
    pairs = zip(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]), (2, 4, 3), strict=True)
    return sum(weight * (a - b) ** 2 for a, b, weight in pairs)


def _hues() -> Iterator[str]:
    """Yields hues in three lightnesses, without colours so light that a thin line is lost on white."""
    for number in range(72):
        rgb = colorsys.hls_to_rgb(number // 3 / 24, (0.25, 0.4, 0.55)[number % 3], 0.8)
        if 0.3 * rgb[0] + 0.6 * rgb[1] + 0.1 * rgb[2] < 0.6:
            yield "#" + bytes(round(255 * part) for part in rgb).hex()


_WHEEL = tuple(_hues())


def _rank(key: str) -> tuple[int, str]:
    """Numbers by size, then words: "8" before "56" before "A"."""
    number = key.split(" ")[0]
    return (int(number), key) if number.isdigit() else (10**9, key)
