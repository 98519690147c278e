"""The panels of every figure: their claims one by one, and all of it against tests/golden/.

After a change that is meant, `python tests/test_figures.py` writes the golden files anew; read their diff.
"""

import json
import os
import re
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from degrade import cli, figures, store
from degrade.errors import RunError, SpecError
from degrade.figures import FIGURES, FORMATS, NothingToDraw, View, draw, style

GOLDEN = Path(__file__).parent / "golden"
CURVES = ("fig1", "fig4", "fig6", "options")  # of the paper; the others are in files of their own
SCHEDULE = 100  # iterations of every run here


def run(
    net="plain",
    shortcut="none",
    depth=8,
    seed=0,
    *,
    upto=SCHEDULE,
    state="",
    end=5.0,
    width=16,
    protocol="x-1",
    origin="",
):
    """The curve of one run, a point every 20 iterations: training error from 50 % to `end`, test error 2 % above."""
    name = f"{net}-{shortcut}-{depth}-w{width}-{protocol}{origin}"
    labels = {"run": f"{name}-s{seed}", "group": name, "protocol": protocol, "net": net, "shortcut": shortcut}
    labels |= {
        "depth": depth,
        "width": width,
        "seed": seed,
        "data": "digits",
        "recipe": "tiny",
        "precision": "fp32",
        "origin": origin,
    }
    labels |= {"state": state or ("finished" if upto == SCHEDULE else "running"), "iterations": SCHEDULE}
    rows = []
    for i in range(20, upto + 1, 20):
        error = end + (50 - end) * (SCHEDULE - i) / 80 + seed
        for split, extra in (("train", 0.0), ("train_clean", -0.5), ("test", 2.0)):
            at = {"iteration": i, "epoch": i / 10, "seconds": i * depth / 10.0 + seed}
            rows.append({**labels, **at, "split": split, "error": error + extra})
    return pd.DataFrame(rows)


def sweep(shortcuts="A", depths=(8, 20), seeds=(0,), net=("plain", "residual"), **rest):
    kinds = [("plain", "none"), *(("residual", shortcut) for shortcut in shortcuts)]
    runs = [(*kind, depth, seed) for kind in kinds if kind[0] in net for depth in depths for seed in seeds]
    return pd.concat([run(*one, **rest) for one in runs], ignore_index=True)


def whole():
    """Everything at once: options, three depths, two seeds of which some are behind or diverged, a narrow net."""
    parts = [sweep("AB", (8, 20, 32)), sweep("A", (8,), (1,)), run("plain", "none", 32, 1, upto=60, end=30.0)]
    parts += [run("residual", "B", 32, 1, upto=40, state="diverged"), run("residual", "A", 20, width=4)]
    return pd.concat(parts, ignore_index=True)


def save(curves, *words, **options):
    return figures.save({"curves": curves}, *words, **options)


def panels(name, curves=None, **view):
    return FIGURES[name].make(sweep() if curves is None else curves, View(**view))


def labels(panel):
    return [line.label for line in panel.lines if line.label]


def golden(name):
    """The panels of a figure and the look of its keys, as JSON has them."""
    made = [asdict(panel) for panel in FIGURES[name].make(whole(), View())]
    keys = {line["key"] for panel in made for line in panel["lines"]}
    tree = {"panels": made, "marks": {key: mark._asdict() for key, mark in style.marks(keys).items()}}
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
    assert plain.notes == ("thin: training", "bold: test")


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
    assert deepest.ticks == (0, 1, 5, 10, 20)
    assert labels(deepest) == ["residual-A-32", "residual-A-44"]
    assert deepest.lines[0].x.tolist() == [60, 80, 100]  # one point leads in


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
        ("fig1", sweep(depths=(8,)), "needs plain nets of two depths, there is 8 only"),
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
    assert {panel.ylim for panel in panels("fig6", curves)} == {(0, top)}


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
    assert panels("fig6", train="clean")[0].notes == ("dashed: clean training", "bold: test")
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


def test_keys_have_the_papers_colours_and_never_share_one():
    marks = style.marks([str(depth) for depth in range(8, 8 + 6 * 30, 6)])
    assert {marks[key].colour for key in ("20", "32", "44", "56", "110")} == set(style.DEPTHS.values())
    assert len({mark.colour for mark in marks.values()}) == len(marks)
    assert len(set(list(marks.values())[:10])) == len({mark.marker for mark in list(marks.values())[:10]})
    assert list(style.marks(["C", "110", "8", "20 w4", "A"])) == ["8", "20 w4", "110", "A", "C"]
    assert style.marks(["56 w4", "20", "20 w4"])["56 w4"].colour == style.DEPTHS["56"]
    for one, other in combinations(style.OPTIONS.values(), 2):
        assert style.distance(one, other) > 10_000


@pytest.mark.parametrize("name", CURVES)
def test_every_figure_is_drawn_as_its_panels_say(name):
    made = panels(name, whole())
    figure = draw(made, "a title")
    assert len(figure.axes) == len(made)
    for axes, panel in zip(figure.axes, made, strict=True):
        low, high = axes.get_ylim()
        assert (axes.get_title(), axes.get_xlabel(), high) == (panel.title, panel.xlabel, panel.ylim[1])
        assert low < 0  # a line at 0 % is drawn whole
        assert axes.get_yticks().tolist() == list(panel.ticks)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == labels(panel)
        drawn = axes.lines[len(panel.grid) :]
        for one, line in zip(drawn, panel.lines, strict=True):
            assert (one.get_xdata().tolist(), one.get_ydata().tolist()) == (line.x.tolist(), line.y.tolist())
            assert one.get_linewidth() == style.WEIGHT[line.weight]
        bands = sum(bool((line.high > line.low).any()) for line in panel.lines)
        assert len(axes.collections) == bands


def test_a_line_of_one_point_can_be_seen():
    axes = draw(panels("fig6", run(upto=20))).axes[0]
    assert all(line.get_marker() for line in axes.lines[-2:])


def files_of(drawn):
    return {path.name: path.read_bytes() for one in drawn for path in one.files}


def test_a_figure_is_saved_in_three_formats_with_its_runs_and_its_command_and_the_same_bytes_again(tmp_path):
    curves, words = sweep(depths=(8, 20, 32)), {"command": "degrade plot 'my results'"}
    first, again = (files_of(save(curves, names, tmp_path, **words)) for names in (None, ["fig1", "fig4", "fig6"]))
    assert set(first) == {f"{name}.{kind}" for name in ("fig1", "fig4", "fig6") for kind in FORMATS}
    assert first == again
    for kind in FORMATS:
        assert b"degrade plot 'my results'" in first[f"fig1.{kind}"] or kind == "pdf"  # whose strings are escaped
        assert b"plain-none-32-w16-x-1-s0" in first[f"fig1.{kind}"]
        assert b"plain-none-20-w16-x-1-s0" not in first[f"fig1.{kind}"]  # not drawn there
    assert all(name.encode() in first["fig6.svg"] for name in curves.run.unique())
    assert not list(tmp_path.glob("*/.*"))


def test_protocols_are_never_mixed_unless_told(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    both = pd.concat([sweep(), sweep(protocol="x-2")])
    apart = {path.parent.name for one in save(both, None, tmp_path) for path in one.files}
    assert apart == {"x-1", "x-2"}
    mixed = [path for one in save(both, None, tmp_path, mix=True) for path in one.files]
    assert {path.parent.name for path in mixed} == {"mixed"}
    assert all("mixes protocols x-1, x-2" in path.read_text() for path in mixed)
    assert {path.parent.name for one in save(sweep(), None, tmp_path, mix=True) for path in one.files} == {"x-1"}


def test_a_figure_that_fails_stops_no_other_and_leaves_no_file(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("two\nlines")

    monkeypatch.setitem(figures.FIGURES, "fig4", figures.Figure(broken))
    drawn = {one.figure: one for one in save(sweep(), None, tmp_path)}
    assert drawn["fig4"] == ("fig4", (), "fig4 of x-1: not drawn; ValueError: two lines")
    assert drawn["fig1"].files
    assert drawn["fig6"].files
    assert not list(tmp_path.glob("*/*fig4*"))


def test_the_command_line_lists_what_failed_and_ends_with_1(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyError("colour")

    monkeypatch.setitem(figures.FIGURES, "fig1", figures.Figure(broken))
    monkeypatch.setattr(store, "load", lambda *_: store.Tables(pd.DataFrame(), sweep(), *3 * [sweep().iloc[:0]], {}))
    done = CliRunner().invoke(cli.app, ["plot", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr == "degrade: fig1 of x-1: not drawn; KeyError: 'colour'\n"
    assert [Path(line).name for line in done.stdout.split()] == [f"{n}.{k}" for n in ("fig4", "fig6") for k in FORMATS]


def test_help_names_every_figure_and_view():
    text = CliRunner().invoke(cli.app, ["plot", "--help"], env={"COLUMNS": "200"}).output
    for word in [*FIGURES, *figures.TRAIN, *figures.AXES]:
        assert word in text


def test_a_named_figure_that_the_runs_do_not_allow_is_an_error_after_the_others(tmp_path):
    drawn = []
    with pytest.raises(RunError, match=r"^options: needs"):
        drawn.extend(save(sweep(), ["options", "fig6"], tmp_path))
    assert len(list(tmp_path.glob("*/fig6.*"))) == 3
    both = pd.concat([sweep("AB"), sweep("A", protocol="x-2")])
    assert [one.figure for one in save(both, ["options"], tmp_path)] == ["options"]


@pytest.mark.parametrize("protocol", ["../x", "..", "a/b", "/x", "", ".x"])
def test_no_figure_leaves_its_folder_whatever_a_file_calls_its_protocol(protocol, tmp_path):
    with pytest.raises(RunError, match="is no protocol's name"):
        list(save(sweep(protocol=protocol), None, tmp_path / "figures"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_draw_and_unknown_figures_are_one_line(tmp_path):
    with pytest.raises(RunError, match="no run there has a point yet"):
        list(save(sweep().iloc[:0], None, tmp_path / "figures"))
    with pytest.raises(SpecError, match=re.escape("--figure=fig66: unknown; did you mean 'fig6'?")):
        list(save(sweep(), ["fig66"], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.x-1: cannot be written .*--out$"):
        list(save(run(), ["fig4"], tmp_path / "file"))


def test_a_write_that_breaks_off_leaves_the_old_figure_and_no_other_file(tmp_path, monkeypatch):
    before = files_of(save(run(), ["fig4"], tmp_path))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\)"):
        list(save(run(upto=40), ["fig4"], tmp_path))
    assert {path.name: path.read_bytes() for path in (tmp_path / "x-1").iterdir()} == before


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in CURVES:
        text = json.dumps(golden(each), indent=1)
        flat = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list is one line
        (GOLDEN / f"{each}.json").write_text(flat + "\n")
