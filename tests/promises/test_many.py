"""Many runs in one folder. How long they take is measured by `make faults`."""

from promises.faults import many

from degrade.store.results import load


def test_a_parent_holds_no_more_after_many_runs_than_after_a_few(tmp_path):
    first, last = many.of_parent(tmp_path / "results", 40)
    assert first.files == last.files
    assert last.megabytes - first.megabytes < many.GROWTH


def test_many_runs_are_listed_drawn_and_compared(tmp_path, here):
    many.finished(tmp_path, 200)
    assert "200 finished" in here("status", str(tmp_path)).stdout
    assert here("plot", str(tmp_path), "--figure", "fig6").returncode == 0
    assert here("compare", str(tmp_path)).returncode == 0
    assert len(load(tmp_path).curves) == 200 * 3 * many.POINTS
