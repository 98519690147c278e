"""What people are told of folders whose truth is known: each stands for a kind of study that is easily misread."""

import re
from pathlib import Path

import pytest
from generated import Run, lay

from degrade.analysis.compare import compare
from degrade.spec import RunSpec, parse
from degrade.store.results import board, load
from degrade.views.compare import sheets
from degrade.views.sheets import markdown
from degrade.views.tables import ends

IMAGES = {"train": 50_000, "train_clean": 50_000, "test": 10_000}
LOST, IDLE, LATE, BROKEN = "diverged", "not started", "interrupted", "failed"
Errors = list[float | tuple[float, str]]  # of the seeds; with what became of a run


def spec_of(net: str, depth: int, seed: int, **more: object) -> RunSpec:
    data = {"name": "cifar10", "content": "0123456789abcdef"}
    return parse({"net": net, "depth": depth, "seed": seed, "data": data, **more})


def study(cells: dict[tuple[str, int], Errors], **more: object) -> list[Run]:
    """Runs by net and depth; test errors are three points higher."""
    found: list[Run] = []
    for (net, depth), errors in cells.items():
        for seed, each in enumerate(errors):
            error, end = each if isinstance(each, tuple) else (each, "")
            splits = {"train_clean": (error,), "test": (min(error + 3, 90.0),), "train": (error + 1,)}
            state = end if end in (LOST, LATE, BROKEN) else "finished"
            outcome = end if end in (LOST, IDLE) else ""
            found.append(Run(spec_of(net, depth, seed, **more), splits, state, outcome, IMAGES))
    return found


def tell(runs: list[Run], root: Path, **options: object) -> str:
    """What `degrade compare` prints of a folder, as one line of plain text."""
    lay(runs, root)
    return " ".join(markdown(sheets(compare(load(root), **options))).replace("\\", "").split())


ROWS: dict[str, tuple[dict[tuple[str, int], Errors], list[str], list[str]]] = {
    "one seed each": (
        {("plain", 20): [5.0], ("plain", 56): [6.1]},
        ["plain: no verdict", "it differs in this one run", "interval over images alone [0.82, 1.38]", "no evidence"],
        ["degrades", "rises", "p "],
    ),
    "five and one": (
        {("plain", 20): [3.0, 4.0, 5.0, 6.0, 7.0], ("plain", 56): [7.0]},
        ["differs in this one run", "0.19 to 9.81 % (95 % prediction", "one run of 56 layers is within that"],
        ["degrades", "rises", "[1.71, 2.29]"],
    ),
    "all at chance": (
        {("plain", d): [(90.0, IDLE)] * 3 for d in (20, 56, 110)},
        ["plain cannot be judged: all 9 runs failed to train"],
        ["does not degrade", "better", "within the margin"],
    ),
    "at chance by its error alone": (
        {("plain", d): [89.9, 90.0, 90.1] for d in (20, 56)},
        ["plain cannot be judged"],
        ["does not degrade"],
    ),
    "the shallowest diverged": (
        {("plain", 20): [(90.0, LOST)] * 3, ("plain", 56): [5.0, 5.1, 5.2]},
        ["plain cannot be judged from 20 layers: all 3 runs failed to train"],
        ["better", "does not degrade"],
    ),
    "the shallowest diverged and others did not": (
        {("plain", 20): [(90.0, LOST)] * 3, ("plain", 56): [5.0, 5.1, 5.2], ("plain", 110): [60.0, 61.0, 62.0]},
        ["plain cannot be judged from 20 layers", "Without 20 layers it degrades: from 56 to 110 layers"],
        ["better"],
    ),
    "three of five never start": (
        {("plain", 20): [5.0, 5.1, 5.2, 4.9, 5.0], ("plain", 56): [(90.0, IDLE), 5.1, (90.0, IDLE), 5.0, (90.0, IDLE)]},
        [
            "plain is undecided: 3 of 5 runs of 56 layers fail to train, 0 of 5 runs of 20 layers",
            "20 layers 0 of 5 (a share of 0 to 52 %), 56 layers 3 of 5 (a share of 15 to 95 %)",
            "That 56 layers fail more often than 20: p .077 by that alone (Boschloo, corrected)",
            "5.04 % (20 layers, 5 of 5 runs), 5.05 % (56 layers, 2 of 5 runs)",
        ],
        ["does not degrade", "plain degrades"],
    ),
    "all deep runs fail": (
        {("plain", 20): [5.0, 5.1, 5.2], ("plain", 56): [(90.0, LOST)] * 3},
        ["plain degrades: from 20 to 56 layers", "56 layers 3 of 3"],
        [],
    ),
    "runs are missing": (
        {("plain", 20): [5.0, 5.1, 5.2], ("plain", 56): [5.0, 5.1, (40.0, LATE), (60.0, BROKEN)]},
        ["Unfinished, and not counted: 2 runs of 56 layers (1 failed with an error, 1 interrupted)"],
        [],
    ),
    "the deepest net has one run": (
        {("plain", 20): [5.0, 5.1, 5.2], ("plain", 32): [5.0, 5.1, 5.2], ("plain", 56): [60.0]},
        [
            "plain does not degrade up to 32 layers: from 20 to 32 layers",
            "56 layers +54.9, differs in this one run: one more run of 20 layers would end at 4.60 to 5.60 %",
        ],
        ["from 20 to 56 layers"],
    ),
    "twenty times as many mistakes": (
        {("residual", 20): [0.02, 0.018, 0.022], ("residual", 56): [0.40, 0.38, 0.42]},
        ["residual-A rises by less than 0.5 points: from 20 to 56 layers", "20.0 times as many mistakes"],
        ["residual-A degrades", "does not degrade", "no difference"],
    ),
    "small rises": (
        {("plain", d): [e - 0.02, e, e + 0.02] for d, e in ((20, 5.0), (32, 5.15), (44, 5.3), (56, 5.45))},
        [
            "plain is undecided: from 20 to 56 layers training error rises by 0.45 points [0.22, 0.68]",
            "whether by more than the margin of 0.5 points is open",
            "Trend over 20, 32, 44 and 56 layers: +0.30",
        ],
        ["no degradation found", "does not degrade"],
    ),
    "up and down": (
        {("plain", d): [e - 0.1, e, e + 0.1] for d, e in ((20, 7.0), (32, 10.0), (44, 5.0), (56, 4.0))},
        [
            "plain degrades at 32 layers, not at 56, the deepest: from 20 to 32 layers training error rises by 3.00",
            "From 20 to 56 layers, the deepest, training error falls by 3.00 points",
            "44 layers -2.00 [-2.24, -1.76], better",
            "a straight line over depth would mislead",
        ],
        ["Trend"],
    ),
    "a seed far out": (
        {("residual", 20): [5.0, 5.1, 5.2, 4.9, 5.0], ("residual", 56): [5.0, 5.1, 12.0, 4.9, 5.0]},
        ["residual-A is undecided", "of 56 layers seed 2 at 12.00 % (the others that trained: 5.00 % on average)"],
        ["does not degrade"],
    ),
    "open by the correction alone": (
        {("plain", 20): [5.0, 5.1], ("plain", 56): [(90.0, LOST)] * 2},
        ["plain is undecided: 2 of 2 runs of 56 layers fail", "above the margin of 0.5 points, but not decided after"],
        ["neither shown nor excluded"],
    ),
    "single runs beside a net that diverged": (
        {("plain", 20): [(90.0, LOST)] * 3, ("plain", 32): [5.0], ("plain", 56): [60.0]},
        ["From 32 to 56 layers it differs in this one run", "20 layers 3 of 3"],
        ["degrade"],
    ),
    "unequal schedules": (
        {(net, d): [5.0, 5.1, 5.2] for net in ("plain", "residual") for d in (20, 110)},
        ["Only 110 layers warm up, so this is not depth alone", "only residual-A-110 warmed up", "mixed with warm-up"],
        [],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_folder_is_told_as_a_careful_scientist_would(row, tmp_path):
    cells, said, unsaid = ROWS[row]
    text = tell(study(cells), tmp_path)
    story = text[: text.index("clean training error at the last iterate")]
    for words in said:
        assert words in text, text
    for words in unsaid:
        assert words not in story, story


def test_nothing_is_said_of_schedules_that_are_alike(tmp_path):
    cells = {(net, d): [5.0, 5.1, 5.2] for net in ("plain", "residual") for d in (20, 110)}
    assert "warms up all" not in tell(study(cells, recipe={"warmup": "on"}), tmp_path)


def test_odds_are_told_if_they_decide(tmp_path):
    cells: dict[tuple[str, int], Errors] = {("residual", 20): [0.02, 0.018, 0.022], ("residual", 56): [0.4, 0.38, 0.42]}
    text = tell(study(cells), tmp_path, scale="odds")
    assert re.search(
        r"residual-A degrades: from 20 to 56 layers the odds of a training mistake are 19\.2 times as great \[9\.",
        text,
    )


def test_an_interaction_with_a_net_that_failed_has_no_number(tmp_path):
    cells: dict[tuple[str, int], Errors] = {
        ("plain", 20): [(90.0, IDLE)] * 3,
        ("plain", 56): [(90.0, IDLE)] * 3,
        ("residual", 20): [5.0, 5.1, 5.2],
        ("residual", 56): [5.0, 5.1, 5.2],
    }
    text = tell(study(cells), tmp_path)
    assert "cannot be judged: plain-56, plain-20 failed to train |" in text
    assert compare(load(tmp_path)).interaction.interaction.isna().all()


def test_a_sweep_of_single_seeds_ends_with_what_differs_and_names_the_seeds(tmp_path):
    runs = study({("plain", 20): [5.0], ("plain", 56): [60.0]})
    lay(runs, tmp_path)
    specs = [run.spec for run in runs] + [spec_of("plain", 110, 0)]
    first, second, *_ = ends(specs, board(specs, tmp_path), tmp_path, "degrade sweep study=quickstart3")
    assert "it differs in this one run: 5.00 % at 20 layers, 60.00 % at 56" in first.notes[0]
    assert "Unfinished, and not counted: 1 run of 110 layers (1 new)" in first.notes[0]
    assert second.lines == ("Several seeds, for a verdict: degrade sweep study=quickstart3",)


def test_a_sweep_of_several_seeds_begins_its_end_with_the_verdict(tmp_path):
    runs = study({("plain", 20): [5.0, 5.1], ("plain", 56): [60.0, 60.2]})
    lay(runs, tmp_path)
    specs = [run.spec for run in runs]
    first, second, *_ = ends(specs, board(specs, tmp_path), tmp_path, "degrade sweep study=quickstart3")
    assert first.notes[0].startswith("plain degrades: from 20 to 56 layers training error rises by 55.")
    assert second.title.startswith("error at the last point")


def test_overfitting_is_told_where_training_error_hides_it(tmp_path):
    runs = study({("plain", 20): [5.0, 5.1, 5.2], ("plain", 56): [5.0, 5.1, 5.2]})
    for run in runs[3:]:
        run.errors = {**run.errors, "test": (run.errors["test"][0] + 4,)}
    assert "Test error changes by +4.00 [3." in (text := tell(runs, tmp_path))
    assert "points: it overfits." in text


def test_trimmed_means_are_told_only_where_they_leave_open_what_means_decide(tmp_path):
    """Both intervals lie below the margin: nothing is odd there."""
    shape = [-1.5, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 1.5]
    same: Errors = [5 + 0.6 * each for each in shape]
    both_open: Errors = [4.65 + 0.6 * each for each in shape]
    text = tell(study({("plain", 20): same, ("plain", 56): both_open}), tmp_path / "both")
    assert "trimmed means" not in text
    bulk: Errors = [*[6.0] * 24, *[4.9] * 6]  # of these means are pulled below the margin, trimmed means are not
    text = tell(study({("plain", 20): [5.0] * 30, ("plain", 56): bulk}), tmp_path / "odd", margin=0.97)
    assert "56 against 20 layers: the interval of trimmed means is another, [0.9" in text


def test_a_run_without_one_of_the_two_errors_is_left_out(tmp_path):
    runs = study({("plain", 20): [5.0, 5.1], ("plain", 56): [5.0, 5.1, 5.2]})
    runs[-1].errors = {"train_clean": runs[-1].errors["train_clean"]}
    text = tell(runs, tmp_path)
    assert "Unfinished, and not counted: 1 run of 56 layers (1 without a curve)" in text
