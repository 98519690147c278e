"""Simulated hosts and processes. One process runs at a time; a seed says which, and for how long it may.

A process is a thread that gives way at each look at the outside: a clock, a lock, a file of a run. One that is killed
is never resumed: no handler of an exception and no `finally` runs, as after kill -9.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

TICK = 0.02  # seconds that pass, on average, between two looks at the outside
IDLE = 5.0  # seconds that pass at most where nobody has anything to do
threading.stack_size(512 * 1024)


@dataclass(eq=False)
class Host:
    """A machine: boot and namespace, clock, and which locks it sees."""

    name: str
    place: str
    skew: float = 0.0  # seconds that its clock is ahead
    locks: str = "shared"  # hosts with the same word see each other's locks; "" has no locks but files
    asleep: float = 0.0  # until then
    woke: float = 0.0
    numbers: int = 100  # of its last process; used again from `reuse` on
    alive: bool = True


@dataclass(eq=False)
class Process:
    host: Host
    pid: int
    started: str
    token: str
    alive: bool = True
    ended: bool = False
    looked: float = 0.0  # when it last looked whose a run is
    sweeps: bool = True  # it is no other program
    wake: float = 0.0  # asleep by its own wish until then
    error: BaseException | None = None
    thread: threading.Thread | None = None
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class World:
    """Everything that a schedule decides, from one seed."""

    def __init__(self, seed: int) -> None:
        self.draw, self.now = Random(seed), 1_000_000.0
        self.hosts, self.processes = list[Host](), list[Process]()
        self.main = threading.Semaphore(0)
        self.me: Process | None = None  # who runs now
        self.wrong = list[str]()  # what broke a promise
        self.held: dict[tuple[str, str], Process] = {}  # locks: (domain, path) -> who holds it

    @property
    def current(self) -> Process:
        assert self.me is not None
        return self.me

    def start(self, host: Host, work: Callable[[], None], pid: int | None = None) -> Process:
        """Starts a process; it runs when the schedule says so."""
        host.numbers += 1
        me = Process(host, pid or host.numbers, f"{self.now:.0f}-{self.draw.random():.6f}", f"{self.draw.random():.9f}")
        self.processes.append(me)

        def live() -> None:
            me.turn.acquire()
            try:
                work()
            except BaseException as error:
                me.error = error
            me.ended, me.alive = True, False
            self.release_all(me)
            self.main.release()

        me.thread = threading.Thread(target=live, daemon=True)
        me.thread.start()
        return me

    def look(self) -> None:
        """The running process looks at the outside: others may run before it goes on."""
        me = self.current
        if threading.current_thread() is not me.thread:  # what a dead process held is taken down, from elsewhere
            return
        self.main.release()
        me.turn.acquire()
        self.me = me

    def sleep(self, seconds: float) -> None:
        self.current.wake = self.now + seconds
        self.look()

    def kill(self, process: Process) -> None:
        process.alive = False
        self.release_all(process)

    def end_host(self, host: Host) -> None:
        host.alive = False
        for process in self.processes:
            if process.host is host and process.alive:
                self.kill(process)

    def doze(self, host: Host, seconds: float) -> None:
        """Shuts the lid of a host: nothing on it runs, and time goes on elsewhere."""
        host.asleep = host.woke = self.now + seconds

    def release_all(self, process: Process) -> None:
        self.held = {place: holder for place, holder in self.held.items() if holder is not process}

    def step(self) -> bool:
        """Lets one process run up to its next look. False where none is left."""
        living = [each for each in self.processes if each.alive]
        if not living:
            return False
        ready = [each for each in living if max(each.wake, each.host.asleep) <= self.now]
        if not ready:
            self.now = min(self.now + IDLE, *(max(each.wake, each.host.asleep) for each in living))
            return True
        self.now += self.draw.expovariate(1 / TICK)
        self.me = self.draw.choice(ready)
        self.me.turn.release()
        self.main.acquire()
        return True
