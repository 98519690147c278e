"""What a sweep shows at its end."""

from generated import Run, lay

from degrade.spec import NetSpec, RunSpec
from degrade.store.results import board
from degrade.views.steps import loudness
from degrade.views.tables import ends
from degrade.views.tables import runs as planned


def run(seed: int, error: float, state: str = "finished") -> Run:
    spec = RunSpec(net=NetSpec(net="plain"), seed=seed)
    return Run(spec, dict.fromkeys(("train", "train_clean", "test"), (error,)), state)


def test_errors_are_means_over_runs_that_are_over_and_the_others_are_counted(tmp_path):
    """Interrupted runs were averaged with finished ones: 35.53 ± 47."""
    runs = [run(0, 2.0), run(1, 4.0, "diverged"), run(2, 90.0, "interrupted"), run(3, 80.0, "failed")]
    lay(runs, tmp_path)
    specs = [each.spec for each in runs]
    errors, count, failed = ends(specs, board(specs, tmp_path), tmp_path)
    assert errors.rows == [("plain", "none", "20", *["3.00 ± 1.41"] * 3, "")]
    assert errors.records[0]["seeds"] == 2
    assert count.lines == (f"1 of 4 runs finished in {tmp_path}/; 1 diverged, 1 failed, 1 interrupted",)
    assert [record["state"] for record in failed.records] == ["failed"]


def test_a_sweep_of_which_no_run_is_over_has_no_errors(tmp_path):
    runs = [run(0, 90.0, "interrupted")]
    lay(runs, tmp_path)
    specs = [runs[0].spec, run(1, 0.0).spec]
    count, failed = ends(specs, board(specs, tmp_path), tmp_path)
    assert count.lines == (f"0 of 2 runs finished in {tmp_path}/; 1 interrupted, 1 new",)
    assert failed.records == []


def test_a_long_list_is_cut_and_says_how_it_is_shown_whole(tmp_path, monkeypatch):
    specs = [RunSpec(seed=seed) for seed in range(45)]
    sheet = planned(len(specs), specs, board(specs, tmp_path), tmp_path)
    assert len(sheet.rows) == 40
    assert len(sheet.records) == 45
    assert any("and 5 more; --verbose shows all" in line for line in (*sheet.notes, *sheet.lines))
    monkeypatch.setattr(loudness, "verbose", True)
    sheet = planned(len(specs), specs, board(specs, tmp_path), tmp_path)
    assert len(sheet.rows) == 45
    assert not any("more" in line for line in (*sheet.notes, *sheet.lines))
