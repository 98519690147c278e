"""Who holds a run is a process that no other is taken for; a lock left by a dead one is waited for by nobody."""

import errno
import os
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import pytest
from conftest import tiny
from filelock import FileLock, SoftFileLock

from degrade.errors import RunError
from degrade.store import holder, locks
from degrade.store.folder import RunDir, write_json
from degrade.store.results import make_root
from degrade.store.state import State
from degrade.train.run import run


@pytest.fixture
def gone() -> holder.Holder:
    """A process of this machine that has ended."""
    code = "from degrade.store.holder import this_process; print(this_process())"
    found = holder.parse(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    assert found is not None
    return found


def test_a_process_is_alive_until_it_ends(gone):
    me = holder.this_process()
    assert holder.parse(str(me)) == me
    assert (me.here, me.alive) == (True, True)
    assert (gone.here, gone.alive) == (True, False)


def test_a_number_that_is_used_again_is_another_process(gone):
    """A state 90 days old was running, since some process had its number."""
    again = gone._replace(pid=os.getpid())
    assert not again.alive
    state = State("running", host="any", pid=os.getpid(), holder=str(again), heartbeat=time.time() - 90 * 86_400)
    assert (state.alive, state.elsewhere) == (False, False)


def test_a_state_that_names_a_number_alone_is_believed_while_its_sign_of_life_is_fresh():
    import socket

    state = State("running", host=socket.gethostname(), pid=os.getpid(), heartbeat=time.time())
    assert state.alive
    assert not replace(state, heartbeat=time.time() - 90 * 86_400).alive


def test_two_machines_of_one_name_are_two(tmp_path):
    """Containers and cloned machines share a name, and no locks: both trained the run."""
    spec = tiny()
    make_root(tmp_path)
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir()
    folder.write_state(State("running"))
    said = folder.read(folder.state)
    other = holder.this_process()._replace(place="another boot:1")
    write_json(folder.state, {**said, "holder": str(other)})
    assert folder.read_state().elsewhere
    assert run([spec], tmp_path) == {spec.run: "elsewhere"}
    write_json(folder.state, {**said, "holder": str(other), "heartbeat": time.time() - 1000})
    assert run([spec], tmp_path) == {spec.run: "finished"}


@pytest.mark.parametrize("text", ["", "a/b/c/d", "a/-1/2/3", "a/1/2", f"a/{2**40}/1/x"])
def test_other_texts_are_no_holder(text):
    assert holder.parse(text) is None


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has no locks of its own."""
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("without_locks")
def test_a_lock_that_a_dead_process_left_is_broken_where_there_are_no_locks(tmp_path):
    """It was waited for, for ever."""
    spec = tiny()
    make_root(tmp_path)
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir()
    folder.lock.write_text("")
    with folder.claimed() as mine:
        assert not mine  # another process may have made it this moment
    os.utime(folder.lock, (time.time() - 1000,) * 2)
    with folder.claimed() as mine:
        assert mine
    os.utime(folder.path, None)
    folder.lock.write_text("")
    os.utime(folder.lock, (time.time() - 1000,) * 2)
    folder.write_state(State("running"))
    with folder.claimed() as mine:
        assert not mine  # its process lives


def test_who_is_waited_for_is_said_and_nobody_waits_for_ever(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "SAID_AFTER", 0.05)
    monkeypatch.setattr(locks, "LONGEST", 0.15)
    with FileLock(tmp_path / ".lock"), pytest.raises(TimeoutError, match="remove it if none is at work"):
        locks.wait_for(FileLock(tmp_path / ".lock"), "prepares these pictures")
    said = capsys.readouterr().err
    assert said.count("waiting for another process, which prepares these pictures; it holds") == 1


def test_only_a_lock_that_is_a_file_is_broken(tmp_path):
    (tmp_path / ".lock").write_text("")
    os.utime(tmp_path / ".lock", (0, 0))
    with warnings.catch_warnings():
        assert not locks.break_stale(FileLock(tmp_path / ".lock"), 10)
        assert locks.break_stale(SoftFileLock(tmp_path / ".lock"), 10)


def test_a_results_folder_that_has_gone_is_not_made_again(tmp_path):
    """An unmounted disk left its mount point, and the next runs filled that."""
    spec, root = tiny(), tmp_path / "r"
    make_root(root)
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="No such file or directory; bring it back"):
        run([spec], root, made=True)
    assert not root.exists()
