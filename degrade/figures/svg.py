"""Panels as SVG inside an HTML page: the panels that draw.py gives to matplotlib, in the same colours and markers.

Colours stand in attributes, so that a picture taken out of the page keeps them; a page may override them by class.
"""

import colorsys
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from matplotlib.ticker import LogLocator, MaxNLocator

from degrade.figures import style
from degrade.figures.panels import Line, Panel
from degrade.figures.style import Mark
from degrade.spec.escape import controls

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 46  # space around the axes
_MARKERS = 6  # on a line, about
_MARGIN = 0.015  # part of an axis added beyond its limits, as in draw.py
_SIZE = 4.0  # half of a marker
_DASHES = {"solid": "", "dashed": "6 3", "dotted": "2 2", "dash-dotted": "8 2.5 2 2.5"}
_SHAPES = {  # marker of matplotlib -> path around 0, 0 of half-width 1
    "o": "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0",
    "s": "M-.9-.9H.9V.9H-.9z",
    "D": "M0-1.2L1.2 0 0 1.2-1.2 0z",
    "^": "M0-1.1L1.1.9H-1.1z",
    "v": "M0 1.1L1.1-.9H-1.1z",
    "<": "M-1.1 0L.9 1.1V-1.1z",
    ">": "M1.1 0L-.9 1.1V-1.1z",
    "P": "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4z",
    "X": "M-1.1-.7L-.7-1.1 0-.4.7-1.1 1.1-.7.4 0 1.1.7.7 1.1 0 .4-.7 1.1-1.1.7-.4 0z",
    "*": "M0-1.3L.38-.4 1.24-.4.55.16.8 1.05 0 .5-.8 1.05-.55.16-1.24-.4-.38-.4z",
}
_Place = Callable[[float], float]


class Scale(NamedTuple):
    """One axis: its limits in units of the data, whether it is logarithmic, and its ticks."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def place(self, start: float, end: float) -> _Place:
        """From units of the data to places between `start` and `end`. NaN for what a logarithm does not have."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)

        def at(value: float) -> float:
            if self.log:
                value = math.log10(value) if value > 0 else math.nan
            return start + (value - low) / (high - low or 1.0) * (end - start)

        return at


def scales(panel: Panel) -> tuple[Scale, Scale]:
    """The axes of a panel, x and y."""
    (left, right), (low, high) = panel.xlim, panel.ylim
    if panel.xticks:
        x = Scale(left, right, True, panel.xticks)
    else:
        ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(left, right)
        x = Scale(left, right + _MARGIN * (right - left), False, _within(ticks, left, right))
    if panel.scale == "log":
        ticks = LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)).tick_values(low, high)
        return x, Scale(low, high, True, panel.ticks or _within(ticks, low, high))
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return x, Scale(low - _MARGIN * (high - low), high, False, panel.ticks or _within(ticks, low, high))


def _within(ticks: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    slack = 1e-9 * abs(high - low)
    return tuple(float(tick) for tick in ticks if low - slack <= tick <= high + slack)


def marks_of(panels: Sequence[Panel]) -> dict[str, Mark]:
    """Colour and marker of each key of a figure."""
    return style.marks(line.key for panel in panels for line in panel.lines)


def darken(colour: str) -> str:
    """The same hue on a dark page: light enough to be seen there."""
    red, green, blue = (part / 255 for part in bytes.fromhex(colour[1:]))
    hue, light, full = colorsys.rgb_to_hls(red, green, blue)
    return "#" + bytes(round(255 * part) for part in colorsys.hls_to_rgb(hue, max(light, 0.64), full)).hex()


def name_colour(colour: str) -> str:
    """The class of everything that has a colour."""
    return f"c{colour[1:]}"


def render(panel: Panel, marks: Mapping[str, Mark], name: str) -> str:
    """An svg element. `name` must be unique in a page: it names the part that lines are cut to.

    Groups of class `line` hold one line each, in the order of panel.lines, with its band, path and markers.
    """
    x, y = scales(panel)
    to_x, to_y = x.place(LEFT, WIDTH - RIGHT), y.place(HEIGHT - BOTTOM, TOP)
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    shapes = {_shape_of(line, marks[line.key]) for line in panel.lines if _is_marked(line)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui,sans-serif" '
        'font-size="12" fill="currentColor" aria-hidden="true">',
        f'<defs><clipPath id="{name}"><rect {box}/></clipPath>',
        *(
            f'<path id="{name}{number}" d="{_SHAPES[shape]}" transform="scale({size:g})" stroke="none"/>'
            for number, (shape, size) in enumerate(sorted(shapes))
        ),
        "</defs>",
        f'<g class="axes">{"".join(_axes(panel, x, y, to_x, to_y))}</g>',
        f'<g class="lines" clip-path="url(#{name})" fill="none">',
    ]
    named = {shape: f"{name}{number}" for number, shape in enumerate(sorted(shapes))}
    for turn, line in enumerate(panel.lines):
        mark = marks[line.key]
        use = named.get(_shape_of(line, mark), "") if _is_marked(line) else ""
        parts.append(
            f'<g class="line {name_colour(mark.colour)}" stroke="{mark.colour}" fill="{mark.colour}">'
            f"{_line(line, use, turn, to_x, to_y)}</g>"
        )
    return "".join([*parts, "</g></svg>"])


def _axes(panel: Panel, x: Scale, y: Scale, to_x: _Place, to_y: _Place) -> Iterator[str]:
    """Lines across, ticks, their numbers, and what the axes are."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in panel.grid:
        at = short(to_y(value))
        yield f'<path d="M{LEFT} {at}H{right}" stroke="currentColor" stroke-opacity=".2" stroke-dasharray="4 3"/>'
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor"/>'
    for value in x.ticks:
        at = short(to_x(value))
        yield f'<path d="M{at} {bottom}v4" stroke="currentColor"/>'
        yield f'<text x="{at}" y="{bottom + 17}" text-anchor="middle">{value:,.10g}</text>'
    for value in y.ticks:
        at = short(to_y(value))
        yield f'<path d="M{LEFT} {at}h-4" stroke="currentColor"/>'
        yield f'<text x="{LEFT - 7}" y="{at}" dy=".35em" text-anchor="end">{show_tick(value, log=y.log)}</text>'
    middle = (LEFT + right) / 2
    yield f'<text x="{middle:g}" y="{HEIGHT - 8}" text-anchor="middle">{escape(controls(panel.xlabel))}</text>'
    across = (TOP + bottom) / 2
    label = escape(controls(panel.ylabel))
    yield f'<text transform="translate(13 {across:g})rotate(-90)" text-anchor="middle">{label}</text>'


def show_tick(value: float, *, log: bool) -> str:
    """A number at an axis. Logarithmic axes write powers of ten one way, 1e-4 and 1e-5."""
    if log and value > 0 and not 0.01 <= value < 100_000:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{value:g}"


def _is_marked(line: Line) -> bool:
    """Whether markers stand on a line, as in draw.py."""
    return bool(line.label) or len(line.x) == 1


def _shape_of(line: Line, mark: Mark) -> tuple[str, float]:
    """Marker and half of its size."""
    return mark.marker, _SIZE if line.weight == "bold" else 0.7 * _SIZE


def _line(line: Line, use: str, turn: int, to_x: _Place, to_y: _Place) -> str:
    """The band, the line and its markers, which are those of the name `use`; without one there are none."""
    xs, ys = [to_x(value) for value in line.x], [to_y(value) for value in line.y]
    dash = f' stroke-dasharray="{_DASHES[line.dash]}"' if _DASHES[line.dash] else ""
    parts: list[str] = []
    if (line.high > line.low).any():
        up = path(xs, [to_y(value) for value in line.high])
        down = path(xs[::-1], [to_y(value) for value in line.low[::-1]])
        parts.append(f'<path class="band" d="{up}L{down[1:]}z" stroke="none" fill-opacity=".15"/>')
    width = f"{style.WEIGHT[line.weight]:g}"
    parts.append(f'<path class="curve" d="{path(xs, ys)}" fill="none" stroke-width="{width}"{dash}/>')
    step = max(1, len(line.x) // _MARKERS)
    for at in range(turn % step, len(line.x) if use else 0, step):
        if math.isfinite(xs[at]) and math.isfinite(ys[at]):
            parts.append(f'<use href="#{use}" x="{short(xs[at])}" y="{short(ys[at])}"/>')
    return "".join(parts)


def swatch(line: Line, mark: Mark) -> str:
    """A line with its marker, for a legend."""
    dash = f' stroke-dasharray="{_DASHES[line.dash]}"' if _DASHES[line.dash] else ""
    colour = mark.colour
    return (
        f'<svg class="swatch {name_colour(colour)}" viewBox="0 0 28 12" stroke="{colour}" fill="{colour}" '
        f'aria-hidden="true"><path d="M1 6H27" fill="none" stroke-width="{style.WEIGHT[line.weight]:g}"{dash}/>'
        f'<path d="{_SHAPES[mark.marker]}" transform="translate(14 6)scale(4)" stroke="none"/></svg>'
    )


def path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """The d of a path. It breaks where a place is not finite."""
    found, move = list[str](), "M"
    for x, y in zip(xs, ys, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            move = "M"
            continue
        found.append(f"{move}{short(x)} {short(y)}")
        move = "L"
    return "".join(found) or "M0 0"


def short(value: float) -> str:
    """A place to a tenth, without zeros at its end."""
    return f"{min(max(value, -9999.0), 9999.0):.1f}".removesuffix(".0")
