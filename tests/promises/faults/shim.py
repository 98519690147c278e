"""A shim around the file events of a process under one folder: it counts them, and does one harm at one of them."""

import builtins
import contextlib
import errno
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLED = 9  # exit code of a process that the shim ended
HARMS = {
    "kill": "the process dies before the event",
    "kill after": "the process dies after the event",
    "twice": "the process dies before the event, and once more when it is started again",
    "torn": "half of what is written goes out, then the process dies",
    "ENOSPC": "from the event on the disk is full: half of what is written goes out",
    "EIO": "the event fails once with an input/output error",
}
FILLS = ("open", "write", "mkdir", "compile")  # events that a full disk refuses
OPEN, OS_OPEN, READLINK, REPLACE, RUN = io.open, os.open, os.readlink, os.replace, subprocess.run


class Shim:
    """Installed, it stands between this process and the file system; only for a process that is to end soon."""

    def __init__(self, root: Path, at: int = -1, harm: str = "") -> None:
        self.root, self.at, self.harm = f"{root}{os.sep}", at, harm
        self.events: list[tuple[str, str]] = []  # (kind, path below the root)
        self.seen: Callable[[str, str], None] = lambda kind, path: None  # hears of each event that was done

    def strike(self, kind: str, path: str, do: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Does one event, or the harm that is due at it."""
        number = len(self.events)
        self.events.append((kind, path.removeprefix(self.root)))
        if self.harm == "ENOSPC" and number >= self.at >= 0 and kind in FILLS:
            half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if number == self.at:
            self.hit(path, do, half)
        result = do()
        self.seen(kind, path)
        return result

    def hit(self, path: str, do: Callable[[], Any], half: Callable[[], Any]) -> None:
        if self.harm == "EIO":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        if self.harm == "kill after":
            with contextlib.suppress(OSError):  # as of a folder that is there
                do()
        if self.harm == "torn":
            half()
        if self.harm != "ENOSPC":
            os._exit(KILLED)

    def ours(self, path: Any) -> str:
        """The path as text if it is the root or lies under it, else nothing."""
        if isinstance(path, int):
            path = READLINK(f"/proc/self/fd/{path}")
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - pathlib is what is being watched
        return text if f"{text}{os.sep}".startswith(self.root) else ""

    def install(self) -> None:
        io.open = builtins.open = self.open
        os.open, os.fsync = self.os_open, self.fsync
        os.rename = os.replace = self.replace
        subprocess.run = self.run
        for kind, names in {"mkdir": ("mkdir",), "unlink": ("unlink", "remove", "rmdir")}.items():
            for name in names:
                setattr(os, name, self.watched(kind, getattr(os, name)))

    def open(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        path = "" if isinstance(file, int) or not set(mode) & set("wax+") else self.ours(file)
        if not path:
            return OPEN(file, mode, *rest, **more)
        opened = self.strike("open", path, lambda: OPEN(file, mode, *rest, **more))
        return self.wrap(opened, path, mode)

    def wrap(self, opened: Any, path: str, mode: str) -> "File":
        return File(opened, path, self)

    def os_open(self, path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and dir_fd is None
        name = self.ours(path) if writes else ""
        do = lambda: OS_OPEN(path, flags, *rest, dir_fd=dir_fd)  # noqa: E731
        return self.strike("open", name, do) if name else do()

    def fsync(self, file: int, true: Callable[[int], None] = os.fsync) -> None:
        path = self.ours(file)
        self.strike("fsync", path, lambda: true(file))

    def replace(self, source: Any, target: Any) -> None:
        do = lambda: REPLACE(source, target)  # noqa: E731
        new = self.ours(target)
        self.strike("rename", new, do) if new else do()

    def run(self, words: Any, *rest: Any, **more: Any) -> Any:
        """A compiler writes a file: an event of which half may go out. Where the disk refuses, it says so and fails."""
        made = words[words.index("-o") + 1] if "-o" in words else ""
        if not (path := self.ours(made) if made else ""):
            return RUN(words, *rest, **more)
        do = lambda: RUN(words, *rest, **more)  # noqa: E731

        def half() -> None:
            do()
            os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202

        try:
            return self.strike("compile", path, do, half)
        except OSError as error:
            return subprocess.CompletedProcess(words, 1, "", f"cc: error: {path}: {error.strerror}")

    def watched(self, kind: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
            do = lambda: true(path, *rest, **({"dir_fd": dir_fd} if dir_fd is not None else {}), **more)  # noqa: E731
            name = self.ours(path if dir_fd is None else os.path.join(READLINK(f"/proc/self/fd/{dir_fd}"), path))  # noqa: PTH118
            return self.strike(kind, name, do) if name else do()

        return call


class File:
    """A file opened for writing: each write is an event."""

    def __init__(self, file: Any, path: str, shim: Shim) -> None:
        self.file, self.path, self.shim = file, path, shim

    def write(self, data: Any) -> int:
        whole = data if isinstance(data, str) else bytes(data)

        def half() -> None:
            self.file.write(whole[: len(whole) // 2])
            self.file.flush()

        return self.shim.strike("write", self.path, lambda: self.file.write(data), half)

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
