"""Real disks that are full or read-only, folders that may not be written or go away: one line, and nothing lost.

After each the fault is mended, and the same command must end with the results of an undisturbed sweep. Disks are
mounted in a namespace of their own, which ends with the command.
"""

import re
import subprocess
import sys
from pathlib import Path

import apart
import pytest
from processes import BOUND, DEGRADE, KEYS, PATIENCE, begin, bound, results, states, until

from degrade.train.checkpoint import unpack

RUNS = [*KEYS, "depth=8", "recipe.iterations=200", "engine.checkpoint_every=20", "jobs=1"]
LONG = [
    *KEYS,
    "depth=8",
    "recipe.iterations=1500",
    "engine.checkpoint_every=20",
    "jobs=2",
]  # enough to be met under way
APART = Path(apart.__file__)


def can_mount() -> bool:
    return subprocess.run([sys.executable, str(APART), "try"], capture_output=True).returncode == 0


mounts = pytest.mark.skipif(not can_mount(), reason="may not mount a disk of its own here")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    assert begin(root, *RUNS).wait(PATIENCE) == 0
    return root


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("long")
    assert begin(root, *LONG).wait(2 * PATIENCE) == 0
    return root


def expect_goes_on(root: Path, whole: Path) -> None:
    """The same command, now that nothing is in its way, ends as if nothing had ever been."""
    assert begin(root, *RUNS).wait(PATIENCE) == 0, (root / "output").read_text()
    assert results(root) == results(whole)
    assert not list(root.rglob("*.tmp"))


@mounts
def test_a_full_disk_is_one_line_and_the_sweep_goes_on_once_there_is_room(degrade, tmp_path, whole):
    """Room is made little by little; each time the sweep comes a bit further, and leaves what can be gone on from."""
    (tmp_path / "disk").mkdir()
    done = degrade("full", str(tmp_path / "disk"), str(tmp_path), *RUNS, program=APART)
    print(done.stdout, done.stderr)
    codes = re.findall(r"code (\d+)", done.stdout)
    assert all(code in ("1", "2") for code in codes[:-1])
    assert (len(codes), codes[-1]) == (len(apart.ROOMS) + 1, "0")
    assert "Traceback" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("No space left on device") >= len(apart.ROOMS)
    assert results(tmp_path / str(apart.SIZE)) == results(whole)
    assert not list((tmp_path / str(apart.SIZE)).rglob("*.tmp"))
    kept = [list((tmp_path / room).glob("runs/*/checkpoint*.pt")) for room in map(str, apart.ROOMS)]
    assert any(kept)  # with the most room there is a checkpoint
    for room, paths in zip(map(str, apart.ROOMS), kept, strict=True):
        for path in paths:
            assert unpack(path.read_bytes())["iteration"] > 0
        for state in states(tmp_path / room).values():
            assert state["state"] != "failed" or "No space left on device; make room" in state["reason"]


@mounts
def test_what_is_finished_can_be_looked_at_on_a_disk_that_takes_nothing(degrade, tmp_path, whole):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in whole.glob("runs/*/*")}
    done = degrade("read-only", str(whole), str(tmp_path), *RUNS, program=APART)
    print(done.stdout, done.stderr)
    assert re.findall(r"code (\d+)", done.stdout) == ["0", "0", "0", "2"]
    *_, inside, _ = re.split(r"code \d+\n", done.stderr)
    assert inside.count("\n") == 1
    assert inside.startswith("degrade: ")
    assert "Read-only file system); choose another folder with --out" in inside
    assert begin(whole, *RUNS).wait(PATIENCE) == 0
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


@mounts
def test_a_sweep_on_a_disk_that_takes_nothing_is_one_line(degrade, tmp_path, whole):
    (tmp_path / "runs").mkdir()
    done = degrade("read-only", str(tmp_path), "/tmp", *RUNS, program=APART)
    first = f"degrade: results={tmp_path}: cannot be written (Read-only file system); name another folder\ncode 2\n"
    assert done.stderr.startswith(first)
    assert list((tmp_path / "runs").iterdir()) == []
    expect_goes_on(tmp_path, whole)


@mounts
def test_a_disk_that_is_unmounted_under_a_sweep_is_not_made_again_and_goes_on_once_it_is_back(degrade, tmp_path, long):
    """The mount point was filled: a folder of the same names lies below, and the second run was begun there."""
    done = degrade("unmounted", str(tmp_path), str(tmp_path), *LONG[:-1], "jobs=1", program=APART)
    print(done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    first, last = re.findall(r"code (\d+)", done.stdout)
    assert first != "0"
    assert "as before" in done.stdout
    assert last == "0"
    assert results(tmp_path / "mounted again") == results(long)


@pytest.mark.skipif(not bound(), reason="permissions do not hold for this user")
@pytest.mark.parametrize("there", [False, True], ids=["no folder yet", "a folder"])
def test_results_that_may_not_be_written_are_one_line(tmp_path, there, whole):
    root = tmp_path / "results"
    (root / "runs").mkdir(parents=True)
    for folder in (root / "runs", root):
        folder.chmod(0o555)
    where = root if there else root / "new"
    command = [*BOUND, *DEGRADE, "sweep", *RUNS, f"results={where}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    print(done)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr
    assert list(root.rglob("*")) == [root / "runs"]
    for folder in (root, root / "runs"):
        folder.chmod(0o755)
    where.mkdir(exist_ok=True)
    expect_goes_on(where, whole)


def test_a_folder_that_goes_away_under_a_sweep_is_not_made_again_and_goes_on_once_it_is_back(tmp_path, long):
    sweep = begin(tmp_path, *LONG)
    until(lambda: sum(state.get("iteration", 0) > 60 for state in states(tmp_path).values()) == 2, sweep)
    (tmp_path / "runs").rename(tmp_path / "gone")
    assert sweep.wait(PATIENCE) == 2
    output = (tmp_path / "output").read_text()
    assert "Traceback" not in output
    assert re.search(
        r"^degrade: .*No such file or directory; bring it back, and the same command", output, re.MULTILINE
    )
    assert not (tmp_path / "runs").exists()  # it was made again, with a state in it
    for folder in (tmp_path / "gone").iterdir():
        there = folder.glob("checkpoint*.pt")  # between two renames only the one before is
        assert max(unpack(path.read_bytes())["iteration"] for path in there) > 0
    (tmp_path / "gone").rename(tmp_path / "runs")
    assert begin(tmp_path, *LONG).wait(2 * PATIENCE) == 0, (tmp_path / "output").read_text()
    assert results(tmp_path) == results(long)
