"""Real disks that are full or read-only, folders that may not be written or go away: one line, and nothing lost.

Disks are mounted in a namespace of their own, which ends with the command.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from processes import BOUND, DEGRADE, KEYS, PATIENCE, begin, bound, results, states, until

from degrade.train.checkpoint import unpack

RUNS = [*KEYS, "depth=8", "recipe.iterations=200", "engine.checkpoint_every=20", "jobs=1"]
APART = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([*APART, "mount", "-t", "tmpfs", "none", place], capture_output=True)
    return done.returncode == 0


mounts = pytest.mark.skipif(not can_mount(), reason="may not mount a disk of its own here")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    assert begin(root, *RUNS).wait(PATIENCE) == 0
    return root


def apart(script: str, **words: object) -> subprocess.CompletedProcess[str]:
    """A shell script in a namespace of its own, in which `$degrade` is the command and each of `words` a variable."""
    there = {**os.environ, **{k: str(v) for k, v in words.items()}, "NO_COLOR": "1", "COLUMNS": "500"}
    there["degrade"] = " ".join(DEGRADE)
    return subprocess.run([*APART, "sh", "-c", script], env=there, capture_output=True, text=True, timeout=4 * PATIENCE)


FULL = """
mount -t tmpfs -o size=4m none $disk
mkdir $disk/results
dd if=/dev/zero of=$disk/ballast bs=1k count=4096 2>/dev/null
truncate -s -${room}k $disk/ballast
$degrade sweep $keys results=$disk/results; echo "code $?"
cp -r $disk/results $out/full
rm $disk/ballast
$degrade sweep $keys results=$disk/results; echo "code $?"
find $disk/results -name '*.tmp'
cp -r $disk/results $out/after
"""


@mounts
@pytest.mark.parametrize("room", [0, 12, 60, 120])  # KiB: for nothing, for what a run is, for a first checkpoint or two
def test_a_full_disk_is_one_line_and_the_sweep_goes_on_once_there_is_room(tmp_path, whole, room):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = apart(FULL, disk=disk, out=tmp_path, room=room, keys=" ".join(RUNS))
    print(done.stdout, done.stderr)
    first, second = done.stdout.split("code ")[1:]
    assert first[0] in "12"
    assert second.strip() == "0"
    assert "Traceback" not in done.stdout + done.stderr
    assert "No space left on device" in done.stdout + done.stderr
    assert results(tmp_path / "after") == results(whole)
    for path in (tmp_path / "full").glob("runs/*/checkpoint*.pt"):
        assert unpack(path.read_bytes())["iteration"] > 0
    for state in states(tmp_path / "full").values():
        assert state["state"] != "failed" or "No space left on device; make room" in state["reason"]


READ_ONLY = """
mount --bind $root $root
mount -o remount,bind,ro $root
cd $out
for command in "sweep $keys results=$root" "status $root" "plot $root --out $out/figures" "plot $root"
do $degrade $command > said 2> errors; echo "$? $(wc -l < errors) $(tail -n 1 errors)"; done
"""


@mounts
def test_what_is_finished_can_be_looked_at_on_a_disk_that_takes_nothing(tmp_path, whole):
    done = apart(READ_ONLY, root=whole, out=tmp_path, keys=" ".join(RUNS))
    print(done.stdout, done.stderr)
    swept, status, plotted, inside = done.stdout.splitlines()
    assert [line[0] for line in (swept, status, plotted, inside)] == ["0", "0", "0", "2"]
    assert inside.startswith("2 1 degrade: ")
    assert "Read-only file system); choose another folder with --out" in inside


@mounts
def test_a_sweep_on_a_disk_that_takes_nothing_is_one_line(tmp_path):
    (tmp_path / "runs").mkdir()
    done = apart(READ_ONLY, root=tmp_path, out="/tmp", keys=" ".join(RUNS))
    assert done.stdout.startswith(f"2 1 degrade: results={tmp_path}: cannot be written (Read-only file system); name")


@pytest.mark.skipif(not bound(), reason="permissions do not hold for this user")
@pytest.mark.parametrize("there", [False, True], ids=["no folder yet", "a folder"])
def test_results_that_may_not_be_written_are_one_line(tmp_path, there):
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


def test_a_folder_that_goes_away_under_a_sweep(tmp_path):
    sweep = begin(tmp_path, *RUNS[:-3], "recipe.iterations=4000", "engine.checkpoint_every=20", "jobs=2")
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
