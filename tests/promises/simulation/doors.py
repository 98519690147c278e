"""The doors of the product to the world outside, each led to the simulated world: clocks, numbers of processes, locks,
files, and the processes of a sweep. Outside of a simulated process a door leads where it always did.
"""

import contextlib
import io
import os
from collections import deque
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from filelock import Timeout
from promises.simulation import training
from promises.simulation.world import EPOCH, Killed, Proc, World

from degrade.store import files, folder, holder, locks, seal
from degrade.store import state as states
from degrade.sweep import worker, workers
from degrade.train import processes, resume, run

REAL = {name: getattr(Path, name) for name in ("replace", "unlink", "mkdir")}
REAL_OPEN, REAL_NEW = files.open_file, files._open_new


class Doors:
    """All doors of one world, and what went through them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: list[training.Session] = []
        self.wrote: list[tuple[float, Proc, Path, bytes, bytes]] = []  # states: when, by whom, which, before, after
        self.saved: list[tuple[float, Proc, str, int]] = []  # checkpoints: when, by whom, of which run and iteration

    @property
    def me(self) -> Proc:
        assert self.world.current is not None
        return self.world.current

    @contextlib.contextmanager
    def open(self) -> Generator[None]:
        """The product's doors lead to the simulated world meanwhile."""
        world, clock = self.world, self._clock()
        data = SimpleNamespace(identify=lambda spec: spec, load=self._load)
        put = {
            holder: {
                "_find_place": self._place,
                "_read_start": self._read_start,
                "_make": self._make_holder,
                "os": SimpleNamespace(kill=self._look_up, getpid=lambda: self.me.pid),
                "socket": self._socket(),
            },
            states: {"time": clock, "socket": self._socket()},
            folder: {"time": clock, "socket": self._socket(), "FileLock": self._lock},
            locks: {"time": clock, "SoftFileLock": SoftLock},
            files: {"os": self._os(), "open_file": self._read, "_open_new": self._new},
            seal: {"open_file": self._read},
            run: {
                "time": clock,
                "data": data,
                "Fit": lambda spec, splits, stop: training.Counted(world, self.sessions, spec, stop),
                "pack": training.pack,
                "environment": lambda *a, **k: {"started": "now"},
                "pick_device": lambda device: device,
            },
            resume: {
                "time": clock,
                "data": data,
                "Fit": lambda spec, splits, stop: training.Counted(world, self.sessions, spec, stop),
                "pack": training.pack,
                "unpack": training.unpack,
                "count_machines": lambda machines: "one",
                "describe_machines": lambda machines: "none",
            },
            workers: {
                "time": clock,
                "wait": self._wait,
                "Progress": _Silent,
                "console": SimpleNamespace(print=lambda *a, **k: None),
                "make_root": lambda root: None,
                "processes": self._processes(),
            },
            worker: {
                "wait": self._wait,
                "redirect_output": lambda *paths: contextlib.nullcontext(),
                "processes": SimpleNamespace(begin=self._begin, parents_end=lambda: self.me.parent),
            },
            Path: {"replace": self._replace(), "unlink": self._unlink(), "mkdir": self._mkdir()},
        }
        with contextlib.ExitStack() as stack:
            for place, names in put.items():
                for name, value in names.items():
                    stack.enter_context(patch.object(place, name, value))
            yield

    def _load(self, data: Any) -> Any:
        return SimpleNamespace(train=SimpleNamespace(classes=("a", "b")))

    # -- clocks and numbers of processes
    def _clock(self) -> Any:
        def now() -> float:
            return EPOCH + self.world.now + self.me.host.offset

        def awake() -> float:
            return self.world.now - self.me.host.slept

        return SimpleNamespace(time=now, monotonic=awake, perf_counter=awake, sleep=self.world.pause)

    def _socket(self) -> Any:
        return SimpleNamespace(gethostname=lambda: self.me.host.name)

    def _os(self) -> Any:
        known = {name: getattr(os, name) for name in dir(os) if not name.startswith("__")}
        return SimpleNamespace(
            **{**known, "getpid": lambda: self.me.pid if self.world.current else os.getpid(), "fsync": lambda fd: None}
        )

    def _place(self) -> str:
        return f"{self.me.host.boot}:ns"

    def _read_start(self, pid: int) -> str:
        proc = self.me.host.procs.get(pid)
        return proc.started if proc else ""

    def _look_up(self, pid: int, signal: int) -> None:
        self.world.pause()
        if pid not in self.me.host.procs:
            raise ProcessLookupError

    def _make_holder(self, pid: int) -> holder.Holder:
        return holder.Holder(holder._find_place(), pid, holder._read_start(pid), self.me.token)

    # -- files
    def _read(self, path: Path) -> Any:
        host = self.me.host if self.world.current else None
        if host is None:
            return REAL_OPEN(path)
        self.world.pause()
        if self.world.cache and path.name == "state.json" and host.seen.get(path, (0.0, b""))[0] > self.world.now:
            return io.BytesIO(host.seen[path][1])
        with REAL_OPEN(path) as file:
            content = file.read()
        host.seen[path] = self.world.now + self.world.cache, content
        if path.suffix == ".json":
            try:
                seal.of_json(content)
            except ValueError as error:
                self.world.faults.append(f"{path.name} was opened half-written ({error})")
        return io.BytesIO(content)

    def _new(self, path: Path, mode: int) -> Any:
        if self.world.current is None:
            return REAL_NEW(path, mode)
        self.world.pause()
        file = REAL_NEW(path, mode)
        os.utime(path, (EPOCH + self.world.now,) * 2)
        self.world.pause()  # the file is there, and nothing in it yet
        return Draft(file, self.world.now)

    def _replace(self) -> Any:
        doors = self

        def replace(path: Path, target: Path) -> Path:
            if doors.world.current is None:
                return REAL["replace"](path, target)
            doors.world.pause()
            target = Path(target)
            if target.name == "state.json":
                before = target.read_bytes() if target.exists() else b""
                doors.wrote.append((doors.world.now, doors.me, target, before, path.read_bytes()))
                doors.me.host.seen.pop(target, None)
            if target.name == "checkpoint.pt" and path.suffix == ".tmp":
                held = training.unpack(path.read_bytes())
                doors.saved.append((doors.world.now, doors.me, held["run"], held["iteration"]))
            return REAL["replace"](path, target)

        return replace

    def _unlink(self) -> Any:
        doors = self

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if doors.world.current is not None:
                doors.world.pause()
            REAL["unlink"](path, missing_ok)

        return unlink

    def _mkdir(self) -> Any:
        doors = self

        def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
            if doors.world.current is not None:
                doors.world.pause()
            REAL["mkdir"](path, mode, parents, exist_ok)

        return mkdir

    # -- locks
    def _lock(self, path: Path) -> Any:
        return SoftLock(self, path) if self.me.host.locks == "soft" else Lock(self, path)

    # -- the processes of a sweep
    def _processes(self) -> Any:
        def start(target: Any, *arguments: Any) -> Any:
            ours, theirs = Pipe.pair(self.world)
            child = self.world.start(self.me.host, lambda: target(theirs, *arguments), self.me)
            ours.peer, theirs.peer = child, self.me
            return processes.Child(Child(self.world, child), ours)  # type: ignore[arg-type]

        return SimpleNamespace(
            start=start,
            TICK=0.5,
            cause=processes.cause,
            default_jobs=lambda on_cpu: 1,
            signals=lambda: contextlib.nullcontext(self.me.signals),
        )

    def _begin(self, stop: Any) -> None:
        self.me.stop = stop

    def _wait(self, things: list[Any], timeout: float | None = None) -> list[Any]:
        left = timeout
        while True:
            ready = [each for each in things if not each.alive or getattr(each, "inbox", None)]
            if ready or (left is not None and left <= 0):
                self.world.pause()
                return ready
            pause = 0.5 if left is None else min(left, 0.5)
            self.world.pause(pause)
            left = None if left is None else left - pause


class Draft:
    """A file in the making, dated by the simulated world."""

    def __init__(self, file: Any, now: float) -> None:
        self.file, self.now = file, now
        self.write, self.fileno = file.write, file.fileno

    def flush(self) -> None:
        self.file.flush()
        os.utime(self.file.fileno(), (EPOCH + self.now,) * 2)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *arguments: object) -> None:
        self.file.close()


class Lock:
    """flock: the hosts of one word see it, and the death of its process frees it."""

    def __init__(self, doors: Doors, path: Path) -> None:
        self.world, self.path, self.doors = doors.world, path, doors
        self.key = doors.me.host.locks, str(path)

    def acquire(self, timeout: float) -> None:
        self.world.pause()
        self.path.touch()  # as filelock does: an error of the disk shows here
        if self.key in self.world.locks:
            raise Timeout(str(self.path))
        self.world.locks[self.key] = self.doors.me

    def release(self) -> None:
        self.world.pause()
        self.world.locks.pop(self.key, None)


class SoftLock:
    """No locks at all (ENOSYS): a file in their place, which a dead process leaves behind. As filelock 3.20 does it."""

    def __init__(self, doors: Doors, path: Path) -> None:
        self.world, self.path, self.held = doors.world, path, False

    @property
    def lock_file(self) -> str:
        return str(self.path)

    def acquire(self, timeout: float = 0) -> Any:
        self.world.pause()
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise Timeout(str(self.path)) from None
        os.utime(self.path, (EPOCH + self.world.now,) * 2)
        self.held = True

    def release(self, force: bool = False) -> None:
        if self.held:
            self.path.unlink(missing_ok=True)
            self.held = False


class Pipe:
    """One end of a pipe between a sweep and its worker."""

    def __init__(self, world: World) -> None:
        self.world, self.inbox, self.peer = world, deque[Any](), None
        self.other: Pipe | None = None

    @classmethod
    def pair(cls, world: World) -> "tuple[Any, Any]":
        one, two = cls(world), cls(world)
        one.other, two.other = two, one
        return one, two

    @property
    def alive(self) -> bool:
        return self.peer is None or self.peer.alive

    def poll(self) -> bool:
        self.world.pause()
        return bool(self.inbox) or not self.alive

    def send(self, what: Any) -> None:
        self.world.pause()
        if not self.alive:
            raise BrokenPipeError
        assert self.other is not None
        self.other.inbox.append(what)

    def recv(self) -> Any:
        self.world.pause()
        if not self.inbox:
            raise EOFError
        return self.inbox.popleft()

    def close(self) -> None:
        pass


class Child:
    """A worker process, as its sweep sees it."""

    def __init__(self, world: World, proc: Proc) -> None:
        self.world, self.proc = world, proc

    @property
    def exitcode(self) -> int | None:
        return self.proc.exitcode

    def is_alive(self) -> bool:
        return self.proc.alive

    def terminate(self) -> None:
        self.world.pause()
        self.proc.stop()

    def kill(self) -> None:
        self.world.pause()
        self.world.kill(self.proc)

    def join(self, timeout: float = 1e9) -> None:
        while self.proc.alive and timeout > 0:
            self.world.pause(0.2)
            timeout -= 0.2


class _Silent:
    def __init__(self, *arguments: Any) -> None:
        pass

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *arguments: object) -> None:
        pass

    def update(self, runs: Any) -> None:
        pass


__all__ = ["Doors", "Killed"]
