"""Hosts, processes and one true time. Exactly one process runs at once, and a seed decides which.

A process is a thread that holds the baton. Wherever it touches the world outside (a file, a lock, a clock, another
process) it pauses for a moment drawn from the seed, and the process whose moment comes next gets the baton.
"""

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EPOCH = 1.8e9  # seconds since 1970 at which a simulation begins
END = 4000.0  # seconds of true time after which a process that is left waits for ever


class Killed(BaseException):
    """The process is dead: nothing that it would still do has an effect."""


@dataclass(eq=False)
class Host:
    """A machine: its boot, its numbers of processes, its clock, and which locks it sees."""

    name: str
    boot: str
    locks: str  # the hosts of one word see each other's locks; "soft": no locks at all, a file in their place
    offset: float = 0.0  # seconds that its clock is ahead
    slept: float = 0.0
    wakes: float = 0.0
    booted: float = 0.0
    procs: "dict[int, Proc]" = field(default_factory=dict)
    seen: dict[Path, tuple[float, bytes]] = field(default_factory=dict)  # files as a cache of names shows them

    def free_pid(self) -> int:
        """The least number that is free: numbers are used again at once."""
        return next(pid for pid in itertools.count(7) if pid not in self.procs)


@dataclass(eq=False)
class Proc:
    """A process of a host."""

    host: Host
    pid: int
    started: str
    parent: "Proc | None"
    body: Callable[[], object]
    token: str
    alive: bool = True
    exitcode: int | None = None
    stop: Callable[[], object] = lambda: None
    signals: list[int] = field(default_factory=list)
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    error: BaseException | None = None
    died: float = float("inf")

    def alive_at(self, when: float) -> bool:
        return when < self.died


class World:
    """All hosts and the schedule. `pause` is the only way in which time goes by."""

    def __init__(self, seed: int, root: Path, cache: float = 0.0) -> None:
        self.draws, self.root, self.cache, self.now = random.Random(seed), root, cache, 0.0
        self.end = END
        self.hosts: list[Host] = []
        self.locks: dict[tuple[str, str], Proc] = {}
        self.current: Proc | None = None
        self.faults: list[str] = []
        self.ended: list[Proc] = []
        self._queue: list[tuple[float, int, Any]] = []
        self._count = itertools.count()
        self._main = threading.Semaphore(0)

    # -- processes
    def start(self, host: Host, body: Callable[[], object], parent: Proc | None = None) -> Proc:
        """A new process, ready to run."""
        pid = host.free_pid()
        ticks = str(int((self.now - host.booted) * 100) + 1000 + next(self._count))
        proc = Proc(host, pid, ticks, parent, body, f"{self.draws.getrandbits(64):016x}")
        host.procs[pid] = proc
        threading.Thread(target=self._live, args=(proc,), daemon=True).start()
        self._push(self.now + self.draws.uniform(0.01, 0.3), proc)
        return proc

    def _live(self, proc: Proc) -> None:
        proc.baton.acquire()
        try:
            if proc.alive:
                proc.body()
        except Killed:
            pass
        except BaseException as error:
            proc.error = error
        if proc.alive:
            self.bury(proc, 0 if proc.error is None else 1)
        self.ended.append(proc)
        self.current = None
        self._pass_on(None)

    def bury(self, proc: Proc, code: int) -> None:
        """The process ends: its number and its locks are free, and its children hear of it."""
        proc.alive, proc.exitcode, proc.died = False, code, self.now
        proc.host.procs.pop(proc.pid, None)
        self.locks = {key: holder for key, holder in self.locks.items() if holder is not proc}
        for child in list(proc.host.procs.values()):
            if child.parent is proc:
                self.at(self.draws.uniform(0.001, 0.1), lambda child=child: child.stop() if child.alive else None)

    def kill(self, proc: Proc) -> None:
        """kill -9. The thread gets the baton once more, to unwind without effect."""
        if proc.alive:
            self.bury(proc, -9)
            self._push(self.now, proc)

    # -- time
    def at(self, after: float, act: Callable[[], object]) -> None:
        """Does something from outside, `after` seconds from now."""
        self._push(self.now + after, act)

    def pause(self, seconds: float | None = None) -> None:
        """Lets others run. Without a number it is a moment, as a disk or a scheduler takes it."""
        me = self.current
        assert me is not None
        if not me.alive:
            raise Killed
        self._push(self.now + (self.draws.uniform(0.0005, 0.02) if seconds is None else seconds), me)
        self._pass_on(me)
        if not me.alive:
            raise Killed

    def run(self) -> None:
        """Lets all processes run to their ends."""
        self._pass_on(None)
        self._main.acquire()

    def _push(self, when: float, what: Any) -> None:
        heapq.heappush(self._queue, (when, next(self._count), what))

    def _pass_on(self, me: Proc | None) -> None:
        """Hands the baton to whoever is next; returns once it comes back to `me`."""
        while self._queue:
            when, _, what = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            if not isinstance(what, Proc):
                what()
                continue
            if what.exitcode is not None and what in self.ended:
                continue
            if self.now > self.end and what.alive:
                self.faults.append(f"a process of {what.host.boot} still waits after {self.now:,.0f} s")
                self.kill(what)
                continue
            if what.alive and what.host.wakes > self.now:
                self._push(what.host.wakes, what)
                continue
            self.current = what
            if what is not me:
                what.baton.release()
                if me is not None:
                    me.baton.acquire()
            return
        self._main.release()

    def sleep(self, host: Host, seconds: float) -> None:
        """The host is suspended: none of its processes runs, and its clock goes on."""
        if host.wakes <= self.now:
            host.wakes = self.now + seconds
            host.slept += seconds
