"""Files that are whole or not there, and where those of no project lie."""

import errno
import io
import os
import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from degrade.errors import RunError


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


def excess(content: bytes) -> str:
    """Why what torch.save may have written would take more memory than it has bytes; "" where it does not.

    torch.save packs nothing, so what is packed small to become enormous is nobody's checkpoint; nor is what asks for a
    bytearray, of any size by a few bytes, which torch's reader of weights alone would make.
    """
    pickles, total = content, 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total <= len(content):
                pickles = b"".join(archive.read(member) for member in members if member.filename.endswith(".pkl"))
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError, OSError, RuntimeError):
        pass  # no zip file, or damaged: torch will say so
    if total > len(content):
        return f"declares {total:,} bytes, and the file has {len(content):,}: refused"
    return "asks for a bytearray, and no net holds one: refused" if b"bytearray" in pickles else ""


def user_cache() -> Path:
    """What can be made anew is kept here: $XDG_CACHE_HOME/degrade, else ~/.cache/degrade."""
    return at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "degrade"
