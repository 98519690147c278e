"""What is certain after a power cut, by a model of a disk (promises/faults/storage.py); and that the model loses."""

import json
import os
from pathlib import Path
from random import Random

from promises.faults.children import child
from promises.faults.power import Recorder, Recording, replay
from promises.faults.storage import PAGE, Disk

from degrade.store.files import clear_drafts, make_folder, write
from degrade.store.folder import RunDir
from degrade.train.backends.native.shelf import Shelf

CUTS = 60  # seeds of each
CONTENTS = (b"first", b"second", b"third")


def outcomes(disk: Disk, place: Path, name: str) -> set[bytes | None]:
    """What a file may hold after a power cut; None: it is not there."""
    found = set[bytes | None]()
    for seed in range(CUTS):
        target = place / f"cut-{seed}"
        disk.cut(target, Random(seed))
        found.add((target / name).read_bytes() if (target / name).exists() else None)
    return found


def recorded(base: Path, work) -> Recording:
    """What some work in a process of its own does to files under a folder."""
    base.mkdir(exist_ok=True)

    def watched() -> str:
        shim = Recorder(base)
        shim.seen = shim.done
        shim.install()
        work()
        return json.dumps([shim.events, shim.operations])

    code, said = child(watched)
    assert code == 0, said
    events, operations = json.loads(said)
    return Recording([tuple(event) for event in events], operations, [])


def test_any_page_that_was_not_flushed_may_be_lost(tmp_path):
    disk = Disk()
    disk.open(1, "file", empty=False)
    disk.write(1, 0, b"a" * PAGE)
    disk.fsync("file")
    disk.fsync("")
    disk.write(1, 0, b"b" * 2 * PAGE)
    found = outcomes(disk, tmp_path, "file")
    assert {b"a" * PAGE, b"b" * PAGE, b"a" * PAGE + b"b" * PAGE, b"b" * 2 * PAGE, b"a" * PAGE + bytes(PAGE)} <= found
    disk.fsync("file")
    assert outcomes(disk, tmp_path, "file") == {b"b" * 2 * PAGE}


def test_any_name_that_was_not_flushed_may_be_lost_and_names_change_places(tmp_path):
    disk = Disk()
    for number, name in enumerate(("old", "new")):
        disk.open(number, name, empty=False)
        disk.write(number, 0, name.encode())
        disk.fsync(name)
    assert outcomes(disk, tmp_path / "1", "old") == {b"old", None}
    disk.fsync("")
    disk.rename("old", "kept")
    disk.rename("new", "old")
    assert outcomes(disk, tmp_path / "2", "old") == {b"old", b"new", None}  # the second rename alone: kept is not there
    assert outcomes(disk, tmp_path / "2", "kept") == {b"old", None}
    disk.fsync("")
    assert outcomes(disk, tmp_path / "3", "old") == {b"new"}


def test_what_was_written_is_certain(tmp_path):
    base = tmp_path / "base"

    def work() -> None:
        make_folder(base / "some" / "place")
        write(base / "some" / "place" / "file", b"x" * 3 * PAGE)

    done = recorded(base, work)
    assert outcomes(replay(done, len(done.events)), tmp_path, "some/place/file") == {b"x" * 3 * PAGE}
    assert len(outcomes(replay(done, len(done.events) - 2), tmp_path / "before", "some/place/file")) > 1


def test_a_checkpoint_is_certain_from_the_moment_it_is_written(tmp_path):
    base = tmp_path / "base"
    make_folder(base / "runs")
    folder = RunDir(base, "run")

    def work() -> None:
        with folder.claimed():
            for content in CONTENTS:
                folder.write_checkpoint(content)

    done = recorded(base, work)
    certain = [at for at, (kind, path) in enumerate(done.events) if (kind, path) == ("fsync", "runs/run")]
    assert len(certain) == 3
    for event in range(certain[0], len(done.events)):
        written = sum(at <= event for at in certain)  # so many are certain
        disk = replay(done, event)
        for seed in range(10):
            disk.cut(target := tmp_path / f"{event}-{seed}", Random(seed))
            there = [target / "runs" / "run" / path.name for path in (folder.checkpoint, folder.previous)]
            newest = max(CONTENTS.index(path.read_bytes()) for path in there if path.exists())
            assert newest >= written - 1


def test_what_a_dead_process_was_writing_goes(tmp_path):
    folder = RunDir(tmp_path, "run")
    folder.path.mkdir(parents=True)
    shelf = Shelf(tmp_path / "kernels")
    for place in (folder.path / ".state.json-1.tmp", shelf.path / ".fp32-abc.so.ok-1.tmp"):
        place.write_bytes(b"half")
    with folder.claimed(), shelf.locked("fp32-abc.so"):
        assert not [*tmp_path.rglob("*.tmp")]
    shelf.close()


def test_so_does_what_a_dead_plot_was_writing_and_no_draft_of_now(tmp_path):
    old, new = (tmp_path / f".fig1.png-1-{'a' * 8}-{mark * 16}.tmp" for mark in "bc")
    mine = tmp_path / ".notes.tmp"
    for path in (old, new, mine):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    os.utime(mine, (1e9, 1e9))
    clear_drafts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, mine])
