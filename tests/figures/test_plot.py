"""`degrade.plot` draws what `degrade plot` draws, as a figure in hand."""

import pytest
from matplotlib.figure import Figure
from places import ROOT
from plotted import sweep

import degrade
from degrade.errors import RunError, SpecError
from degrade.figures import FIGURES, View, picture
from degrade.figures.frames import collect
from degrade.store.results import Tables

STORED = ROOT / "results" / "quickstart"


@pytest.fixture(scope="module")
def tables():
    return degrade.load(STORED)


@pytest.mark.parametrize("name", ["fig1", "fig6", "ladder"])
def test_a_figure_shows_the_lines_of_its_panels(name, tables):
    figure = degrade.plot(tables, name)
    assert isinstance(figure, Figure)
    shown = picture(name, collect(tables)[FIGURES[name].table], View()).panels
    drawn = [
        [line.get_xdata().tolist() for line in axes.lines[len(panel.grid) :] if line.get_linestyle() != "None"]
        for axes, panel in zip(figure.axes, shown, strict=True)
    ]
    assert drawn == [[line.x.tolist() for line in panel.lines] for panel in shown]


def test_a_folder_is_as_good_as_its_tables_and_words_choose_runs_and_looks(tables):
    figure = degrade.plot(
        STORED, "fig6", net=["plain"], depth=[8, 20], top=50, width="column", style="dark", title=False
    )
    assert [axes.get_title() for axes in figure.axes] == ["plain"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["plain-8", "plain-20"]
    assert figure.axes[0].get_ylim()[1] == 50
    assert figure.get_figwidth() == 3.3
    assert "digits" not in figure.get_suptitle()
    assert "digits" in degrade.plot(tables, "fig6").get_suptitle()
    assert degrade.plot(tables, "fig6", width=5).get_figwidth() == 5


def test_it_can_be_saved_after_it_was_returned(tables, tmp_path):
    degrade.plot(tables, "fig1", style="dark").savefig(tmp_path / "mine.png")
    assert (tmp_path / "mine.png").stat().st_size > 1000


def test_two_protocols_are_mixed_only_if_told(tables):
    import pandas as pd

    both = pd.concat([sweep(), sweep(protocol="x-2")])
    two = Tables(pd.DataFrame(), both, *3 * [both.iloc[:0]], {})
    with pytest.raises(RunError, match="fig6: the runs have 2 protocols; name one, as in protocol='x-1', or mix=True"):
        degrade.plot(two, "fig6")
    assert "mixes 2 protocols" in degrade.plot(two, "fig6", mix=True).get_suptitle()
    assert len(degrade.plot(two, "fig6", protocol="x-2").axes) == 2
    with pytest.raises(RunError, match="protocol='y'"):
        degrade.plot(two, "fig6", protocol="y")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"figure": "fig66"}, "figure=fig66: unknown; did you mean 'fig6'"),
        ({"width": "wide"}, "--width=wide: must be"),
        ({"net": ["highway"]}, "--net=highway: no run with a point has it"),
    ],
)
def test_a_word_that_cannot_be_is_refused(words, said, tables):
    with pytest.raises(SpecError, match=said):
        degrade.plot(tables, **words)


def test_a_figure_that_the_runs_do_not_allow_says_why(tables):
    with pytest.raises(RunError, match="gates: no responses are measured yet"):
        degrade.plot(tables, "gates")
