"""Files that are whole or not there, and where those of no project lie."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from degrade.errors import RunError

WAYS_OUT = {  # of what a disk refuses
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it yours to write"),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE), "bring it back"),
    errno.EIO: "look after the disk",
}


def refused(error: OSError, where: object) -> str:
    """What a disk refuses to a run in one line: the file, else `where`; why; the way out."""
    way_out = WAYS_OUT.get(error.errno or 0, "mend that")
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename or where}: {why}; {way_out}, and the same command goes on from the last checkpoint"


def write(path: Path, content: Any, *, sync: bool = True) -> None:
    """All of it or nothing: a file beside it, flushed to disk, then renamed over it."""
    beside = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        with fresh(beside) as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):  # a disk that refuses this too must not hide why
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # of a full disk there is none yet
        raise


def fresh(path: Path) -> BinaryIO:
    """A file that was not there; what was is removed: never written through a link that somebody may have put there."""
    try:
        return path.open("xb")
    except FileExistsError:
        path.unlink()
        return path.open("xb")


def read(path: Path) -> bytes:
    """All of a file. Raises OSError, also for what is none: a pipe would be waited for, and a device has no end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a pipe or a device, and no file", str(path))
    return path.read_bytes()


def inside(root: Path, *parts: str) -> Path:
    """A path in a results folder. Raises RunError where one of its parts is a link: perhaps a stranger's."""
    place = root
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise RunError(f"{place}: is a link, and nothing is written behind it; name the folder it leads to")
    return place


def at_home(path: Path | str) -> Path:
    """With ~ as the home folder; of nobody's home it is a name like any other."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def user_cache() -> Path:
    """What can be made anew is kept here: $XDG_CACHE_HOME/degrade, else ~/.cache/degrade."""
    return at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "degrade"
