import re

import pandas as pd
import pytest
from conftest import tiny

from degrade.errors import RunError, SpecError
from degrade.figures import FIGURES, draw, save, style
from degrade.figures.lines import fig6


def curves(*, net=("plain", "residual"), shortcuts=("A",), depths=(8, 20), seeds=(0,), worst=10.0, **changes):
    rows = []
    for kind in net:
        for shortcut in shortcuts if kind == "residual" else ("none",):
            for depth in depths:
                for seed in seeds:
                    option = "A" if shortcut == "none" else shortcut
                    labels = tiny(
                        **{"width": 16, **changes}, net=kind, shortcut=option, depth=depth, seed=seed
                    ).labels()
                    for i, error in ((5, 50.0), (10, worst * depth / 20 + seed)):
                        for split, extra in (("train", 0.0), ("train_clean", -0.5), ("test", 1.0)):
                            rows.append(
                                {**labels, "iteration": i, "epoch": i / 4, "split": split, "error": error + extra}
                            )
    return pd.DataFrame(rows)


def test_fig6_has_a_panel_for_each_net_and_option_plain_first():
    panels = fig6(curves(shortcuts=("B", "A")))
    assert [panel.title for panel in panels] == ["plain", "residual-A", "residual-B"]
    assert [panel.xlabel for panel in panels] == ["iterations"] * 3


def test_fig6_draws_training_dashed_and_test_bold():
    plain = fig6(curves())[0]
    assert [(line.depth, line.dashed, line.bold) for line in plain.lines] == [
        (8, True, False),
        (8, False, True),
        (20, True, False),
        (20, False, True),
    ]
    train, test = plain.lines[2:]
    assert (train.x.tolist(), train.y.tolist()) == ([5, 10], [50, 10])
    assert test.y.tolist() == [51, 11]
    assert [line.label for line in plain.lines] == ["", "plain-8", "", "plain-20"]


def test_fig6_shows_seeds_as_mean_and_band():
    line = fig6(curves(seeds=(0, 1, 2)))[1].lines[1]
    assert line.label == "residual-A-8, 3 seeds"
    assert (line.low.tolist(), line.y.tolist(), line.high.tolist()) == ([51, 5], [51, 6], [51, 7])


def test_fig6_tells_widths_apart():
    both = pd.concat([curves(net=("plain",), depths=(8,)), curves(net=("plain",), depths=(8,), width=4)])
    assert {line.label for line in fig6(both)[0].lines if line.label} == {"plain-8", "plain-8 w4"}


@pytest.mark.parametrize(("worst", "top"), [(10.0, 20.0), (70.0, 100.0)])
def test_the_axis_is_cut_as_in_the_paper_unless_that_hides_a_net(worst, top):
    assert {panel.top for panel in fig6(curves(worst=worst))} == {top}


def test_runs_without_a_point_are_named():
    with pytest.raises(RunError, match="no measured point"):
        fig6(curves().iloc[:0])


def test_depths_have_the_papers_colours_and_never_share_one():
    colours = style.colours([8, 14, 20, 26, 32, 38, 44, 56, 110])
    assert colours[20] == style.DEPTHS[20]
    assert len(set(colours.values())) == 9


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_as_its_panels_say(name):
    frame = curves(seeds=(0, 1))
    panels = FIGURES[name](frame)
    figure = draw(panels, "a title")
    assert len(figure.axes) == len(panels)
    for axes, panel in zip(figure.axes, panels, strict=True):
        drawn = [line for line in axes.lines if len(line.get_xdata()) == len(panel.lines[0].x)]
        assert axes.get_title() == panel.title
        assert axes.get_ylim() == (0, panel.top)
        for line in panel.lines:
            assert any((one.get_ydata() == line.y).all() for one in drawn if len(one.get_ydata()) == len(line.y))


def test_a_figure_is_saved_in_three_formats_with_its_runs_and_the_same_bytes_again(tmp_path):
    frame = curves()
    first = {path.name: path.read_bytes() for path in save(frame, None, tmp_path)}
    again = {path.name: path.read_bytes() for path in save(frame, ["fig6"], tmp_path)}
    assert set(first) == {"fig6.png", "fig6.svg", "fig6.pdf"}
    assert first == again
    assert all(run.encode() in first["fig6.svg"] for run in frame.run.unique())


def test_protocols_are_never_mixed(tmp_path):
    both = pd.concat([curves(), curves(recipe={"lr": 0.1})])
    folders = {path.parent.name for path in save(both, None, tmp_path)}
    assert folders == set(both.protocol)
    assert len(folders) == 2


def test_nothing_to_draw_and_unknown_figures_are_one_line(tmp_path):
    with pytest.raises(RunError, match="no run there has a point yet"):
        list(save(curves().iloc[:0], None, tmp_path / "figures"))
    with pytest.raises(SpecError, match=re.escape("--figure=fig9: unknown; did you mean 'fig6'?")):
        list(save(curves(), ["fig9"], tmp_path))
    assert list(tmp_path.iterdir()) == []
