import json
import re
import time
from pathlib import Path

import pytest

import degrade as package
from degrade.figures import FORMATS


def test_a_sweep_then_its_figure_then_nothing_to_do(fresh, degrade, tmp_path):
    keys = ["sweep", "study=smoke", "depth=8", "shortcut=A", "jobs=1"]
    first = fresh(*keys)
    assert first.returncode == 0, first.stderr
    assert "2 distinct runs, 0 finished, 2 to do" in first.stdout
    assert "error at the last point" in first.stdout
    drawn = degrade("plot")
    assert drawn.returncode == 0, drawn.stderr
    files = [tmp_path / line for line in drawn.stdout.split()]
    drawable = [f"{name}.{kind}" for name in ("fig4", "fig6") for kind in FORMATS]
    assert [file.name for file in files[: len(drawable)]] == drawable
    assert not {"fig1", "options", "fig7", "gradients"} & {file.stem for file in files}  # the runs do not allow these
    assert re.search(
        rb"degrade plot; protocols: digits-\w+; runs: plain-8-s0-", files[drawable.index("fig6.svg")].read_bytes()
    )
    before = [file.read_bytes() for file in files]
    second = degrade(*keys)
    assert "2 finished, 0 to do" in second.stdout
    assert degrade("plot").returncode == 0
    assert [file.read_bytes() for file in files] == before


def test_status_and_clean_on_what_a_sweep_left(degrade, tmp_path):
    assert degrade("train", "study=smoke", "net=plain", "depth=8", "recipe.iterations=2").returncode == 0
    (run,) = json.loads(degrade("status", "--json").stdout).items()
    assert (run[1]["state"], run[1]["iteration"]) == ("finished", 2)
    assert run[0] in degrade("status").stdout
    assert "recipe.batch" in degrade("recipe-diff", "plain").stdout
    (tmp_path / "results" / "runs" / "junk").mkdir()
    asked = degrade("clean", "--orphaned", input="n\n")
    assert "junk" in asked.stdout
    assert (tmp_path / "results" / "runs" / "junk").exists()
    nobody = degrade("clean", "--orphaned", input="")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1)
    assert "nobody answered, and nothing was removed; --yes removes without asking" in nobody.stderr
    assert (tmp_path / "results" / "runs" / "junk").exists()
    assert "1 removed" in degrade("clean", "--orphaned", "--yes").stdout
    assert [path.name for path in (tmp_path / "results" / "runs").iterdir()] == [run[0]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_each_shell(degrade, shell):
    assert "degrade" in degrade("--show-completion", shell).stdout


def test_a_view_of_some_runs_goes_where_it_is_told(degrade, here, tmp_path):
    assert degrade("sweep", "study=smoke", "depth=8,14", "shortcut=A,B", "jobs=1").returncode == 0
    view = ["--train", "clean", "--x", "epochs", "--top", "30", "--shortcut", "A", "--out", "here"]
    drawn = here("plot", "results", "--figure", "fig1,fig4", *view)
    assert drawn.returncode == 0, drawn.stderr
    assert {Path(line).parts[0] for line in drawn.stdout.split()} == {"here"}
    assert {Path(line).stem for line in drawn.stdout.split()} == {"fig1", "fig4"}
    svg = next((tmp_path / "here").glob("*/fig4.svg")).read_text()
    for words in ("clean training", "epochs", "degrade plot results --figure fig1,fig4 --train clean", "residual-A-14"):
        assert words in svg
    assert "residual-B" not in svg
    refused = here("plot", "--figure", "options", "--shortcut", "A")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("degrade: options: needs residual nets of one depth with two shortcut options")
    for wrong in (["--depth", "20"], ["--train", "dirty"], ["--x", "days"], ["--top", "0"], ["--net", "plian"]):
        done = here("plot", *wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"degrade: {wrong[0]}={wrong[1]}: ")


def test_nets_prints_the_table(degrade):
    table = degrade("nets", "depth=20,56", "net=residual", "shortcut=A")
    assert table.returncode == 0
    assert "269,722" in table.stdout
    assert "269,434" in degrade("nets", "depth=20", "data=digits", "net=plain").stdout  # one channel, 8x8


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "depht=20"],
        ["sweep", "depth=21"],
        ["sweep", "foo"],
        ["nets", "net=plian"],
        ["plot", "nowhere"],
        ["plot", ".", "--figure", "fig9"],
        ["plot", "."],
        ["sweep", "data=digits", "results=/dev/null/x"],
        ["train", "data=digits", "net=plain,residual"],
        ["plan", "depth=9"],
        ["rerun", "nothing"],
        ["recipe-diff", "nothing"],
        ["status", "nowhere"],
        ["clean", "nowhere", "--failed"],
        ["clean"],
        ["sweep", "data=digits", "--time-limit", "soon"],
        ["sweep", "data=digits", "--exclude", "dept=20"],
        ["sweep", "data=digits", "hydra.launcher.nonsense=1"],
        ["sweep", "data=digits", "recipe.warmup_cap=1.0"],
    ],
)
def test_a_mistake_is_one_line_exit_2_and_leaves_nothing(here, tmp_path, arguments):
    done = here(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" or arguments[-1].startswith("results=")  # the list is shown first
    assert done.stderr.startswith("degrade: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_or_option_is_exit_2_without_traceback(degrade):
    for arguments in (["swep"], ["plot", "--figur", "fig6"]):
        done = degrade(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_help_and_version_load_nothing_heavy(fresh):
    assert fresh("--version").stdout == f"degrade {package.__version__}\n"
    assert "sweep" in fresh("--help").stdout
    begun = time.monotonic()
    fresh("--help")
    assert time.monotonic() - begun < 5  # a guard against loading torch, not a measurement


def test_help_opens_with_examples_that_name_real_commands_and_has_an_address(here):
    from degrade import cli
    from degrade.cli.examples import EXAMPLES

    assert "degrade sweep study=quickstart" in here("--help").stdout.split("Options:")[0]
    for command in ("sweep", "nets", "doctor"):
        said = here(command, "--help").stdout
        assert EXAMPLES[command][0] in said.split("Options:")[0]
        assert "https://" in said
        assert all(f"--{option}" in said for option in ("quiet", "verbose", "debug"))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert known == {*EXAMPLES} - {""}
    assert {line.split()[1] for lines in EXAMPLES.values() for line in lines} <= known
