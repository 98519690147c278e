import json
import time

import pytest
from conftest import tiny

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
