"""Lines are told apart with any colour vision and in grey: measured by simulation, not by eye.

Dichromacy is simulated by the matrices of Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB. A
distance is CIE 1976 Delta E; in grey it is the difference of lightness L*.
"""

from itertools import combinations

import numpy as np
import pytest
from places import ROOT
from plotted import CURVES, panels, whole

from degrade.figures import FIGURES, NothingToDraw, View, marks, picture, style
from degrade.figures.frames import collect
from degrade.store.results import load

MACHADO = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 18.0  # least distance of two colours of a family, in each kind of colour vision
APART_IN_GREY = {
    "depth": 5.5,
    "net": 7.0,
    "time": 13.0,
}  # least difference of lightness: ten depths need the whole range
CONTRAST = 3.0  # with the paper: WCAG 2.2, 1.4.11


def linear(colour):
    """#rrggbb -> linear RGB."""
    parts = np.array(list(bytes.fromhex(colour[1:]))) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Linear RGB -> CIE L*a*b* of daylight."""
    ratio = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, kind):
    if kind == "grey":
        return abs(lab(linear(one))[0] - lab(linear(other))[0])
    return float(np.linalg.norm(np.subtract(*(lab(MACHADO[kind] @ linear(each)) for each in (one, other)))))


def luminance(colour):
    return float(XYZ[1] @ linear(colour))


@pytest.mark.parametrize("look", style.STYLES)
@pytest.mark.parametrize("family", marks.FAMILIES)
def test_any_two_colours_of_a_family_are_told_apart(look, family):
    colours = [style.STYLES[look].lines[index] for index in marks.FAMILIES[family]]
    assert len(colours) > 3
    for one, other in combinations(colours, 2):
        for kind in MACHADO:
            assert distance(one, other, kind) >= APART, f"{one} {other} {kind}"
        assert distance(one, other, "grey") >= APART_IN_GREY[family], f"{one} {other} in grey"


@pytest.mark.parametrize("look", style.STYLES)
def test_every_colour_stands_out_from_the_paper(look):
    colours = style.STYLES[look]
    for colour in (*colours.lines, colours.ink, colours.muted):
        dark, light = sorted((luminance(colour), luminance(colours.paper)))
        assert (light + 0.05) / (dark + 0.05) >= (4.5 if colour in (colours.ink, colours.muted) else CONTRAST), colour


def test_the_simulation_knows_what_others_have_published():
    """The grey axis stays grey under every matrix, and red and green draw near one another without the green cones."""
    for matrix in MACHADO.values():
        assert matrix.sum(1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    red, green = "#d62728", "#7f7f00"
    assert distance(red, green, "deuteranopia") < distance(red, green, "normal") / 2


def pictures():
    """Every figure that there are curves for: made ones, and those of three seeds that are stored."""
    for name in CURVES:
        yield name, marks.assign(panels(name, whole()))
    tables = load(ROOT / "results" / "quickstart3")
    for name, rows in ((name, collect(tables)[each.table]) for name, each in FIGURES.items()):
        if len(rows):
            try:
                yield name, picture(name, rows, View()).panels
            except NothingToDraw:
                continue


@pytest.mark.parametrize("look", style.STYLES)
def test_any_two_lines_of_a_figure_are_told_apart_without_colour(look):
    """Two lines of one panel differ in colour as far as above, or in marker, dash or fill."""
    drawn = 0
    for name, made in pictures():
        for panel in made:
            for one, other in combinations([line for line in panel.lines if line.dash != "dotted"], 2):
                drawn += 1
                form = [(line.marker, line.dash, line.weight, line.training) for line in (one, other)]
                assert form[0] != form[1], f"{name}: {one.label!r} {other.label!r}"
                if one.colour != other.colour:
                    ours = [style.STYLES[look].lines[line.colour] for line in (one, other)]
                    assert min(distance(*ours, kind) for kind in MACHADO) >= APART
                    assert distance(*ours, "grey") >= min(APART_IN_GREY.values())
                else:
                    assert (one.depth, one.net) == (other.depth, other.net) or one.depth == other.depth
    assert drawn > 100
