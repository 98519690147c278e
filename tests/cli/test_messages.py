"""What a person reads who did nothing yet, mistyped, or is done."""

import pytest
from conftest import Degrade

KEYS = ["sweep", "study=smoke", "depth=8", "shortcut=A", "jobs=1"]


@pytest.mark.parametrize("command", [["status"], ["compare"], ["plot"], ["recipe-diff", "x"], ["verify"]])
def test_without_results_the_study_of_a_minute_is_offered_and_no_days_of_cifar(here: Degrade, command):
    done = here(*command)
    said = "degrade: No results here yet. Try: degrade sweep study=quickstart\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    other = here(*command[:1], *(["x", "--results"] if command[1:] else []), "else where")
    assert "else where: no such results folder; " in other.stderr
    assert "degrade sweep study=quickstart 'results=else where'" in other.stderr


@pytest.mark.parametrize(
    ("words", "better"),
    [
        (["depth=20,", "56"], "depth=20, 56: no space after commas; write depth=20,56"),
        (["depth=20,", "32,", "56", "seed=0"], "depth=20, 32, 56: no space after commas; write depth=20,32,56"),
    ],
)
def test_a_space_after_a_comma_is_named(here: Degrade, words, better):
    done = here("sweep", "data=digits", *words)
    assert (done.returncode, done.stderr) == (2, f"degrade: {better}\n")


def test_a_list_of_an_option_has_no_spaces_either(here: Degrade, tmp_path):
    (tmp_path / "results").mkdir()
    done = here("plot", "results", "--depth", "20,", "56")
    assert (done.returncode, done.stderr) == (
        2,
        "degrade: --depth 20, 56: no space after commas; write --depth 20,56\n",
    )


def test_a_command_ends_with_what_to_do_next_and_programs_do_not_hear_of_it(degrade: Degrade, tmp_path):
    first = degrade(*KEYS)
    assert first.returncode == 0, first.stderr
    assert "2 of 2 runs finished in results/" in first.stdout
    assert "Next: degrade compare" in first.stderr
    assert "Next:" not in first.stdout
    near = degrade("recipe-diff", "plan-8-s0")
    assert near.stderr.startswith("degrade: no run named 'plan-8-s0' in results/; did you mean 'plain-8-s0'?")
    assert "matches 2 runs in results/ (" in degrade("recipe-diff", "").stderr
    for command in (
        ["status"],
        ["compare"],
        ["verify"],
        ["nets", "depth=8"],
        ["recipe-diff", "plain"],
        ["plan", *KEYS[1:]],
    ):
        assert "Next: " in degrade(*command).stderr, command
        assert "Next: " not in degrade(*command, "--format", "json").stderr, command
        assert "Next: " not in degrade(*command, "--quiet").stderr, command


def test_debug_shows_where_an_error_came_from_and_ends_with_the_same_line(here: Degrade):
    plain, more = here("train", "depth=21"), here("train", "depth=21", "--debug")
    assert plain.stderr.count("\n") == 1
    assert "Traceback" in more.stderr
    assert (more.returncode, more.stderr.splitlines()[-1]) == (2, plain.stderr.strip())
