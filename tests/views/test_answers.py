"""Every table in every format: words for people, records for programs, and the columns that the docs name."""

import csv
import io
import json
import math

import pytest
import tables
from conftest import Degrade

from degrade.errors import SpecError
from degrade.views.sheets import TABLE_FORMATS, Sheet, check_format, render

TWO = [
    Sheet(
        "one", ("net", ">error"), [("plain", "1.50")], ("a note",), ("a line",), "errors", [{"net": "=1", "error": 1.5}]
    ),
    Sheet(name="errors", records=[{"net": "b", "error": math.nan}]),
    Sheet(name="left", records=[{"n": math.inf}]),
]
RUNS = ("data=digits", "recipe=smoke", "depth=8", "width=2", "net=plain", "data.train_limit=40", "recipe.iterations=2")


def test_json_holds_every_table_and_no_number_that_json_has_not():
    found = json.loads(render(TWO, "json", "errors"))
    errors = [{"net": "=1", "error": 1.5}, {"net": "b", "error": None}]
    assert found == {"errors": errors, "left": [{"n": None}]}
    assert json.loads(render(TWO, "json")) == errors  # the one table of a command that has one


def test_csv_is_one_table_and_harmless_to_a_spreadsheet():
    rows = list(csv.reader(io.StringIO(render(TWO, "csv", "errors"))))
    assert rows == [["net", "error"], ["'=1", "1.5"], ["b", ""]]
    assert render(TWO, "csv", "nowhere") == render(TWO, "csv", "errors")


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_pages_hold_title_rows_notes_and_lines(form):
    page = render(TWO, form)
    assert all(word in page for word in ("one", "plain", "1.50", "a note", "a line"))


def test_a_sheet_without_title_has_no_empty_one():
    bare = [Sheet(columns=("net",), rows=[("plain",)]), Sheet(lines=("said",)), Sheet(name="nothing")]
    assert render(bare, "markdown") == "| net |\n| --- |\n| plain |\n\nsaid"
    page = render(bare, "latex")
    assert "caption" not in page
    assert "paragraph" not in page
    assert page.endswith("said")


def test_an_unknown_format_is_named():
    with pytest.raises(SpecError, match=r"--format=xml: unknown; .*markdown"):
        check_format("xml")


@pytest.fixture
def trained(here: Degrade, tmp_path):
    assert here("sweep", *RUNS, f"results={tmp_path}", "hydra/launcher=basic").returncode == 0
    return tmp_path


def commands(root, run: str) -> dict[str, list[str]]:
    return {
        "errors": ["sweep", *RUNS, f"results={root}", "hydra/launcher=basic"],
        "runs": ["sweep", *RUNS, f"results={root}", "--dry-run"],
        "power": ["plan", *RUNS[:2], "depth=8,14", "net=plain", "seed=0,1", "--power"],
        "status": ["status", str(root)],
        "verified": ["verify", str(root)],
        "nets": ["nets", "depth=8", "data=digits"],
        "recipe-diff": ["recipe-diff", run, "--results", str(root)],
        "evaluations": ["evaluate", "--ckpt", run, "--results", str(root)],
        "responses": ["responses", str(root)],
        "constructed": ["construct", "--ckpt", run, "depth=14", "--results", str(root)],
        "identity": [
            *("identity", "--blocks", "1", "--net", "plain", "--steps", "10", "--width", "2", "--seeds", "0"),
            *("--jobs", "1", "--results", str(root)),
        ],
    }


def test_every_command_prints_its_tables_alone_and_with_the_documented_columns(here: Degrade, trained):
    run = next(path.name for path in (trained / "runs").iterdir())
    for name, command in commands(trained, run).items():
        documented = set(tables.TABLES[name])
        for form in TABLE_FORMATS[1:]:
            done = here(*command, "--format", form)
            assert done.returncode == 0, done.stderr
            if form == "csv":
                heads, *rows = csv.reader(io.StringIO(done.stdout))
                assert set(heads) <= documented, name
                assert rows, name
            elif form == "json":
                found = json.loads(done.stdout)
                rows = list(found.values()) if name == "status" else found if isinstance(found, list) else found[name]
                assert {key for row in rows for key in row} <= documented, name
                assert rows, name
            else:
                assert done.stdout.startswith(("**", "|", "\\begin", "\\par")) or name in ("constructed", "verified"), (
                    done.stdout
                )
        assert here(*command, "--format", "xml").returncode == 2


def test_json_is_short_for_its_format(here: Degrade, trained):
    for command in (["status", str(trained)], ["nets", "depth=8", "data=digits"]):
        assert here(*command, "--json").stdout == here(*command, "--format", "json").stdout


@pytest.mark.parametrize("form", ["json", "csv"])
def test_sentences_beside_rows_go_to_stderr(here: Degrade, trained, form):
    """They were lost: a sweep could end with 1 and say nothing."""
    done = here("sweep", *RUNS, f"results={trained}", "hydra/launcher=basic", "--format", form)
    assert "1 of 1 runs finished in" in done.stderr
    assert "1 of 1 runs finished in" not in done.stdout
