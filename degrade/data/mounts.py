"""Whether the times of files prove that the files are as they were.

A file system of this machine's own disks sets the change time (ctime) of a file itself, at every change of its bytes or
its name, whatever date a program gives it. Others do not: FAT has no such time, a network shows times that it read a
while ago, and in an image of a disk they are what its maker chose. There, and where it is not known (macOS), nothing
cheaper than the bytes is a proof.
"""

import os
from collections.abc import Iterable
from pathlib import Path

SETTLED = 2.0  # seconds; ext3, the coarsest, counts times in whole ones, so a file may change twice at one time
_PROVING = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "tmpfs", "xfs", "zfs"))
_MOUNTS = Path("/proc/self/mountinfo")


def identify_systems(places: Iterable[Path]) -> tuple[int, ...] | None:
    """Numbers of the file systems that hold these files; None if the times of one of them prove nothing."""
    mounts, found = _list_mounts(), set[int]()
    for place in places:
        try:
            there = place.resolve(strict=True)
            if _find_kind(there, mounts) not in _PROVING:
                return None
            found.add(os.statvfs(there).f_fsid)
        except (OSError, RuntimeError):  # gone since, or a loop of links
            return None
    return tuple(sorted(found))


def _list_mounts() -> dict[str, str]:
    """mount point -> kind of its file system; {} where the system does not say."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    mounts: dict[str, str] = {}
    for line in lines:  # 36 35 98:0 /root /mount/point options [tags] - kind source options
        fields, _, about = line.partition(" - ")
        point = fields.split()[4]
        for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, sign)
        mounts[point] = about.split()[0]  # the last mount at a point hides the others
    return mounts


def _find_kind(place: Path, mounts: dict[str, str]) -> str:
    """The kind of file system at a place without links; empty where it is not known."""
    return next((mounts[str(above)] for above in (place, *place.parents) if str(above) in mounts), "")
