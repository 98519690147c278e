import io
import json
import time

import pytest
from conftest import tiny
from ended import SPEC, finished

from degrade.errors import RunError
from degrade.store.clean import remove, waste
from degrade.store.folder import RunDir, write_json
from degrade.store.results import make_root
from degrade.store.state import State


def make(root, state, seed, age=0.0):
    spec = tiny(seed=seed)
    make_root(root)
    folder = RunDir(root, spec.run)
    with folder.claimed():
        folder.begin(spec, {})
        folder.write_state(State(state, reason="why not"))
    said = json.loads(folder.state.read_text())
    write_json(folder.state, {**said, "heartbeat": time.time() - age * 86_400})
    return folder


def names(found):
    return {each.folder.run for each in found}


def test_each_kind_of_waste_is_found_by_its_own_flag(tmp_path):
    failed, old = make(tmp_path, "failed", 0), make(tmp_path, "finished", 1, age=40)
    make(tmp_path, "finished", 2)
    (tmp_path / "runs" / "junk").mkdir()
    assert names(waste(tmp_path, failed=True, orphaned=False, days=None)) == {failed.run}
    assert names(waste(tmp_path, failed=False, orphaned=True, days=None)) == {"junk"}
    assert names(waste(tmp_path, failed=False, orphaned=False, days=30)) == {old.run}


def test_a_run_that_cannot_be_read_is_waste_too(tmp_path):
    folder = make(tmp_path, "finished", 0)
    folder.state.write_text("[]")
    (found,) = waste(tmp_path, failed=True, orphaned=False, days=None)
    assert found.why.startswith("damaged: ")


def test_what_is_removed_is_gone_and_the_rest_stays(tmp_path):
    failed, kept = make(tmp_path, "failed", 0), make(tmp_path, "finished", 1)
    assert remove(waste(tmp_path, failed=True, orphaned=True, days=None)) == 1
    assert not failed.path.exists()
    assert kept.curve.parent.exists()


def test_a_run_that_is_held_is_never_touched(tmp_path):
    folder = make(tmp_path, "running", 0, age=40)
    with folder.claimed():
        assert waste(tmp_path, failed=True, orphaned=True, days=1) == []
    folder.write_state(State("interrupted"))
    said = json.loads(folder.state.read_text())
    write_json(folder.state, {**said, "heartbeat": time.time() - 40 * 86_400})
    found = waste(tmp_path, failed=False, orphaned=False, days=1)
    with folder.claimed():
        assert remove(found) == 0
    assert folder.path.exists()


def test_a_run_that_was_done_since_it_was_listed_is_not_removed(tmp_path):
    folder = make(tmp_path, "failed", 0)
    found = waste(tmp_path, failed=True, orphaned=False, days=None)
    folder.write_state(State("finished"))
    assert remove(found) == 0
    assert folder.path.exists()


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(RunError, match="has no runs/ folder"):
        waste(tmp_path, failed=True, orphaned=False, days=None)


MODES = (  # every set of flags that `degrade clean` takes
    ["--failed"],
    ["--orphaned"],
    ["--failed", "--orphaned"],
    ["--older-than", "30"],
    ["--failed", "--orphaned", "--older-than", "30"],
)
HARMED = {  # what became of a finished run since
    "nothing": lambda folder: None,
    "the curve is damaged": lambda folder: folder.curve.write_bytes(b"damaged"),
    "the curve is gone": lambda folder: folder.curve.unlink(),
    "the state is damaged": lambda folder: folder.state.write_bytes(b"damaged"),
    "the state is empty": lambda folder: folder.state.write_bytes(b""),
    "the state is gone": lambda folder: folder.state.unlink(),
    "the state is of a newer degrade": lambda folder: write_json(folder.state, {"format": 99}),
    "state and curve are gone": lambda folder: (folder.state.unlink(), folder.curve.unlink()),
    "the checkpoints are gone": lambda folder: [path.unlink(missing_ok=True) for path in folder.checkpoints],
}


@pytest.mark.parametrize("harm", HARMED)
@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_no_mode_takes_the_spec_of_a_run_with_results(here, tmp_path, mode, harm):
    """Damaged results are results: the sweep mends them, or says why it cannot."""
    folder = finished(tmp_path)
    HARMED[harm](folder)
    left = {path.name for path in folder.path.iterdir()}
    done = here("clean", str(tmp_path), "--yes", *mode)
    assert done.returncode == 0, done.stderr
    assert "nothing to remove" in done.stdout
    assert {path.name for path in folder.path.iterdir()} - {".lock"} == left - {".lock"}
    assert folder.read_spec() == SPEC


def test_without_its_spec_a_run_with_results_stays_too(here, tmp_path):
    folder = finished(tmp_path)
    folder.spec.unlink()
    for mode in MODES:
        assert here("clean", str(tmp_path), "--yes", *mode).returncode == 0
    assert folder.curve.exists()
    assert folder.checkpoint.exists()


@pytest.mark.parametrize(
    ("state", "age", "mode"),
    [
        ("failed", 0, ["--failed"]),
        ("failed", 40, ["--older-than", "30"]),
        ("interrupted", 40, ["--older-than", "30"]),
        ("finished", 40, ["--older-than", "30"]),
    ],
)
def test_what_a_mode_promises_to_remove_goes_with_its_spec(here, tmp_path, state, age, mode):
    folder, kept = make(tmp_path, state, 0, age), make(tmp_path, "interrupted", 1)
    assert folder.spec.exists()
    done = here("clean", str(tmp_path), "--yes", *mode)
    assert (done.returncode, "1 removed" in done.stdout) == (0, True), done.stderr
    assert not folder.path.exists()
    assert kept.spec.exists()


def test_without_a_yes_nothing_goes(here, tmp_path, monkeypatch):
    folder = make(tmp_path, "failed", 0)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert here("clean", str(tmp_path), "--failed").returncode == 0
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = here("clean", str(tmp_path), "--failed")
    assert (done.returncode, "nobody answered" in done.stderr) == (2, True)
    assert folder.spec.exists()
