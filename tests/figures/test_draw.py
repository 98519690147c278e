"""Panels as figures and files: all formats or none, one protocol each, and what failed is said."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from places import ROOT
from plotted import CURVES, labels, panels, run, save, sweep, whole
from typer.testing import CliRunner

from degrade import cli, figures
from degrade.errors import RunError, SpecError
from degrade.figures import FIGURES, FORMATS, draw, style
from degrade.store import results


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


def test_markers_of_training_are_hollow_in_every_figure():
    for name in CURVES:
        made = panels(name, whole())
        for axes, panel in zip(draw(made).axes, made, strict=True):
            for one, line in zip(axes.lines[len(panel.grid) :], panel.lines, strict=True):
                assert one.get_marker() != ""
                assert (one.get_markerfacecolor() == "#ffffff") == (line.split != "test")


def test_the_band_of_training_is_an_outline_and_that_of_test_is_filled():
    (axes,) = draw(panels("fig6", sweep(seeds=(0, 1), depths=(8,), net=("plain",)))).axes
    train, test = axes.collections
    assert (len(train.get_facecolor()), len(test.get_facecolor())) == (0, 1)
    assert len(train.get_edgecolor()) == 1


def test_the_title_names_data_and_settings_and_no_hash(tmp_path):
    (drawn,) = save(sweep(), ["fig6"], tmp_path)
    svg = drawn.files[1].read_text()
    assert ">digits; recipe tiny; fp32<" in svg
    assert "protocols: x-1; runs: " in svg  # in the metadata
    assert ">x-1" not in svg


def files_of(drawn):
    return {path.name: path.read_bytes() for one in drawn for path in one.files}


def test_a_figure_is_saved_in_three_formats_with_its_runs_and_its_command_and_the_same_bytes_again(tmp_path):
    curves, words = sweep(depths=(8, 20, 32)), {"command": "degrade plot 'my results'"}
    first, again = (files_of(save(curves, names, tmp_path, **words)) for names in (None, ["fig1", "fig4", "fig6"]))
    assert set(again) == {f"{name}.{kind}" for name in ("fig1", "fig4", "fig6") for kind in FORMATS}
    assert {name: first[name] for name in again} == again
    assert not any(name.startswith("options") for name in first)  # there is one option
    for kind in FORMATS:
        assert b"degrade plot 'my results'" in first[f"fig1.{kind}"] or kind == "pdf"  # whose strings are escaped
        assert b"plain-none-32-w16-x-1-s0" in first[f"fig1.{kind}"]
        assert b"plain-none-20-w16-x-1-s0" not in first[f"fig1.{kind}"]  # not drawn there
    assert all(name.encode() in first["fig6.svg"] for name in curves.run.unique())
    assert not list(tmp_path.glob("*/.*"))


def test_figures_do_not_depend_on_what_is_set_for_matplotlib(tmp_path):
    """The size of letters, the grid and the cut of the user's matplotlibrc came into the figures."""
    mine = {"font.size": 30, "axes.grid": True, "savefig.bbox": "tight", "axes.facecolor": "red", "text.usetex": True}
    plain = files_of(save(sweep(), ["fig6"], tmp_path))
    with mpl.rc_context(mine):
        assert files_of(save(sweep(), ["fig6"], tmp_path)) == plain
        assert {key: mpl.rcParams[key] for key in mine} == mine


def test_the_command_draws_beside_a_backend_that_is_not_here_and_a_broken_matplotlibrc(tmp_path):
    """A notebook names its backend to the commands it starts: they ended in a traceback."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nnonsense\nfigure.dpi: many\n")
    set_for = {"MPLBACKEND": "module://nobody.has.this", "MATPLOTLIBRC": str(tmp_path)}
    words = [sys.executable, "-m", "degrade", "plot", str(ROOT / "results" / "quickstart"), "--figure", "fig1"]
    done = subprocess.run(
        [*words, "--out", str(tmp_path)], env={**os.environ, **set_for}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.glob("*/fig1.svg"))


def test_protocols_are_never_mixed_unless_told(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    both = pd.concat([sweep(), sweep(protocol="x-2")])
    apart = {path.parent.name for one in save(both, None, tmp_path) for path in one.files}
    assert apart == {"x-1", "x-2"}
    mixed = [path for one in save(both, None, tmp_path, mix=True) for path in one.files]
    assert {path.parent.name for path in mixed} == {"mixed"}
    assert all("mixes 2 protocols" in path.read_text() for path in mixed)
    assert all("protocols: x-1, x-2" in path.read_text() for path in mixed)  # in the metadata
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
    monkeypatch.setattr(
        results, "load", lambda *_: results.Tables(pd.DataFrame(), sweep(), *3 * [sweep().iloc[:0]], {})
    )
    done = CliRunner().invoke(cli.app, ["plot", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr == "degrade: fig1 of x-1: not drawn; KeyError: 'colour'\n"
    drawn = [Path(line).name for line in done.stdout.split()]
    assert drawn[: 2 * len(FORMATS)] == [f"{name}.{kind}" for name in ("fig4", "fig6") for kind in FORMATS]
    assert not any(name.startswith("fig1") for name in drawn)


def test_help_names_every_figure_and_view():
    text = CliRunner().invoke(cli.app, ["plot", "--help"], env={"COLUMNS": "200"}).output
    for word in [*figures.TRAIN, *figures.AXES]:
        assert word in text
    assert ", ".join(FIGURES) in " ".join(text.split())


def test_a_named_figure_that_the_runs_do_not_allow_is_an_error_after_the_others(tmp_path):
    drawn = []
    with pytest.raises(RunError, match=r"^options: needs"):
        drawn.extend(save(sweep(), ["options", "fig6"], tmp_path))
    assert len(list(tmp_path.glob("*/fig6.*"))) == 3
    both = pd.concat([sweep("AB"), sweep("A", protocol="x-2")])
    assert [one.figure for one in save(both, ["options"], tmp_path)] == ["options"]


@pytest.mark.parametrize("protocol", ["../x", "..", "a/b", "/x", "", ".x"])
def test_no_figure_leaves_its_folder_whatever_a_file_calls_its_protocol(protocol, tmp_path):
    with pytest.raises(RunError, match="is not the name of a protocol"):
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
