import io
import json
import re

import pandas as pd
import pytest
from generated import Run, ended, lay, tables
from places import ROOT
from rich.console import Console
from scipy import stats

from degrade.analysis.compare import COLUMNS, compare
from degrade.analysis.judge import DEGRADES, GAINS, NEVER, ONE_RUN, OPEN, OVERFITS, PARTLY, SAME, SLIGHTLY, UNJUDGED
from degrade.cli import app
from degrade.errors import DegradeError
from degrade.spec import DataSpec, NetSpec, RecipeSpec, RunSpec
from degrade.views import terminal
from degrade.views.compare import TABLES, sheets
from degrade.views.sheets import TABLE_FORMATS, Sheet, escape_latex, latex, markdown

CLEAN = {("plain", 8): 0.2, ("plain", 20): 9.0, ("residual", 8): 0.2, ("residual", 20): 0.1}


def digits(seeds: int = 3, **recipe) -> list[Run]:
    return [
        ended(
            RunSpec(
                net=NetSpec(net=net, depth=depth), data=DataSpec(name="digits"), recipe=RecipeSpec(**recipe), seed=seed
            ),
            error + 0.02 * seed,
            error + 1 + 0.1 * seed,
        )
        for (net, depth), error in CLEAN.items()
        for seed in range(seeds)
    ]


def paper(seeds: int = 2) -> list[Run]:
    kinds = [("plain", "A", d) for d in (20, 56, 110)] + [("residual", o, d) for o in "AB" for d in (20, 110, 1202)]
    specs = [RunSpec(net=NetSpec(net=n, shortcut=o, depth=d), seed=s) for n, o, d in kinds for s in range(seeds)]
    return [ended(spec, 1.0 + spec.seed / 9, 8.5 + spec.seed / 9) for spec in specs]


def near() -> list[Run]:
    """Four seeds of plain-20, nearer to one another than the paper's."""
    specs = [RunSpec(net=NetSpec(net="plain", depth=20), seed=seed) for seed in range(4)]
    return [ended(spec, 1.0 + spec.seed / 36, 8.5) for spec in specs]


def said(runs: list[Run]) -> str:
    """All sheets in one string."""
    return markdown(sheets(compare(tables(runs))))


def test_a_study_of_three_seeds_is_answered_in_words(degrade, tmp_path):
    lay(
        [*digits(), ended(RunSpec(data=DataSpec(name="digits"), seed=9), 50.0, 50.0, state="running")],
        tmp_path / "results",
    )
    done = degrade("compare")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert text.startswith("does training error rise with depth? digits-")
    assert "plain degrades: from 8 to 20 layers training error rises by 8.80 points [8." in text
    assert "(3 runs each)." in text
    assert "residual-A does not degrade: from 8 to 20 layers training error falls by 0.10 points [" in text
    assert re.search(r"residual-A 8 to 20 8\.80 -0\.10 8\.90 \[8\.\d\d, 9\.\d\d\]", text)  # the interaction
    assert "not the paper's protocol, so not set beside its numbers: data.name digits (paper: cifar10)" in text
    assert "Table 6" not in text
    assert "not counted, since unfinished: 1 running" in text


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """Runs `degrade compare` in this process and returns what it prints; raises its one-line errors."""
    lay(digits(), tmp_path / "results")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        capsys.readouterr()
        app(["compare", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_programs_get_the_frames(printed):
    expected = compare(tables(digits()))
    read = pd.read_csv(io.StringIO(printed("--format", "csv")))
    assert read.columns.tolist() == list(COLUMNS["verdicts"])
    assert read.difference.tolist() == pytest.approx(expected.verdicts.difference.tolist())
    whole = json.loads(printed("--format", "json"))
    assert set(whole) == set(COLUMNS)
    assert [row["verdict"] for row in whole["verdicts"]] == ["degrades", "within the margin"]
    assert set(json.loads(printed("--format", "json", "--table", "summary"))) == {"summary", "left_out"}


def test_runs_are_chosen_by_net_depth_and_data(printed):
    assert "residual" not in printed("--net", "plain", "--table", "verdicts")
    assert "one depth, 20" in printed("--depth", "20", "--data", "digits")
    wide = printed("--margin", "20", "--format", "markdown", "--table", "verdicts")
    assert "degrades" not in wide
    assert "| 8 to 20 | 8.80 [" in wide


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere: no such results folder"),
        (["--format", "html"], "--format=html: unknown; known: csv, json, latex, markdown, table"),
        (["--table", "verdict"], "--table=verdict: unknown; did you mean 'verdicts'?"),
        (["--format", "csv", "--table", "paper,table6"], "--table=paper,table6: --format=csv writes one table"),
        (["--margin", "0"], "--margin=0: must be above 0 and at most 100 points"),
        (["--width", "nan"], "--width=nan: must be above 0 and at most 100 points"),
        (["--margin", "1e308"], "--margin=1e+308: must be above 0 and at most 100 points"),
        (["--last", "0"], "--last=0: must be at least 1 evaluation"),
        (["--depth", "21"], "--depth=21: no run with a point has it; there is 8, 20"),
        (["--net", "highway"], "--net=highway: no run with a point has it"),
    ],
)
def test_a_mistake_is_one_line(printed, arguments, line):
    with pytest.raises(DegradeError) as caught:
        printed(*arguments)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_point_says_so(degrade, tmp_path):
    (tmp_path / "results" / "runs").mkdir(parents=True)
    done = degrade("compare")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "degrade: results: holds no runs yet; try: degrade sweep study=quickstart\n"


def test_runs_under_way_alone_are_named_and_nothing_is_said():
    assert said([ended(RunSpec(), 50.0, 50.0, state="running")]) == "**not counted, since unfinished: 1 running**"


@pytest.mark.parametrize("columns", ["80", "140"])
def test_nothing_is_cut(capsys, columns, monkeypatch):
    """Every word of every cell is on the screen, in terminals of both widths."""
    runs = [*paper(), *digits(), *digits(seeds=1, lr=0.3)]
    monkeypatch.setattr(terminal, "console", Console(markup=False, width=int(columns)))
    terminal.show(sheets(compare(tables(runs)), list(TABLES)))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= int(columns)
    words = set(shown.split())
    for sheet in sheets(compare(tables(runs)), list(TABLES)):
        for text in (*sheet.heads, *(cell for row in sheet.rows for cell in row), *sheet.notes, sheet.title):
            assert set(text.split()) <= words, text


def test_failed_runs_are_named_with_their_reason():
    given = tables([*digits(), ended(RunSpec(seed=7), 50.0, 50.0, state="failed")])
    without = compare(given._replace(runs=given.runs.drop(columns="reason")))
    assert without.left_out.reason.tolist() == [""]
    runs = given.runs.assign(reason=given.runs.reason.where(given.runs.state != "failed", "no memory"))
    (sheet,) = sheets(compare(given._replace(runs=runs)))[-1:]
    assert (sheet.title, sheet.notes) == (
        "not counted, since unfinished: 1 failed",
        (f"{RunSpec(seed=7).run}: no memory",),
    )


def test_one_depth_has_no_verdict_and_the_reason_is_given():
    text = said([ended(RunSpec(net=NetSpec(net="plain", depth=20), seed=s), 1.0, 9.0) for s in range(3)])
    assert "plain: no verdict, since its runs have one depth, 20; train another." in text


def test_single_seeds_are_marked_in_every_table_that_judges():
    text = said(digits(seeds=1))
    assert "| differs in this one run |" in text
    assert re.search(r"\| 8\.90 \(\S+ \S+\) \|", text)  # the interaction
    assert "plain: no verdict, since a depth with one run is no evidence about depth" in text
    assert "From 8 to 20 layers it differs in this one run: 0.20 % at 8 layers, 9.00 % at 20 (+8.80 points" in text
    assert "residual-A: no verdict" in text
    assert "it is about equal in this one run" in text
    assert "degrades" not in text


def test_open_verdicts_say_how_many_seeds():
    runs = [
        ended(RunSpec(net=NetSpec(net="plain", depth=depth), seed=seed), error, 9.0)
        for depth, errors in ((20, [1.0, 2.0, 3.0]), (32, [2.0, 4.0, 6.0]))
        for seed, error in enumerate(errors)
    ]
    assert re.search(r"20 to 32: about \d+ seeds of each would narrow the interval to ± 1\.5 points", said(runs))
    assert "plain is undecided: from 20 to 32 layers training error changes by +2.00 points [-2.16, 6.16]" in said(runs)


def test_lost_runs_are_named_beside_their_group():
    lost = [ended(RunSpec(seed=1), 90.0, 90.0, state="diverged", outcome="diverged"), ended(RunSpec(), 1.0, 9.0)]
    assert "| residual-A-20 (1 diverged) | 2 |" in said([*lost])


def test_table_6_is_printed_as_in_the_paper():
    text = said(paper(seeds=2))
    assert "| method | # layers | # params | error (%) | ours | runs |" in text
    assert "| ResNet | 110 | 1.7M | 6.43 (6.61±0.16) | 8.50 (8.56±0.08) | 2 |" in text
    assert "| Highway | 19 | 2.3M | 7.54 (7.72±0.16) |  |  |" in text
    assert "| Maxout |  |  | 9.38 |  |  |" in text


def test_the_papers_numbers_are_beside_ours_with_their_band():
    text = said(paper(seeds=2))
    ours = stats.t.ppf(0.975, 1) * (1 / 9) / 2**0.5 * (1 / 5 + 1 / 2) ** 0.5  # wider than the paper's 0.16
    band = f"{6.61 - ours:.2f} to {6.61 + ours:.2f}"
    assert f"| residual-A-110 | 8.56 ± 0.08 | 6.61 | +1.95 | {band} | above |" in text
    assert "| plain-110 | 8.56 ± 0.08 | >60.00 |  |  | below |" in text
    assert "| residual-A-110 | 8.50 | 6.61 | +1.89 | 6.27 to 6.95 | one run, above |" in said(paper(seeds=1))
    assert re.search(r"plain-20 \| 1\.04 ± 0\.04 \| ~1\.40 \| -0\.36 \| 0\.8\d to 1\.9\d \| inside", said(near()))
    assert "the paper has no CIFAR-10 number for this net: residual-B-20, residual-B-110, residual-B-1202." in text


def test_latex_has_no_character_of_its_own_left():
    text = latex(sheets(compare(tables([*paper(), *digits(seeds=1)])), list(TABLES)))
    for command in (r"\begin{table}", r"\end{table}", r"\begin{tabular}", r"\end{tabular}"):
        assert text.count(command) == text.count(r"\begin{table}") > 5
    assert not re.search(r"(?<!\\)[%#_]", text)
    assert "±" not in text
    for row in re.findall(r"^(.*) \\\\$", text, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", row)) in range(3, 9), row
    assert escape_latex("5 % & a_b ~1 <.001 -0.20 [-0.3, 1] 32 - 20 x-1") == (
        r"5 \% \& a\_b \textasciitilde{}1 $<$.001 $-$0.20 [$-$0.3, 1] 32 - 20 x-1"
    )
    assert escape_latex("\\{}^") == r"\textbackslash{}\{\}\textasciicircum{}"


def test_markdown_keeps_its_columns():
    (table,) = (part for part in markdown([Sheet("t", ("a|b", ">n"), [("x|y", "1")])]).split("\n\n") if "---" in part)
    assert table == "| a\\|b | n |\n| --- | ---: |\n| x\\|y | 1 |"


def test_the_page_on_verdicts_names_every_table_verdict_and_format():
    page = (ROOT / "docs" / "verdicts.md").read_text()
    words = (DEGRADES, OVERFITS, GAINS, SAME, OPEN, UNJUDGED, *ONE_RUN, NEVER, PARTLY, SLIGHTLY)
    for word in (*TABLES, *words, *TABLE_FORMATS):
        assert f"`{word}`" in page, word
