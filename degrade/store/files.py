"""Writes files whole or not at all, reads them safely, and says where the user's own cache lies."""

import errno
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from degrade.errors import RunError
from degrade.store.holder import this_process

_WAYS_OUT = {  # error of a disk -> what to do
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it yours to write"),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE), "bring it back"),
    errno.EIO: "look after the disk",
}


_FORSAKEN = 120.0  # seconds after which nobody writes at a draft any more
_DRAFT = re.compile(r"-\d+-([0-9a-f]{8})-[0-9a-f]{16}\.tmp")  # the end of a name that `write` makes


def describe_refusal(error: OSError, where: object) -> str:
    """One line about an error of the disk under a run: the file, else `where`; the reason; the way out."""
    way_out = _WAYS_OUT.get(error.errno or 0, "mend that")
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename or where}: {why}; {way_out}, and the same command goes on from the last checkpoint"


def write(path: Path, content: Any, *, sync: bool = True, mode: int = 0o666) -> None:
    """Writes all of a file or nothing: writes a file beside it, flushes that to disk, renames it over `path`, and
    flushes the folder: without that, a power cut could take the name back. Without `sync` nothing is flushed.

    The umask takes bits from `mode`. Raises OSError, which names `path`.
    """
    beside = path.with_name(f".{path.name}-{this_process().mark}.tmp")  # two hosts may have one number of a process
    try:
        with _open_new(beside, mode) as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        beside.replace(path)
        if sync:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # a second error of the disk must not hide the first
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # an error of a full disk names no file yet
        raise


def sync_folder(path: Path) -> None:
    """Brings the names in a folder to disk. Does nothing where the system cannot do so with folders. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _WAYS_OUT and error.errno not in (errno.EACCES, errno.EPERM):
            raise


def make_folder(path: Path) -> None:
    """Makes a folder and the missing ones above it, and brings their names to disk. Raises OSError."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def _open_new(path: Path, mode: int) -> BinaryIO:
    """Opens a new file. Removes what is there, so nothing is written through a link that somebody may have made."""

    def make(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    try:
        return open(path, "xb", opener=make)
    except FileExistsError:
        path.unlink()
        return open(path, "xb", opener=make)


def list_drafts(folder: Path, old: float) -> list[Path]:
    """What processes left in a folder that died while writing, for one who knows that no other here writes there.

    A draft of a process elsewhere may still grow: it counts where its last change was before `old`, in seconds since
    1970.
    """
    here = this_process().mark.split("-")[1]
    found = list[Path]()
    for path in folder.glob(".*.tmp"):
        made = _DRAFT.search(path.name)
        with suppress(OSError):  # gone by now
            if made is None or made[1] == here or path.stat().st_mtime < old:
                found.append(path)
    return found


def clear_drafts(folder: Path) -> None:
    """Removes what processes left in a folder that died while writing there minutes ago. Others may write there now."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if _DRAFT.search(path.name) and time.time() - path.lstat().st_mtime > _FORSAKEN:
                path.unlink()


def read(path: Path) -> bytes:
    """All of a file. Raises OSError, also for a pipe, which would be waited for, and a device, which has no end."""
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """Opens a file to read it. Raises OSError, as `read` does."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a pipe or a device, and no file", str(path))
    return path.open("rb")


def inside(root: Path, *parts: str) -> Path:
    """A path in a results folder. Raises RunError if one of its parts is a link, which may be a stranger's."""
    place = root
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise RunError(f"{place}: is a link, and nothing is written behind it; name the folder it leads to")
    return place


def at_home(path: Path | str) -> Path:
    """A path with ~ as the home folder. Without such a home the path stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def user_cache() -> Path:
    """The folder for files that can be made anew: $XDG_CACHE_HOME/degrade, else ~/.cache/degrade.

    The path is absolute. A relative one would lead to files of whoever made the folder that one stands in, and the XDG
    specification ignores it. Raises RunError where neither is absolute.
    """
    for folder in (at_home(os.environ.get("XDG_CACHE_HOME", "")), at_home("~/.cache")):
        if folder.is_absolute():
            return folder / "degrade"
    said = f"HOME={os.environ.get('HOME', '')}: is no absolute folder, so there is no place for a cache"
    raise RunError(f"{said}; set XDG_CACHE_HOME to an absolute folder of yours")
