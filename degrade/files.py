"""Files that are whole or not there, and where those of no project lie."""

import errno
import io
import os
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def write(path: Path, content: Any, *, sync: bool = True) -> None:
    """All of it or nothing: a file beside it, flushed to disk, then renamed over it."""
    beside = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
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


def read(path: Path) -> bytes:
    """All of a file. Raises OSError, also for what is none: a pipe would be waited for, and a device has no end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a pipe or a device, and no file", str(path))
    return path.read_bytes()


def at_home(path: Path | str) -> Path:
    """With ~ as the home folder; of nobody's home it is a name like any other."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def declared(content: bytes) -> int:
    """The bytes that the members of a zip file are said to have, if they are more than it holds; else 0.

    torch.save packs nothing, so what is packed small to become enormous is nobody's checkpoint.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError):
        return 0
    return total if total > len(content) else 0


def user_cache() -> Path:
    """What can be made anew is kept here: $XDG_CACHE_HOME/degrade, else ~/.cache/degrade."""
    return at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "degrade"
