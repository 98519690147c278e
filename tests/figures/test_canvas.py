"""Figures for papers and slides: their width, their type, their title and their style, as the files have them."""

import re
import zlib

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from places import ROOT
from plotted import CURVES, panels, save, sweep, whole
from typer.testing import CliRunner

from degrade import cli, figures
from degrade.errors import SpecError
from degrade.figures import FIGURES, Canvas, draw, marks, style
from degrade.figures.frames import collect
from degrade.store.results import load

STORED = ROOT / "results" / "quickstart3"
LEAST = 6.0  # points


def read_pdf(content):
    """(width, height, sizes of all type) of a page, in points: text is set by `/F1 6.5 Tf`, at scale 1."""
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    pages = []
    for stream in streams:
        try:
            pages.append(zlib.decompress(stream))
        except zlib.error:
            continue
    drawn = b"\n".join(page for page in pages if b" Tf" in page)
    for matrix in re.findall(rb"((?:-?[\d.]+ ){6})Tm", drawn):  # upright, or turned: never shrunk
        a, b, c, d, *_ = map(float, matrix.split())
        assert abs(a * d - b * c) == pytest.approx(1)
    assert not re.search(rb"(?<![\d.])0?\.\d+ 0 0 0?\.\d+ -?[\d.]+ -?[\d.]+ cm", drawn)
    return *map(float, box), [float(size) for size in re.findall(rb"/\S+ ([\d.]+) Tf", drawn)]


@pytest.fixture(scope="module")
def stored():
    return collect(load(STORED))


FEW = ["fig6", "ladder"]
SHOWN = ("fig1", "fig6", "fig7", "blocks", "constructed", "ladder", "reached", "difference")


@pytest.mark.parametrize(
    ("width", "inches", "names"), [("column", 3.3, None), ("text", 6.9, FEW), ("slide", 12.0, FEW), ("2.6", 2.6, FEW)]
)
def test_type_is_at_least_six_points_in_the_pdf_at_every_width(width, inches, names, stored, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("pdf",))
    drawn = list(figures.save(stored, names, tmp_path, canvas=Canvas(width=width)))
    known = names or ["fig1", "fig4", "fig6", "fig7", "blocks", "constructed", "ladder", "reached", "difference"]
    assert [one.figure for one in drawn] == known
    assert not any(one.failed for one in drawn)
    for one in drawn:
        wide, _, sizes = read_pdf(one.files[0].read_bytes())
        assert wide == pytest.approx(72 * inches, abs=0.1), one.figure
        assert len(sizes) > 10
        assert min(sizes) >= LEAST, one.figure
        assert width != "slide" or min(sizes) >= 12


def test_without_a_width_a_panel_is_as_wide_as_ever(tmp_path):
    (drawn,) = save(sweep(), ["fig6"], tmp_path)
    assert read_pdf(drawn.files[2].read_bytes())[0] == pytest.approx(72 * (0.8 + 2 * 4.2))


@pytest.mark.parametrize(("name", "width"), [*((name, "column") for name in SHOWN), ("fig6", "text"), ("fig6", "")])
def test_nothing_is_drawn_beyond_the_page(name, width, stored):
    """Titles of panels ran into one another, and out of the figure."""
    shown, canvas = figures.picture(name, stored[FIGURES[name].table]), Canvas(width=width)
    with style.settings(canvas):
        figure = draw(shown.panels, shown.title, shown.across, canvas)
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        titles = [axes.title.get_window_extent(renderer) for axes in figure.axes]
        legends = [axes.get_legend().get_window_extent(renderer) for axes in figure.axes if axes.get_legend()]
        inside = figure.bbox.padded(2)
        for box in (*titles, *legends):
            assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        for number, one in enumerate(titles):
            assert not any(one.overlaps(other) for other in titles[number + 1 :])


def test_the_title_can_be_left_out_and_the_notes_stay(tmp_path):
    (drawn,) = save(sweep(), ["fig6"], tmp_path, canvas=Canvas(title=False))
    svg = drawn.files[1].read_text()
    assert ">digits;" not in svg
    assert "hollow: training" in svg


def test_the_dark_style_is_light_on_dark():
    made = panels("fig6")
    with style.settings(Canvas(style="dark")):
        figure = draw(made, "title", canvas=Canvas(style="dark"))
        figure.draw_without_rendering()
    colours = style.STYLES["dark"]
    axes = figure.axes[0]
    assert style.STYLES["paper"].paper != colours.paper
    assert np.array_equal(figure.get_facecolor(), axes.get_facecolor())
    assert axes.lines[len(made[0].grid)].get_color() == colours.lines[marks.assign(made)[0].lines[0].colour]
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title, axes.xaxis.label]
    assert {text.get_color() for text in labels} == {colours.ink}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"width": "wide"}, "--width=wide: must be column, text, slide, or inches from 2 to 40, as in 3.3"),
        ({"width": "0"}, "--width=0: must be column"),
        ({"width": "nan"}, "--width=nan: must be"),
        ({"width": "1e9"}, "--width=1e9: must be"),
        ({"style": "neon"}, "--style='?neon"),
    ],
)
def test_a_canvas_that_cannot_be_is_refused(words, said):
    with pytest.raises(SpecError, match=f"^{said}"):
        Canvas(**words)


def test_the_command_takes_width_title_and_style(tmp_path):
    words = ["plot", str(STORED), "--figure", "fig1", "--out", str(tmp_path), "--width", "column", "--no-title"]
    done = CliRunner().invoke(cli.app, [*words, "--style", "dark"])
    assert done.exit_code == 0, done.output
    (pdf,), (svg,) = tmp_path.glob("*/fig1.pdf"), tmp_path.glob("*/fig1.svg")
    assert read_pdf(pdf.read_bytes())[0] == pytest.approx(72 * 3.3, abs=0.1)
    assert style.STYLES["dark"].paper in svg.read_text()
    assert ">digits;" not in svg.read_text()


@pytest.mark.parametrize("name", CURVES)
def test_the_same_panels_are_drawn_at_every_width(name):
    made = panels(name, whole())
    for width in ("column", "text", "slide"):
        drawn = draw(made, canvas=Canvas(width=width)).axes
        assert [
            [line.get_ydata().tolist() for line in axes.lines[len(panel.grid) :]]
            for axes, panel in zip(drawn, made, strict=True)
        ] == [[line.y.tolist() for line in panel.lines] for panel in made]
