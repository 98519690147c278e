"""The doors of the real code to the outside, opened onto a simulated world."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from filelock import SoftFileLock, Timeout
from promises.simulation.world import World

from degrade.store import folder, holder, locks, state
from degrade.store.folder import RunDir
from degrade.train import run


class Flock:
    """A lock of the kernel: the death of its process frees it. Hosts of another domain do not see it."""

    def __init__(self, world: World, path: Any) -> None:
        self.world, self.place = world, (world.current.host.locks, str(path))
        self.lock_file = str(path)

    def acquire(self, timeout: float = -1) -> None:
        self.world.look()
        Path(self.lock_file).touch()
        if self.world.held.get(self.place, self.world.current) is not self.world.current:
            raise Timeout(self.lock_file)
        self.world.held[self.place] = self.world.current

    def release(self) -> None:
        self.world.look()
        self.world.held.pop(self.place, None)


class LockFile(SoftFileLock):
    """A lock that is only a file, with a time of the simulated clock; a dead process leaves it."""

    world: World

    def __del__(self) -> None:
        """A dead process cleans up nothing."""

    def acquire(self, timeout: float = -1, **_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.world.look()
        try:
            os.close(os.open(self.lock_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise Timeout(self.lock_file) from None
        os.utime(self.lock_file, (self.world.now, self.world.now))

    def release(self, force: bool = False) -> None:
        self.world.look()
        Path(self.lock_file).unlink(missing_ok=True)


def make_lock(world: World, path: Any) -> Any:
    if world.current.host.locks:
        return Flock(world, path)
    lock = LockFile(path)
    lock.world = world
    return lock


@contextmanager
def open_doors(world: World) -> Generator[None]:
    """While this is open, the real code sees the simulated world."""

    def clock() -> float:
        world.look()
        return world.now + world.current.host.skew

    def neighbours(pid: int) -> list[Any]:
        here = world.current.host
        return [each for each in world.processes if each.host is here and each.alive and each.pid == pid]

    def kill(pid: int, number: int) -> None:
        if not neighbours(pid):
            raise ProcessLookupError

    def me() -> holder.Holder:
        now = world.current
        return holder.Holder(now.host.place, now.pid, now.started, now.token)

    here = SimpleNamespace(gethostname=lambda: world.current.host.name)
    wall = SimpleNamespace(time=clock, monotonic=lambda: world.now, perf_counter=lambda: world.now)
    doors: list[tuple[Any, str, Any]] = [
        (holder, "_find_place", lambda: world.current.host.place),
        (holder, "_read_start", lambda pid: next((each.started for each in neighbours(pid)), "")),
        (holder, "os", SimpleNamespace(kill=kill, getpid=lambda: world.current.pid)),
        (folder, "this_process", me),
        *((module, "time", wall) for module in (state, folder, locks, run)),
        *((module, "socket", here) for module in (state, folder)),
        (folder, "FileLock", lambda path: make_lock(world, path)),
    ]
    with ExitStack() as held:
        for module, name, value in doors:
            held.enter_context(patch.object(module, name, value))
        for name in ("write_state", "try_read_state", "write_checkpoint"):
            held.enter_context(patch.object(RunDir, name, _give_way(world, getattr(RunDir, name))))
        for kind, name in ((RunDir, "taken"), (state.State, "elsewhere")):
            held.enter_context(patch.object(kind, name, property(_note_look(world, getattr(kind, name)))))
        yield


def _note_look(world: World, decides: property) -> Any:
    """A property that says whose a run is: when it was asked for is noted."""

    def decide(self: Any) -> Any:
        world.current.looked = world.now
        return decides.fget(self) if decides.fget else None

    return decide


def _give_way(world: World, method: Any) -> Any:
    """A method of a run's folder that gives way before and after."""

    def call(*values: Any, **more: Any) -> Any:
        world.look()
        result = method(*values, **more)
        world.look()
        return result

    return call
