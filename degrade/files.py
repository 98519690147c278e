"""Files that are whole or not there, and where those of no project lie."""

import os
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
    except BaseException:
        with suppress(OSError):  # a disk that refuses this too must not hide why
            beside.unlink(missing_ok=True)
        raise


def user_cache() -> Path:
    """What can be made anew is kept here: $XDG_CACHE_HOME/degrade, else ~/.cache/degrade."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "degrade"
