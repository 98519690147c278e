"""What can befall a worker while it trains: the other runs finish, and the one can be done again."""

from pathlib import Path

import processes
import pytest
from processes import KEYS, PATIENCE, begin, results, states

from degrade.train.checkpoint import unpack

SEEDS = [
    *KEYS[:-2],
    "net=plain",
    "depth=8",
    "seed=0,1,2",
    "jobs=2",
    "recipe.iterations=60",
    "engine.checkpoint_every=5",
]
STRICKEN = Path(processes.__file__).with_name("stricken.py")
REASONS = {
    "SIGSEGV": "worker died (SIGSEGV)",
    "exit": "worker died (exit code 3)",
    "MemoryError": "MemoryError",
    "CUDA": "OutOfMemoryError: CUDA out of memory",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    assert begin(root, *SEEDS).wait(PATIENCE) == 0
    return results(root)


@pytest.mark.parametrize("harm", REASONS)
def test_one_run_that_dies_is_named_and_redone_by_itself(tmp_path, undisturbed, harm):
    root, mark = tmp_path / "results", tmp_path / "mark"
    root.mkdir()
    there = {"HARM": harm, "MARK": str(mark)}
    assert begin(root, *SEEDS, program=STRICKEN, more=there).wait(PATIENCE) == 1
    output = (root / "output").read_text()
    (victim,) = [run for run, state in states(root).items() if state["state"] == "failed"]
    assert f"failed: {victim}: {REASONS[harm]}" in output
    assert "Traceback" not in output
    assert sorted(state["state"] for state in states(root).values()) == ["failed", "finished", "finished"]
    others = [path for path in root.glob("runs/*/*") if path.parent.name != victim]
    before = {path: path.stat().st_mtime_ns for path in others}
    assert unpack((root / "runs" / victim / "checkpoint.pt").read_bytes())["iteration"] >= 5
    mark.touch()
    assert begin(root, *SEEDS, "--retry-failed", program=STRICKEN, more=there).wait(PATIENCE) == 0
    assert results(root) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert '"resumed"' in (root / "runs" / victim / "environment.json").read_text()


def test_what_breaks_a_pack_is_found_by_trying_its_runs_one_by_one(tmp_path, undisturbed):
    keys = [*(word for word in SEEDS if not word.startswith("jobs=")), "jobs=1", "engine.runs_per_gpu=3"]
    there = {"HARM": "MemoryError", "MARK": str(tmp_path / "mark")}
    assert begin(tmp_path, *keys, program=STRICKEN, more=there).wait(PATIENCE) == 1
    (victim,) = [run for run, state in states(tmp_path).items() if state["state"] == "failed"]
    assert f"failed: {victim}: MemoryError" in (tmp_path / "output").read_text()
    assert "Traceback" in (tmp_path / "runs" / victim / "log.txt").read_text()
    done = results(tmp_path)
    assert {run: done[run] for run in done if run != victim} == {r: undisturbed[r] for r in undisturbed if r != victim}
