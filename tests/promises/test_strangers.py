"""Names and results of somebody else: shown as what they say, and nothing is done for them."""

import csv
import io
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ended import reseal
from generated import ended, lay
from PIL import Image

from degrade.errors import RunError
from degrade.spec import NetSpec, RunSpec
from degrade.spec.escape import controls, formula, markdown
from degrade.spec.rows import Point
from degrade.store import parquet
from degrade.store.files import write
from degrade.store.folder import RunDir, write_json
from degrade.store.holder import this_process
from degrade.store.parquet import CURVES
from degrade.store.results import run_dirs
from degrade.sweep import limit, rerun, worker
from degrade.views.sheets import Sheet, latex
from degrade.views.sheets import markdown as in_markdown

EVIL = "\x1b]0;owned\x07\x1b[31m"


def test_control_characters_are_shown_as_what_they_are():
    assert controls("plain 猫 é") == "plain 猫 é"
    assert controls(f"a{EVIL}\n\u202eb\udcff") == r"a\x1b]0;owned\x07\x1b[31m\n\u202eb\udcff"
    assert controls("a\nb", keep="\n") == "a\nb"


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1", "\r=1", "＝1+1", "＋1", "＠1"]


@pytest.mark.parametrize("evil", FORMULAS)
def test_a_spreadsheet_computes_nothing(evil):
    assert formula(evil).startswith("'")
    assert formula(-2.5) == -2.5
    assert formula("residual-A-20") == "residual-A-20"
    assert formula("-2.5e3") == "-2.5e3"


def test_markdown_and_latex_take_names_for_text():
    evil = "<script>alert(1)</script> [x](javascript:1) `a` a|b \\|c &lt; \\input{x} $\\frac{ %"
    text = in_markdown([Sheet(evil, ("n",), [(evil,)], (evil,))])
    assert "<script" not in text
    assert "](" not in text.replace("\\](", "")
    assert markdown("p < 0.05 & 3 > 2 [1, 2]") == "p < 0.05 & 3 > 2 [1, 2]"
    row = latex([Sheet("t", ("n",), [(evil + EVIL,)])]).splitlines()[-4]
    assert r"\textbackslash{}input\{x\}" in row
    assert r"\$\textbackslash{}frac\{ \%" in row
    assert "\x1b" not in row
    first, second, _, _ = latex([Sheet("t", ("n",), [("[9cm]",), ("*",)])]).splitlines()[-5:-1]
    assert (first, second) == (r"{}[9cm] \\", r"{}* \\")  # else so much space, and no word


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A results folder of somebody else, in which every word is an attack."""
    data = RunSpec().data
    for depth in (8, 14):
        run = ended(RunSpec(net=NetSpec(net="plain", depth=depth), data=data), 5.0 + depth, 9.0)
        lay([run], tmp_path / "theirs")
        folder = RunDir(tmp_path / "theirs", run.spec.run)
        state = json.loads(folder.state.read_text())
        write_json(folder.state, state | {"outcome": f"=1+1<script>{EVIL}", "reason": f"{EVIL}$x$"})
        rows = parquet.read(folder.curve, CURVES).to_pylist()
        words = {"group": f"=1+{depth}{EVIL}", "data": "=cmd|' /C calc'!A0", "recipe": f"<script>alert(1){EVIL}"}
        points = [{f.name: row[f.name] for f in fields(Point)} for row in rows]
        labels = {**run.spec.labels(), **words}
        parquet.write_rows(folder.curve, labels, [Point(**point) for point in points], CURVES)
        reseal(folder)
    return tmp_path / "theirs"


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["compare"],
        *(["compare", "--format", form] for form in ("markdown", "latex", "csv", "json")),
        *(["compare", "--format", "csv", "--table", name] for name in ("summary", "reached")),
        *(["status", "--format", form] for form in ("markdown", "latex", "csv", "json")),
        ["clean", "--older-than", "-1", "--yes"],
        ["plot", "--figure", "fig6"],
    ],
    ids=" ".join,
)
def test_no_word_of_a_strangers_results_reaches_the_terminal_raw(here, foreign, tmp_path, command):
    root = foreign.rename(tmp_path / f"theirs{EVIL}$x$")
    done = here(*command, str(root), *(["--out", str(tmp_path / f"o{EVIL}")] if command[0] == "plot" else []))
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x07"} & {*done.stdout, *done.stderr}
    if "csv" in command:
        cells = [cell for row in csv.reader(io.StringIO(done.stdout)) for cell in row]
        named = "--table" in command or command[0] == "status"  # a verdict names no group
        assert any("=1+" in cell for cell in cells) == named
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    if "markdown" in command:
        assert "<script" not in done.stdout
    drawn = list(tmp_path.rglob("*.svg"))
    assert bool(drawn) == (command[0] == "plot")
    for svg in drawn:
        assert "\x1b" not in svg.read_text()
        ElementTree.parse(svg)


def test_class_and_folder_names_are_escaped_in_errors(here, tmp_path):
    root = tmp_path / f"ph{EVIL}"
    (root / "train" / f"cat{EVIL}<b>").mkdir(parents=True)
    (root / "test" / "dog").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "test" / "dog" / "a.png")
    done = here("sweep", "data=image_folder", f"data.root='{root}'", "--dry-run")
    assert done.returncode == 2
    assert done.stderr.removesuffix("\n").isprintable()


def test_what_has_no_end_in_a_results_folder_is_not_waited_for(here, foreign):
    """Of a stranger: a pipe would be waited for, a device has no end, and text need not be text."""
    (folder, other) = sorted((foreign / "runs").iterdir())
    for name in ("state.json", "curve.parquet", "spec.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        os.mkfifo(folder / name)
        done = here("compare", str(foreign))
        assert (done.returncode, "is a pipe or a device, and no file" in done.stderr) == (2, True)
        (folder / name).unlink()
        (folder / name).write_bytes(kept)
    write_json(other / "state.json", {"state": "finished", "outcome": "\ud800"})
    done = here("compare", str(foreign))
    assert (done.returncode, "outcome cannot be" in done.stderr) == (2, True)


def test_links_lead_nowhere(here, foreign, tmp_path):
    """Folders that a stranger's links led to were removed, and its logs written, outside of the results."""
    (tmp_path / "mine" / "kept").mkdir(parents=True)
    (foreign / "runs" / "evil").symlink_to(tmp_path / "mine")
    assert here("clean", str(foreign), "--orphaned", "--yes").returncode == 0
    assert not (tmp_path / "mine" / ".lock").exists()
    shutil.rmtree(foreign / "runs")
    (foreign / "runs").symlink_to(tmp_path / "mine")
    done = here("clean", str(foreign), "--orphaned", "--yes")
    assert (done.returncode, "its runs/ is a link" in done.stderr) == (2, True)
    assert (tmp_path / "mine" / "kept").exists()
    log = tmp_path / "log.txt"
    log.symlink_to(tmp_path / "bashrc")
    with pytest.raises(OSError, match="symbolic"), worker.redirect_output(log):
        pass
    assert not (tmp_path / "bashrc").exists()
    with pytest.raises(OSError, match="symbolic"), worker.redirect_output(tmp_path / "own.txt", log):
        pass
    assert not (tmp_path / "bashrc").exists()


def test_a_lock_that_is_a_link_empties_nothing(tmp_path):
    """filelock before 3.20.1 opened it, and cut what it led to."""
    folder = RunDir(tmp_path, RunSpec().run)
    folder.path.mkdir(parents=True)
    (tmp_path / "mine").write_text("of years")
    folder.lock.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic"), folder.claimed():
        pass
    assert (tmp_path / "mine").read_text() == "of years"


@pytest.mark.parametrize("name", ["runs", "identity", "time-limits"])
def test_nothing_is_written_behind_a_strangers_link(here, foreign, tmp_path, name):
    """Runs were trained behind it, and ended well."""
    mine = tmp_path / "mine"
    (foreign / name).rename(mine) if name == "runs" else mine.mkdir()
    (foreign / name).symlink_to(mine)
    before = sorted(mine.rglob("*"))
    small = ["net=plain", "depth=8", "width=4", "data=digits", "recipe=smoke", "jobs=1", f"results={foreign}"]
    command = {
        "runs": ["sweep", *small],
        "identity": ["identity", "--results", str(foreign), "--steps", "1"],
        "time-limits": ["sweep", *small, "--time-limit", "1h"],
    }[name]
    done = here(*command)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{name}: is a link, and nothing is written behind it; name the folder it leads to" in done.stderr
    assert sorted(mine.rglob("*")) == before


@pytest.mark.parametrize("name", ["reruns", "reruns/1"])
def test_nor_is_anything_trained_again_there(foreign, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (foreign / name).parent.mkdir(exist_ok=True)
    (foreign / name).symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=f"{name}: is a link"):
        rerun.choose_place(foreign, run_dirs(foreign)[0].read_spec())


def test_a_file_in_the_making_is_never_a_link(tmp_path):
    """Under the name that it has for a moment somebody had put one, and what it led to was overwritten."""
    (tmp_path / "mine").write_text("of years")
    (tmp_path / f".state.json-{this_process().mark}.tmp").symlink_to(tmp_path / "mine")
    write(tmp_path / "state.json", b"{}")
    assert (tmp_path / "mine").read_text() == "of years"
    assert (tmp_path / "state.json").read_bytes() == b"{}"
    assert not (tmp_path / "state.json").is_symlink()


def test_a_record_of_time_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(RunError, match="is a pipe or a device"):
        limit.read_record(tmp_path / "record.json")


def test_figures_are_not_drawn_where_a_strangers_link_leads(here, foreign, tmp_path):
    (tmp_path / "mine").mkdir()
    (foreign / "figures").symlink_to(tmp_path / "mine")
    for command in (["plot", "--figure", "fig6"], ["responses"]):
        done = here(*command, str(foreign))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = here("plot", "--figure", "fig6", str(foreign))
    assert "figures: is a link, and nothing is drawn elsewhere; name the folder it leads to with --out" in done.stderr
    (foreign / "figures").unlink()
    (protocol,) = {json.loads(path.read_text())["spec"]["data"]["name"] for path in foreign.glob("runs/*/spec.json")}
    done = here("plot", "--figure", "fig6", str(foreign))
    assert done.returncode == 0
    (made,) = (path for path in (foreign / "figures").iterdir() if path.name.startswith(protocol))
    shutil.rmtree(made)
    made.symlink_to(tmp_path / "mine")
    done = here("plot", "--figure", "fig6", str(foreign))
    assert (done.returncode, "cannot be written (is a link); choose another" in done.stderr) == (2, True)
    assert list((tmp_path / "mine").iterdir()) == []
    assert here("plot", "--figure", "fig6", str(foreign), "--out", str(tmp_path / "mine")).returncode == 0


def test_an_out_that_takes_nothing_is_one_line(here, foreign, tmp_path):
    """It was one for each figure, and exit code 1."""
    (tmp_path / "file").touch()
    done = here("plot", str(foreign), "--out", str(tmp_path / "file"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written (Not a directory); choose another folder with --out" in done.stderr


@pytest.mark.parametrize("command", ["recipe-diff", "rerun", "evaluate", "responses"])
def test_a_loop_of_links_is_no_run(here, foreign, tmp_path, command):
    (tmp_path / "loop").symlink_to("loop")
    foreign.rename(tmp_path / "results")
    words = ["--ckpt", "loop"] if command in ("evaluate", "responses") else ["loop"]
    done = here(command, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no run named 'loop'" in done.stderr
