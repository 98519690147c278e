"""Which colour and marker a line has. Colours are indices of style.COLOURS, markers keys of style.MARKERS.

A depth has one colour and one marker in all figures. So has a net, in figures whose lines are nets, and a time of the
training. Lines of one depth that share a panel differ in dash or marker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from degrade.figures.panels import Panel


class Mark(NamedTuple):
    """What tells a key from the others. The marker works without colour."""

    colour: int
    marker: str


MARKERS = (
    *("circle", "square", "diamond", "triangle", "wedge"),
    *("plus", "cross", "star", "left", "right"),
)
VARIANTS = ("pentagon", "hexagon", "octagon", "kite", "gem")  # of other lines of the same depth in one figure
# Key -> its place among the colours and markers of its family. The paper's Fig. 6 draws 20 mustard, 32 cyan, 44 green,
# 56 red and 110 black.
DEPTHS = {key: place for place, key in enumerate(("20", "32", "44", "56", "110", "8", "14", "26", "38", "50"))}
_KINDS = ("plain", "residual-A", "residual-B", "residual-C", "highway-A")
_SHORT = {"residual": 1, "A": 1, "B": 2, "C": 3, "highway": 4}  # of the identity experiment, and of options
NETS = {key: place for place, key in enumerate(_KINDS)} | _SHORT
TIMES = {"t1": 0, "t2": 1, "t3": 2, "t4": 3}  # of a training, light to dark
# family -> (its first colour in style.COLOURS, how many it has, the places of its known keys)
_FAMILIES = {"depth": (0, 10, DEPTHS), "net": (10, 8, NETS), "time": (18, 4, TIMES)}
FAMILIES = {name: range(first, first + many) for name, (first, many, _) in _FAMILIES.items()}


def marks(keys: Iterable[str]) -> dict[str, Mark]:
    """Gives each key a colour and a marker, shallow to deep.

    "56 w4" and "56 constructed-20" have the colour of 56: a marker of their own tells them from "56" if both are there.
    A key whose place is not fixed takes the first place of its family that no key of the figure has. Beyond the last
    place the colours begin again, with other markers.
    """
    order = sorted(set(keys), key=rank)
    places: dict[tuple[str, str], int] = {}
    for fixed in (True, False):
        for family, base in ((_family(key), _base(key)) for key in order):
            if (base in _FAMILIES[family][2]) == fixed:
                places.setdefault((family, base), _place(family, base, places))
    found: dict[str, Mark] = {}
    for key in order:
        family, base = _family(key), _base(key)
        first, many, _ = _FAMILIES[family]
        place = places[family, base]
        turn = place % many + place // many
        tried = (MARKERS[turn % len(MARKERS)], *(VARIANTS if place < many else ()), *MARKERS)
        own = [Mark(first + place % many, marker) for marker in tried]
        found[key] = next((mark for mark in own if mark not in found.values()), own[0])
    return found


def assign(panels: Sequence[Panel]) -> list[Panel]:
    """The panels, each line with the colour and the marker of its key."""
    found = marks(line.key for panel in panels for line in panel.lines)
    return [
        replace(panel, lines=tuple(replace(line, **found[line.key]._asdict()) for line in panel.lines))
        for panel in panels
    ]


def _place(family: str, base: str, taken: dict[tuple[str, str], int]) -> int:
    """The fixed place of a key; else the first free one from a place that its depth says, or from the first."""
    _, many, known = _FAMILIES[family]
    if base in known:
        return known[base]
    used = {place for (name, _), place in taken.items() if name == family}
    start = int(base) // 6 % many if base.isdigit() else 0
    tried = [*((start + step) % many for step in range(many)), *range(many, many + len(used) + 1)]
    return next(place for place in tried if place not in used)


def _family(key: str) -> str:
    return "depth" if key[:1].isdigit() else "time" if key in TIMES else "net"


def _base(key: str) -> str:
    """What the colour says: 56 of "56 w4", all of "plain, dirac"."""
    first = key.split(" ")[0]
    return key if first.endswith(",") else first


def rank(key: str) -> tuple[int, str]:
    """Numbers by size, then words: "8" before "56" before "A"."""
    number = _base(key)
    return (int(number), key) if number.isdigit() else (10**9, key)
