"""The panels of every figure: their claims one by one, and all of it against tests/golden/.

After a change that is meant, `python tests/figures/test_figures.py` writes the golden files anew; read their diff.
"""

import json
import re
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from places import GOLDEN
from plotted import CURVES, SCHEDULE, labels, panels, run, sweep, whole

from degrade.errors import SpecError
from degrade.figures import FIGURES, NothingToDraw, View, marks
from degrade.figures.panels import OWN_AXES


def golden(name):
    """The panels of a figure and the look of its keys, as JSON has them."""
    made = [asdict(panel) for panel in FIGURES[name].make(whole(), View())]
    keys = {line["key"] for panel in made for line in panel["lines"]}
    tree = {"panels": made, "marks": {key: mark._asdict() for key, mark in marks.marks(keys).items()}}
    return json.loads(json.dumps(tree, default=lambda array: np.round(array, 9).tolist()))


@pytest.mark.parametrize("name", CURVES)
def test_the_panels_are_the_golden_ones(name):
    assert golden(name) == json.loads((GOLDEN / f"{name}.json").read_text())


def test_fig1_is_the_shallowest_and_the_deepest_plain_net_training_left_test_right():
    train, test = panels("fig1", sweep(depths=(8, 20, 32)))
    assert (train.title, test.title) == ("training error", "test error")
    assert labels(train) == labels(test) == ["plain-8", "plain-32"]
    assert (train.lines[0].y + 2).tolist() == test.lines[0].y.tolist()


def test_fig4_draws_training_thin_and_test_bold_all_of_it_solid():
    plain, residual = panels("fig4")
    assert [(line.key, line.weight, line.dash) for line in plain.lines] == [
        ("8", "thin", "solid"),
        ("8", "bold", "solid"),
        ("20", "thin", "solid"),
        ("20", "bold", "solid"),
    ]
    assert labels(residual) == ["residual-A-8", "residual-A-20"]
    assert plain.notes == ("thin, hollow: training", "bold: test")


def test_fig6_has_a_panel_for_each_net_and_option_plain_first():
    made = panels("fig6", sweep("BA"))
    assert [panel.title for panel in made] == ["plain", "residual-A", "residual-B"]
    assert {panel.xlabel for panel in made} == {"iterations"}


def test_fig6_draws_training_dashed_and_test_bold():
    plain = panels("fig6")[0]
    looks = [("8", "dashed", "thin"), ("8", "solid", "bold"), ("20", "dashed", "thin"), ("20", "solid", "bold")]
    assert [(line.key, line.dash, line.weight) for line in plain.lines] == looks
    train, test = plain.lines[2:]
    assert (train.x.tolist()[0], train.y.tolist()[0], test.y.tolist()[0]) == (20, 50, 52)
    assert [line.label for line in plain.lines] == ["", "plain-8", "", "plain-20"]


def test_fig6_ends_with_the_two_deepest_residual_nets_at_the_end_of_training():
    *_, deepest = panels("fig6", sweep("AB", (8, 20, 32, 44)))
    assert deepest.title == "residual-A, the deepest: end of training"
    assert deepest.xlim == (62.5, 100)
    assert (deepest.ylim, deepest.ticks) == ((0, 20), (0, 5, 10, 20))
    assert labels(deepest) == ["residual-A-32", "residual-A-44"]
    assert deepest.lines[0].x.tolist() == [60, 80, 100]  # one point leads in


def test_the_last_panel_of_fig6_is_as_high_as_its_lines_need():
    """It was 85 % empty where nets end below 3 %."""
    curves = sweep("A", (8, 20, 32))
    *others, deepest = panels("fig6", curves.assign(error=curves.error / 10))
    assert {panel.ylim for panel in others} == {(0, 20)}
    assert deepest.ylim == (0, 2)  # 1.825 % is the greatest error there
    assert panels("fig6", curves.assign(error=curves.error / 10), top=20)[-1].ylim == (0, 20)


@pytest.mark.parametrize("curves", [sweep(depths=(8, 20)), sweep(depths=(8, 20, 32), upto=60)])
def test_fig6_has_no_last_panel_without_three_depths_or_the_end_of_training(curves):
    assert [panel.title for panel in panels("fig6", curves)] == ["plain", "residual-A"]


def test_in_seconds_the_last_panel_has_the_fast_net_too():
    *_, deepest = panels("fig6", sweep("A", (8, 20, 56)), x="seconds")
    assert labels(deepest) == ["residual-A-20", "residual-A-56"]


def test_options_compares_them_at_the_deepest_depth_that_has_two():
    curves = pd.concat([sweep("ABC", (8, 20)), sweep("A", (32,))])
    train, test = panels("options", curves)
    assert labels(train) == ["plain-20", "residual-A-20", "residual-B-20", "residual-C-20"]
    assert [line.key for line in test.lines] == ["plain", "A", "B", "C"]
    assert [line.dash for line in test.lines] == ["dashed", "solid", "solid", "solid"]


@pytest.mark.parametrize(
    ("name", "curves", "why"),
    [
        ("fig1", sweep(net=("residual",)), "no plain net has a measured point"),
        ("fig1", sweep(depths=(8,)), "needs plain nets of two depths, but only depth 8 is there"),
        ("options", sweep("A"), "two shortcut options"),
        *((name, sweep().iloc[:0], "has a measured point|two depths") for name in CURVES),
    ],
)
def test_a_figure_that_the_runs_do_not_allow_says_why(name, curves, why):
    with pytest.raises(NothingToDraw, match=f"^{name}: .*({why})"):
        panels(name, curves)


def test_seeds_are_a_mean_and_a_band_from_the_least_to_the_greatest():
    line = panels("fig6", sweep(seeds=(0, 1, 2)))[1].lines[1]
    assert line.label == "residual-A-8, 3 seeds"
    assert (line.low[-1], line.y[-1], line.high[-1]) == (7, 8, 9)
    assert line.runs == tuple(f"residual-A-8-w16-x-1-s{seed}" for seed in (0, 1, 2))


def test_bands_of_training_and_test_are_told_apart_and_explained():
    alone, several = panels("fig6")[0], panels("fig6", sweep(seeds=(0, 1)))[0]
    assert not any("band" in note for note in alone.notes)
    assert several.notes[-1] == "band: least to greatest seed (training: its outline)"
    assert panels("fig1", sweep(seeds=(0, 1)))[1].notes == ("band: least to greatest seed",)


def test_a_line_says_what_it_shows():
    train, test = panels("fig6", sweep(seeds=(0, 2)))[1].lines[:2]
    assert (train.net, train.depth, train.seeds, train.split) == ("residual-A", 8, (0, 2), "train")
    assert (test.split, test.training, train.training) == ("test", False, True)


def test_a_run_under_way_is_drawn_to_where_it_is():
    (plain,) = panels("fig6", run(upto=40))
    assert labels(plain) == ["plain-8 (to 40)"]
    assert plain.lines[0].x.tolist() == [20, 40]
    assert plain.xlim == (0, SCHEDULE)
    assert labels(panels("fig6", run(upto=40), x="epochs")[0]) == ["plain-8 (to 4.0 epochs)"]
    assert labels(panels("fig6", run(upto=40), x="seconds")[0]) == ["plain-8 (to 32 s)"]
    assert labels(panels("fig6", run(upto=40, state="diverged"))[0]) == ["plain-8 (diverged at 40)"]


@pytest.mark.parametrize(("state", "mark"), [("running", "(to 40)"), ("diverged", "(to 40; 1 diverged)")])
def test_a_seed_ahead_of_the_others_goes_on_alone(state, mark):
    (plain,) = panels("fig6", pd.concat([run(seed=0), run(seed=1, upto=40, state=state)]))
    mean, alone = (line for line in plain.lines if line.weight == "bold")
    assert mean.label == f"plain-8, 2 seeds {mark}"
    assert (mean.x.tolist(), alone.x.tolist()) == ([20, 40], [40, 60, 80, 100])
    assert (alone.dash, alone.label, alone.runs) == ("dotted", "", ("plain-none-8-w16-x-1-s0",))
    assert "dotted: a seed ahead of the others" in plain.notes


@pytest.mark.parametrize(("end", "top"), [(17.9, 20.0), (18.1, 100.0)])
def test_the_axis_is_cut_as_in_the_paper_unless_that_hides_where_a_net_ends(end, top):
    curves = pd.concat([sweep(), run(depth=32, end=end)])  # its test error is 2 % above
    plain, residual = panels("fig6", curves)
    assert (plain.ylim, residual.ylim) == (
        (0, top),
        (0, 20),
    )  # a net that fails changes the axis of its own panel alone
    assert {panel.ylim for panel in panels("fig1", curves)} == {(0, top)}  # training beside test has one axis


def test_panels_say_when_each_has_its_own_axis():
    for name in ("fig4", "fig6"):
        apart, alike = panels(name, pd.concat([sweep(), run(depth=32, end=60)])), panels(name)
        assert all(OWN_AXES in panel.notes for panel in apart)
        assert not any(OWN_AXES in panel.notes for panel in alike)
    assert not any(OWN_AXES in panel.notes for panel in panels("fig6", run(end=60), top=30))


def test_a_seed_that_has_just_begun_does_not_open_the_axis():
    assert panels("fig6", pd.concat([sweep(), run(seed=1, upto=20)]))[0].ylim == (0, 20)


@pytest.mark.parametrize(
    ("top", "ticks"),
    [(30, (0, 5, 10, 20, 30)), (20, (0, 5, 10, 20)), (5, (0, 1, 2, 5)), (100, (0, 5, 10, 20, 40, 60, 80, 100))],
)
def test_the_axis_ends_where_it_is_told_to(top, ticks):
    for name in ("fig1", "fig4", "fig6"):
        for panel in panels(name, top=top):
            assert (panel.ylim, panel.ticks) == ((0, top), ticks)


def test_the_clean_training_error_and_other_x_are_drawn_when_asked_for():
    train, _ = panels("fig1", train="clean", x="epochs")
    assert (train.title, train.xlabel, train.xlim) == ("clean training error", "epochs", (0, 10))
    assert (train.lines[0].x.tolist(), train.lines[0].y[0]) == ([2, 4, 6, 8, 10], 49.5)
    assert panels("fig6", train="clean")[0].notes == ("dashed, hollow: clean training", "bold: test")
    seconds = panels("fig6", sweep(seeds=(0, 2)), x="seconds")[0]
    assert (seconds.xlabel, seconds.lines[0].x[0]) == ("wall time (s)", 17)  # mean of 16 and 18


@pytest.mark.parametrize("wrong", [{"train": "dirty"}, {"x": "days"}, {"top": 0.0}, {"top": 101.0}])
def test_a_view_that_cannot_be_is_refused(wrong):
    (key,) = wrong
    with pytest.raises(SpecError, match=f"^--{key}="):
        View(**wrong)


def test_lines_of_one_name_are_told_apart():
    widths = pd.concat([run(), run(width=4)])
    assert set(labels(panels("fig6", widths)[0])) == {"plain-8", "plain-8 w4"}
    protocols = pd.concat([run(), run(protocol="x-2")])
    assert labels(panels("fig6", protocols)[0]) == ["plain-8 1", "plain-8 2"]
    groups = pd.concat([run(), run().assign(group="plain-8-ab12", run="other")])
    assert set(labels(panels("fig6", groups)[0])) == {"plain-8 1", "plain-8 ab12"}


def test_a_depth_has_one_colour_and_one_marker_in_all_figures():
    depths = [str(depth) for depth in range(8, 62, 6)] + ["110"]
    together = marks.marks(depths)
    assert len({mark.colour for mark in together.values()}) == len(together) == 10
    assert len({mark.marker for mark in together.values()}) == 10
    for few in combinations(depths, 3):
        assert marks.marks(few) == {key: together[key] for key in few}
    for key in ("56 w4", "56 constructed-20", "56 3f2a"):
        assert marks.marks(["8", "20", key])[key] == together["56"]


def test_lines_of_one_depth_in_one_figure_have_markers_of_their_own():
    found = marks.marks(["56", "56 w4", "56 constructed-20", "20"])
    of_56 = [mark for key, mark in found.items() if key != "20"]
    assert len({mark.colour for mark in of_56}) == 1
    assert len({mark.marker for mark in of_56}) == 3


def test_no_two_keys_share_colour_and_marker_in_whatever_order_they_come():
    keys = [str(depth) for depth in range(8, 8 + 6 * 30, 6)]
    found = marks.marks(keys)
    assert len(set(found.values())) == len(found) == 30
    assert marks.marks(reversed(keys)) == found
    assert list(marks.marks(["C", "110", "8", "20 w4", "A"])) == ["8", "20 w4", "110", "A", "C"]
    alone, beside_56, beside_20 = (marks.marks(["62", *others])["62"] for others in ([], ["56"], ["20"]))
    assert alone == beside_56 != beside_20 != marks.marks(["20"])["20"]  # the place of 62 is not fixed


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in CURVES:
        text = json.dumps(golden(each), indent=1)
        flat = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list is one line
        (GOLDEN / f"{each}.json").write_text(flat + "\n")
