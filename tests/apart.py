"""Commands on disks of their own, which are mounted in a Linux namespace of this process and are gone with it.

python apart.py try; or as what `processes.forked` runs: full DISK OUT KEY..., read-only ROOT OUT KEY... or
unmounted DISK OUT KEY...
"""

import contextlib
import ctypes
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import zygote

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # sched.h
MNT_DETACH = 2
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # sys/mount.h
SIZE = 4096  # KiB of a disk
# KiB more each time: for nothing, for what a run is, for a first checkpoint, for the other run's
ROOMS = (0, 12, 50, 60)


def checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def leave() -> None:
    """Enters the namespace, as its root. Raises OSError where that may not be, or this process has threads."""
    user, group = os.geteuid(), os.getegid()
    checked(libc().unshare(CLONE_NEWUSER | CLONE_NEWNS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("none", Path("/"), MS_REC | MS_PRIVATE)


def mount(what: str, where: Path, flags: int = 0, kind: str = "none", options: str = "") -> None:
    """mount(2). Raises OSError."""
    words = [text.encode() for text in (what, str(where), kind)]
    checked(libc().mount(*words, ctypes.c_ulong(flags), options.encode()))


def command(*words: str) -> int:
    """`degrade` in a fork; its exit code."""
    return code_of(begin(*words))


def code_of(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def begin(*words: str) -> int:
    """`degrade` in a fork; its number."""
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        from degrade.cli import main

        sys.argv = ["degrade", *words]
        zygote.leave(main)
    return number


def full(disk: Path, out: Path, keys: Sequence[str]) -> None:
    """Sweeps on a disk that has a little more room each time, then enough; OUT gets what was there after each."""
    mount("none", disk, kind="tmpfs", options=f"size={SIZE}k")
    results, ballast = disk / "results", disk / "ballast"
    results.mkdir()
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1024)):
            pass
    left = ballast.stat().st_size
    for room in (*ROOMS, SIZE):
        left = max(0, left - 1024 * room)
        os.truncate(ballast, left)
        print("code", command("sweep", *keys, f"results={results}"), flush=True)
        shutil.copytree(results, out / str(room))


def read_only(root: Path, out: Path, keys: Sequence[str]) -> None:
    """What each command says on a disk that takes nothing."""
    mount(str(root), root, MS_BIND)
    mount(str(root), root, MS_BIND | MS_REMOUNT | MS_RDONLY)
    figures = ("--out", str(out / "figures"))
    for words in (["sweep", *keys, f"results={root}"], ["status"], ["plot", *figures], ["plot"]):
        code = command(*words, *([] if words[0] == "sweep" else [str(root)]))
        print("code", code, flush=True)
        print("code", code, file=sys.stderr, flush=True)


def unmounted(place: Path, out: Path, keys: Sequence[str]) -> None:
    """Unmounts a disk under a sweep, and mounts it again for the same command; OUT gets what was there in the end."""
    held, disk = place / "held", place / "disk"  # the disk stays while it is mounted at another place
    held.mkdir()
    (disk / "results" / "runs").mkdir(parents=True)  # on the disk below, as of a sweep before the mount
    below = sorted(map(str, disk.rglob("*")))
    mount("none", held, kind="tmpfs", options="size=16m")
    mount(str(held), disk, MS_BIND)
    (disk / "results").mkdir()
    sweep = begin("sweep", *keys, f"results={disk / 'results'}")
    while not list(held.glob("results/runs/*/checkpoint-previous.pt")):
        time.sleep(0.05)
    checked(libc().umount2(str(disk).encode(), MNT_DETACH))
    print("code", code_of(sweep), flush=True)
    print("as before" if sorted(map(str, disk.rglob("*"))) == below else "filled", flush=True)
    mount(str(held), disk, MS_BIND)
    print("code", command("sweep", *keys, f"results={disk / 'results'}"), flush=True)
    shutil.copytree(disk / "results", out / "mounted again")


if __name__ == "__main__":
    leave()
    if sys.argv[1] != "try":
        what, place, out, *keys = sys.argv[1:]
        {"full": full, "read-only": read_only, "unmounted": unmounted}[what](Path(place), Path(out), keys)
