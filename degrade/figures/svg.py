"""Panels as SVG inside an HTML page: the panels that draw.py gives to matplotlib, in the same colours and markers.

Colours stand in attributes, so that a picture taken out of the page keeps them; a page may override them by class.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from degrade.figures import style, ticks
from degrade.figures.panels import Line, Panel
from degrade.spec.escape import controls

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 46  # space around the axes
_MARKERS = 6  # on a line, about
_MARGIN = 0.015  # part of an axis added beyond its limits, as in draw.py
_APART = 4.0  # between lines with bars
_DASHES = {"solid": "", "dashed": "6 3", "dotted": "2 2", "dash-dotted": "8 2.5 2 2.5"}
_SHAPES = {  # marker -> path around 0, 0 of half-width 1
    "circle": "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "square": "M-.9-.9H.9V.9H-.9z",
    "diamond": "M0-1.2L1.2 0 0 1.2-1.2 0z",
    "triangle": "M0-1.1L1.1.9H-1.1z",
    "wedge": "M0 1.1L1.1-.9H-1.1z",
    "left": "M-1.1 0L.9 1.1V-1.1z",
    "right": "M1.1 0L-.9 1.1V-1.1z",
    "plus": "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4z",
    "cross": "M-1.1-.7L-.7-1.1 0-.4.7-1.1 1.1-.7.4 0 1.1.7.7 1.1 0 .4-.7 1.1-1.1.7-.4 0z",
    "star": "M0-1.3L.38-.4 1.24-.4.55.16.8 1.05 0 .5-.8 1.05-.55.16-1.24-.4-.38-.4z",
    "pentagon": "M0-1.2L1.14-.37.7.97H-.7L-1.14-.37z",
    "hexagon": "M0-1.2L1.04-.6V.6L0 1.2-1.04.6V-.6z",
    "octagon": "M-.45-1.1H.45L1.1-.45V.45L.45 1.1H-.45L-1.1.45V-.45z",
    "kite": "M0-1.3L.75 0 0 1.3-.75 0z",
    "gem": "M-.6-1.1H.6L1.2 0 .6 1.1H-.6L-1.2 0z",
    "above": "M0-1.3L1.1.7H-1.1z",  # never came down to it: the value lies above
    "below": "M0 1.3L1.1-.7H-1.1z",  # below the resolution
}
_BEYOND = {1: "above", -1: "below"}
_PAPER = style.STYLES["paper"]
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

    @property
    def labels(self) -> list[str]:
        return ticks.write(self.ticks, "log" if self.log else "linear")


def scales(panel: Panel) -> tuple[Scale, Scale]:
    """The axes of a panel, x and y."""
    (left, right), (low, high) = panel.xlim, panel.ylim
    xlog, ylog = panel.xscale == "log", panel.scale == "log"
    x = Scale(
        left,
        right + (0 if xlog else _MARGIN * (right - left)),
        xlog,
        panel.xticks or ticks.choose(left, right, panel.xscale, 6),
    )
    own = panel.ticks or ticks.choose(low, high, panel.scale)
    apart = 15 / (HEIGHT - TOP - BOTTOM)
    shown = ticks.thin(own, panel.ylim, panel.scale, apart)
    return x, Scale(low - (0 if ylog else _MARGIN * (high - low)), high, ylog, shown)


def name_colour(colour: int) -> str:
    """The class of everything in one of style's colours."""
    return f"k{colour}"


def dark(colour: int) -> str:
    """The same colour on a dark page."""
    return style.STYLES["dark"].lines[colour]


def marked(line: Line, turn: int) -> list[int]:
    """The points with a marker, as in draw.py. Each line begins at another point, so that markers do not overlap."""
    step = 1 if line.spread == "bars" else max(1, len(line.x) // _MARKERS)
    return [at for at in range(turn % step, len(line.x), step) if not line.beyond or line.beyond[at] == 0]


def aside(line: Line, turn: int, lines: int) -> float:
    """How far a line with bars stands beside the middle."""
    return _APART * (turn - (lines - 1) / 2) if line.spread == "bars" else 0.0


def render(panel: Panel, name: str) -> str:
    """An svg element. `name` must be unique in a page: names of its parts begin with it.

    Groups of class `line` hold one line each, in the order of panel.lines, with its band or bars, path and markers.
    """
    x, y = scales(panel)
    to_x, to_y = x.place(LEFT, WIDTH - RIGHT), y.place(HEIGHT - BOTTOM, TOP)
    box = f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    named = _name_shapes(panel, name)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" fill="currentColor" ',
        'aria-hidden="true">',
        f'<defs><clipPath id="{name}"><rect {box}/></clipPath>',
        *(_define(shape, size, called) for (shape, size), called in named.items()),
        f'</defs><g class="axes">{"".join(_axes(panel, x, y, to_x, to_y))}</g>',
        f'<g class="lines" clip-path="url(#{name})">',
    ]
    for turn, line in enumerate(panel.lines):
        colour = _PAPER.lines[line.colour]
        fill = _PAPER.paper if line.training else colour
        kind = f"line {name_colour(line.colour)}{' hollow' if line.training else ''}"
        shift = aside(line, turn, len(panel.lines))
        move = f' transform="translate({short(shift)})"' if shift else ""
        inside = "".join(_line(line, named, turn, to_x, to_y))
        parts.append(f'<g class="{kind}" stroke="{colour}" fill="{fill}"{move}>{inside}</g>')
    return "".join([*parts, "</g></svg>"])


def _name_shapes(panel: Panel, name: str) -> dict[tuple[str, float], str]:
    """The markers of a panel, and what each is called in its picture."""
    shapes = sorted({shape for line in panel.lines for shape in _shapes_of(line)})
    return {shape: f"{name}{number}" for number, shape in enumerate(shapes)}


def _define(shape: str, size: float, name: str) -> str:
    return f'<path id="{name}" d="{_SHAPES[shape]}" transform="scale({size:g})" stroke-width="{0.9 / size:.2g}"/>'


def _shapes_of(line: Line) -> set[tuple[str, float]]:
    """Markers of a line, with half of their size."""
    size = 4.0 if line.weight == "bold" else 3.0
    return {(line.marker, size), *((_BEYOND[sign], 5.0) for sign in line.beyond if sign)}


def _axes(panel: Panel, x: Scale, y: Scale, to_x: _Place, to_y: _Place) -> Iterator[str]:
    """Lines across, ticks, their numbers, and what the axes are."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    if panel.shade:
        low, high = (min(max(to_y(value), TOP), bottom) for value in panel.shade)
        box = f'x="{LEFT}" y="{short(high)}" width="{right - LEFT}" height="{short(low - high)}"'
        yield f'<rect class="shade" {box} fill-opacity=".1"/>'
    if panel.grid:
        across = "".join(f"M{LEFT} {short(to_y(value))}H{right}" for value in panel.grid)
        yield f'<path d="{across}" stroke="currentColor" stroke-opacity=".2" stroke-dasharray="4 3"/>'
    marks = "".join(f"M{short(to_x(value))} {bottom}v4" for value in x.ticks)
    marks += "".join(f"M{LEFT} {short(to_y(value))}h-4" for value in y.ticks)
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}{marks}" fill="none" stroke="currentColor"/>'
    labels = zip(x.ticks, x.labels, strict=True)
    words = "".join(f'<text x="{short(to_x(value))}" y="{bottom + 17}">{label}</text>' for value, label in labels)
    yield f'<g text-anchor="middle">{words}</g>'
    labels = zip(y.ticks, y.labels, strict=True)
    words = "".join(f'<text x="{LEFT - 7}" y="{short(to_y(value) + 4)}">{label}</text>' for value, label in labels)
    yield f'<g text-anchor="end">{words}</g>'
    middle, across = (LEFT + right) / 2, (TOP + bottom) / 2
    xlabel, ylabel = (escape(controls(text)) for text in (panel.xlabel, panel.ylabel))
    yield f'<text x="{middle:g}" y="{HEIGHT - 8}" text-anchor="middle">{xlabel}</text>'
    yield f'<text transform="translate(13 {across:g})rotate(-90)" text-anchor="middle">{ylabel}</text>'


def _line(line: Line, named: dict[tuple[str, float], str], turn: int, to_x: _Place, to_y: _Place) -> Iterator[str]:
    """The band or the bars, the line and its markers. A point that was never reached has a caret alone."""
    beyond = line.beyond or (0,) * len(line.x)
    xs, ys = [to_x(value) for value in line.x], [to_y(value) for value in line.y]
    lows, highs = [to_y(value) for value in line.low], [to_y(value) for value in line.high]
    if line.banded and line.spread == "bars":
        bars = "".join(
            f"M{short(x)} {short(low)}V{short(high)}"
            for x, low, high in zip(xs, lows, highs, strict=True)
            if low > high
        )
        yield f'<path class="bars" d="{bars}" fill="none" stroke-width="1.2"/>'
    elif line.banded:
        # an outline tells the band of training errors from the filled one of test errors
        look = (
            'fill="none" stroke-width=".6" stroke-dasharray="1 1.5"'
            if line.training
            else 'fill-opacity=".15" stroke="none"'
        )
        yield f'<path class="band" d="{path([*xs, *xs[::-1]], [*highs, *lows[::-1]])}z" {look}/>'
    shown = [math.nan if sign > 0 else y for y, sign in zip(ys, beyond, strict=True)]
    dash = f' stroke-dasharray="{_DASHES[line.dash]}"' if _DASHES[line.dash] else ""
    width = f"{style.WEIGHT[line.weight]:g}"
    yield f'<path class="curve" d="{path(xs, shown)}" fill="none" stroke-width="{width}"{dash}/>'
    use = named[line.marker, 4.0 if line.weight == "bold" else 3.0]
    for at in [*marked(line, turn), *(at for at, sign in enumerate(beyond) if sign)]:
        if math.isfinite(xs[at]) and math.isfinite(ys[at]):
            shape = named[_BEYOND[beyond[at]], 5.0] if beyond[at] else use
            yield f'<use href="#{shape}" x="{short(xs[at])}" y="{short(ys[at])}"/>'


def swatch(line: Line, panel: Panel, name: str) -> str:
    """A line with its marker, for a legend. `name`: of the panel's picture, which has the marker."""
    dash = f' stroke-dasharray="{_DASHES[line.dash]}"' if _DASHES[line.dash] else ""
    colour = _PAPER.lines[line.colour]
    kind = f"swatch {name_colour(line.colour)}{' hollow' if line.training else ''}"
    use = _name_shapes(panel, name)[line.marker, 4.0 if line.weight == "bold" else 3.0]
    return (
        f'<svg class="{kind}" viewBox="0 0 28 12" stroke="{colour}" '
        f'fill="{_PAPER.paper if line.training else colour}" aria-hidden="true">'
        f'<path d="M1 6H27" fill="none" stroke-width="{style.WEIGHT[line.weight]:g}"{dash}/>'
        f'<use href="#{use}" x="14" y="6"/></svg>'
    )


def path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """The d of a path, from each point to the next. It breaks where a place is not finite."""
    found, last = list[str](), None
    for x, y in zip(xs, ys, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            last = None
            continue
        at = tuple(round(10 * min(max(value, -9999.0), 9999.0)) for value in (x, y))
        if last is None:
            found.append(f"M{_tenths(at[0])}{_join(at[1])}")
        else:
            found.append(f"l{_tenths(at[0] - last[0])}{_join(at[1] - last[1])}")
        last = at
    return "".join(found) or "M0 0"


def _tenths(value: int) -> str:
    return f"{value / 10:g}"


def _join(value: int) -> str:
    """A second number, with a space before it where its sign does not tell it from the first."""
    return _tenths(value) if value < 0 else f" {_tenths(value)}"


def short(value: float) -> str:
    """A place to a tenth, without zeros at its end."""
    if not math.isfinite(value):
        return "0"
    return f"{min(max(value, -9999.0), 9999.0):.1f}".removesuffix(".0")
