"""A sample of `make faults`, and each thing that it found broken."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from places import TESTS
from promises.faults import kills

from degrade.data.cache import Cache, Known, key_of
from degrade.errors import DataError, RunError
from degrade.store import files
from degrade.store.clean import waste
from degrade.store.folder import RunDir, write_json
from degrade.store.results import make_root
from degrade.sweep import worker
from degrade.train import run as running
from degrade.train.checkpoint import pack, unpack
from degrade.train.run import run

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="harms forks of itself")
def test_a_sample_of_all_faults_loses_nothing():
    there = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run([sys.executable, "-m", "promises.faults", "67"], env=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 lost" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
def test_a_few_kills_lose_nothing(tmp_path):
    found = kills.campaign(tmp_path, 4)
    assert {moment.victim for moment, _ in found} == {*kills.VICTIMS}
    assert [wrong for _, wrong in found if wrong] == []


def cut_short(root, spec, polls=9) -> RunDir:
    left = iter(range(polls))
    assert run([spec], root, stop=lambda: next(left, None) is None) == {spec.run: "interrupted"}
    return RunDir(root, spec.run)


SPEC = tiny(engine={"checkpoint_every": 2})


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(tmp_path, monkeypatch):
    """It was moved over the generation before it; a kill then left none."""
    folder = cut_short(tmp_path, SPEC)
    folder.checkpoint.write_bytes(b"damaged")
    monkeypatch.setattr(RunDir, "write_checkpoint", lambda self, content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run([SPEC], tmp_path)
    assert unpack(folder.previous.read_bytes())["iteration"] > 0
    assert (folder.path / "checkpoint.pt.damaged").read_bytes() == b"damaged"


def test_no_older_checkpoint_is_used_in_place_of_one_of_a_newer_degrade(tmp_path):
    folder = cut_short(tmp_path, SPEC)
    newer = pack({**unpack(folder.checkpoint.read_bytes()), "format": 99})
    folder.checkpoint.write_bytes(newer)
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*newer degrade; update degrade"):
        run([SPEC], tmp_path)
    assert folder.checkpoint.read_bytes() == newer


@pytest.mark.parametrize("name", ["spec.json", "environment.json", "state.json"])
@pytest.mark.parametrize("content", [b"", b"{}", None], ids=["empty", "nothing", "one bit"])
def test_a_damaged_json_file_is_written_anew_from_what_is_known(tmp_path, capsys, name, content):
    """An empty state.json, as a power cut leaves it, ended the whole sweep."""
    folder = cut_short(tmp_path, SPEC)
    path = folder.path / name
    path.write_bytes(path.read_bytes().replace(b"e", b"d", 1) if content is None else content)
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert f"{name}: cannot be read" in capsys.readouterr().out
    folder.check(folder.read_state())
    assert folder.read_spec() == SPEC


def test_json_that_is_nested_too_deep_is_damaged(tmp_path):
    """It was a traceback of every command."""
    folder = cut_short(tmp_path, SPEC)
    folder.state.write_bytes(b"[" * 200_000)
    assert "nested too deep" in folder.standing().reason


def test_what_the_disk_refuses_is_one_line_with_a_way_out(tmp_path, monkeypatch):
    def refuse(*_):
        raise FULL

    monkeypatch.setattr(running, "record", refuse)
    with pytest.raises(RunError, match=r"No space left on device; make room, .* goes on"):
        run([SPEC], tmp_path)
    assert "No space left" in RunDir(tmp_path, SPEC.run).read_state().reason


def test_a_lock_that_the_disk_refuses_is_what_the_run_failed_of(tmp_path):
    """The sweep ended well, and the run was not trained."""
    RunDir(tmp_path, SPEC.run).lock.mkdir(parents=True)
    with pytest.raises(RunError, match="Is a directory"):
        run([SPEC], tmp_path)
    state = RunDir(tmp_path, SPEC.run).read_state()
    assert (state.name, "directory" in state.reason) == ("failed", True)


def test_where_the_state_cannot_be_written_either_the_first_error_is_heard(tmp_path, monkeypatch, capsys):
    write_state = RunDir.write_state

    def refuse(self, state):
        if state.name == "failed":
            raise OSError(errno.EIO, "Input/output error")
        write_state(self, state)

    def full(*_):
        raise FULL

    monkeypatch.setattr(running, "resume", full)
    monkeypatch.setattr(RunDir, "write_state", refuse)
    with pytest.raises(RunError, match="No space left on device"):
        run([SPEC], tmp_path)
    assert "state.json: not written ([Errno 5] Input/output error): failed" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_where_the_log_cannot_take_that_either_the_first_error_is_heard(tmp_path, monkeypatch):
    folder = RunDir(tmp_path, SPEC.run)  # which is not there: no state can be written
    with Path("/dev/full").open("wb", buffering=0) as raw:
        full = io.TextIOWrapper(raw, write_through=True)
        monkeypatch.setattr(sys, "stdout", full)
        folder.leave("failed", "of its own")
        with pytest.raises(OSError, match="No space left"):
            print("it is full")
        full.detach()


def test_a_file_that_can_be_neither_written_nor_removed_says_why_it_could_not_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(TypeError):
        files.write(tmp_path / "file", "not bytes")


def test_a_log_that_cannot_be_opened_is_the_reason_of_the_failure(tmp_path):
    """The worker died, and nobody said of what."""
    folder = RunDir(tmp_path, SPEC.run)
    folder.log.mkdir(parents=True)
    report = worker.work([SPEC], tmp_path, lambda: False, "")
    assert report.fit
    assert "log.txt: Is a directory" in report.reason
    assert "log.txt: Is a directory" in folder.read_state().reason


def test_a_log_on_a_full_disk_hides_no_reason(tmp_path, monkeypatch):
    """What the run failed of was lost to what the log could not take."""
    folder, stdout, stderr = RunDir(tmp_path, SPEC.run), os.dup(1), os.dup(2)
    make_root(tmp_path)

    def break_off(*_, **__):
        os.dup2(full, 1)
        os.dup2(full, 2)
        print("the last words")
        raise RunError("of its own")

    monkeypatch.setattr(running, "run", break_off)
    monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
    monkeypatch.setattr(sys, "stderr", os.fdopen(2, "w", buffering=1, closefd=False))
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        report = worker.work([SPEC], tmp_path, lambda: False, "")
    finally:
        for kept, stream in ((stdout, 1), (stderr, 2)):
            os.dup2(kept, stream)
            os.close(kept)
        os.close(full)
    assert report.reason == "of its own"
    assert folder.try_read_state().name != "failed"  # `run` has said so itself


def test_clean_offers_no_result_that_can_be_mended_and_nothing_of_a_newer_degrade(tmp_path):
    run([SPEC], tmp_path)
    folder = RunDir(tmp_path, SPEC.run)
    folder.curve.write_bytes(b"damaged")
    assert waste(tmp_path, failed=True, orphaned=True, days=None) == []
    write_json(folder.state, {"format": 99})
    assert waste(tmp_path, failed=True, orphaned=True, days=None) == []


KEY = key_of("pictures")


def test_a_note_of_the_cache_that_the_disk_refuses_is_one_line(tmp_path, user, monkeypatch):
    """A traceback ended the sweep."""
    cache = Cache(tmp_path)

    def refuse(*_, **__):
        raise FULL

    monkeypatch.setattr("degrade.data.cache.write", refuse)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); make room"):
        cache.known(KEY, lambda: Known("content"))


def test_what_a_dead_process_left_beside_the_notes_of_the_cache_goes(tmp_path, user):
    cache = Cache(tmp_path)
    left = cache.notes / ".key.json-1.tmp"
    cache.notes.mkdir(parents=True, exist_ok=True)
    left.touch()
    cache.known(KEY, lambda: Known("content"))
    assert not left.exists()


def test_a_flipped_bit_in_a_note_of_the_cache_is_noticed(tmp_path, user):
    """The name of a picture that was left out could change."""
    cache, pixels = Cache(tmp_path), np.zeros((2, 3, 4, 4), np.uint8)
    with cache.draft() as draft:
        for split in ("train", "test"):
            draft.add(split, iter(pixels))
        content = draft.publish({split: np.zeros(2, np.int64) for split in ("train", "test")}, ("cat",))
    cache.remember(KEY, Known(content, ("bad.png",)))
    assert cache.recall(KEY, partial=True) == Known(content, ("bad.png",))
    note = cache.notes / f"{KEY}.json"
    note.write_bytes(note.read_bytes().replace(b"bad.png", b"bae.png"))
    assert cache.recall(KEY, partial=True) is None


@pytest.mark.parametrize("header", [b"`", b"("], ids=["SyntaxError", "TokenError"])
def test_pixels_whose_header_numpy_takes_for_broken_python_are_damaged(tmp_path, header):
    """What numpy raises was not a ValueError, and ended the sweep."""

    cache = Cache(tmp_path)
    with cache.draft() as draft:
        for split in ("train", "test"):
            draft.add(split, iter(np.zeros((2, 3, 4, 4), np.uint8)))
        content = draft.publish({split: np.array([0, 1]) for split in ("train", "test")}, ("cat", "dog"))
    path = cache.home / content / "train-pixels.npy"
    damaged = bytearray(path.read_bytes())
    damaged[100:101] = header
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged in"):
        cache.load(content)
