"""A folder for what will run here: nobody but its user, or root, can change what lies in it.

Every folder from / to it is opened from the one above it, and its owner and mode are those of what was opened. So
nobody can exchange a folder after the look at it.
"""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from degrade.store import seal
from degrade.store.files import write
from degrade.store.locks import wait_for

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
_MOST_LINKS = 40  # on the way to a folder, as Linux has it


class Shelf:
    """Sealed files in one folder. A file carries its name in its seal: another file in its place is damage too."""

    def __init__(self, path: Path) -> None:
        """Makes the folder where it is missing. Raises PermissionError where others could change it, and OSError."""
        self.path = path
        self._descriptor = _open_folder(path)

    def close(self) -> None:
        os.close(self._descriptor)

    @contextmanager
    def locked(self, name: str) -> Generator[None]:
        """One process at a time; nobody waits in a folder that takes no files. Raises OSError without locks."""
        if not os.access(self.path, os.W_OK):
            yield
            return
        lock = FileLock(self.path / f"{name}.lock", mode=0o600)
        try:
            wait_for(lock, "compiles the kernels")
        except NotImplementedError as error:  # so filelock says it of a file system
            raise OSError(errno.ENOLCK, str(error), str(self.path)) from error
        try:
            for left in self.path.glob(f".{name}*.tmp"):  # a process died while writing
                with suppress(OSError):
                    left.unlink()
            yield
        finally:
            lock.release()

    def read(self, name: str) -> bytes | None:
        """The bytes that `write` was given, read once; None without a file.

        Raises ValueError for a damaged file, PermissionError for one that others could have written, and OSError.
        """
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if (self.path / name).is_symlink():
                raise _refuse(self.path / name) from error
            raise
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or not _is_ours(about):
            os.close(descriptor)
            raise _refuse(self.path / name)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read()
        body, end = seal.of_end(content), _name_end(name)
        if not body.endswith(end):
            raise ValueError("is another file than its name says")
        return body.removesuffix(end)

    def write(self, name: str, content: bytes) -> None:
        """Writes all of a file or nothing, and flushes the file and its name to disk."""
        write(self.path / name, seal.to_end(content + _name_end(name)), mode=0o600)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def remove(self, *names: str) -> None:
        for name in names:
            with suppress(OSError):  # what stays is found damaged again, or marks a crash again
                (self.path / name).unlink()


def _name_end(name: str) -> bytes:
    return f"\ndegrade {name}\n".encode()


def _open_folder(path: Path) -> int:
    """Opens a folder, and makes it with the missing ones above it. Returns its descriptor. Raises PermissionError."""
    if not path.is_absolute():
        raise PermissionError(f"{path} is relative, and leads to whoever made the folder one stands in")
    at, seen, todo, links = os.open("/", _FOLDER), Path("/"), list(path.parts[1:]), 0
    try:
        _demand_safe(os.fstat(at), seen, last=False)
        while todo:
            name = todo.pop(0)
            target = _read_link(at, name, seen / name)
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise PermissionError(f"{path} leads through too many links")
                todo = [*Path(target).parts, *todo]
                continue
            below = _open_below(at, name)
            os.close(at)
            at, seen = below, seen / name  # an absolute link begins at / again
            _demand_safe(os.fstat(at), seen, last=not todo)
    except BaseException as error:
        os.close(at)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # not one of its parts
        raise
    return at


def _read_link(at: int, name: str, path: Path) -> str | None:
    """Where a link leads; None for what is no link. Raises PermissionError for the link of somebody else."""
    try:
        about = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(about.st_mode):
        return None
    if about.st_uid not in (0, os.geteuid()):
        raise _refuse(path)
    return os.readlink(name, dir_fd=at)


def _open_below(at: int, name: str) -> int:
    """Opens a folder in an open one; makes it where it is missing, for its user alone."""
    with suppress(FileNotFoundError):
        return os.open(name, _FOLDER, dir_fd=at)
    with suppress(FileExistsError):  # another process has just made it
        os.mkdir(name, 0o700, dir_fd=at)
    return os.open(name, _FOLDER, dir_fd=at)


def _demand_safe(about: os.stat_result, path: Path, *, last: bool) -> None:
    """Raises PermissionError for a folder whose entries others can exchange.

    In a sticky folder, as /tmp, they cannot exchange what is ours; but they could add files to the last one.
    """
    sticky = bool(about.st_mode & stat.S_ISVTX) and not last
    if not _is_ours(about, sticky=sticky):
        raise _refuse(path)


def _is_ours(about: os.stat_result, *, sticky: bool = False) -> bool:
    """Whether only we, or root, can change a file or a folder."""
    others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return about.st_uid in (0, os.geteuid()) and (sticky or not others)


def _refuse(path: Path) -> PermissionError:
    return PermissionError(f"{path} belongs to somebody else, or others can write to it")
