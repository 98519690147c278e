"""Draws a schedule from a seed: hosts, sweeps, and what befalls them. Then lets it happen, and judges it."""

import contextlib
import io
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from promises.simulation import training
from promises.simulation.doors import Doors
from promises.simulation.judge import judge
from promises.simulation.world import EPOCH, Host, Proc, World

from degrade.sweep import workers

KINDS = ("flock", "apart", "soft", "cached")  # how the hosts of a schedule see locks
BEFALLS = ("worker", "sweep", "host", "asleep", "jump", "stop", "away", "reboot", "future")
LATEST = 60.0  # seconds until the last thing befalls
DISK = Path("/dev/shm")  # a disk that answers at once, where there is one


@dataclass(frozen=True)
class Plan:
    """What a seed says. `kind`: hosts share locks, have their own, have none, or have none and a cache of names."""

    seed: int
    kind: str
    hosts: int
    sweeps: int
    befalls: tuple[str, ...]

    @property
    def strict(self) -> bool:
        """Whether the locks of all hosts reach each other, or there is one host."""
        return self.kind == "flock" or self.hosts == 1


def draw(seed: int, kind: str = "", befalls: tuple[str, ...] | None = None, hosts: int = 0) -> Plan:
    """The plan of a seed; what is given is not drawn."""
    draws = random.Random(seed)
    drawn = tuple(draws.choice(BEFALLS) for _ in range(draws.choice((0, 1, 1, 2, 3))))
    return Plan(
        seed,
        kind or draws.choice(KINDS),
        hosts or draws.choice((1, 2, 2, 3)),
        draws.choice((2, 2, 3)),
        drawn if befalls is None else befalls,
    )


def play(plan: Plan) -> list[str]:
    """Lets a schedule happen in a folder of its own. Returns what broke a promise; empty if nothing did."""
    folder = Path(tempfile.mkdtemp(prefix="simulated-", dir=DISK if DISK.is_dir() else None))
    try:
        return _play(plan, folder / "results")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _play(plan: Plan, root: Path) -> list[str]:
    world = World(plan.seed, root, cache=3.0 if plan.kind == "cached" else 0.0)
    (root / "runs").mkdir(parents=True)
    doors = Doors(world)
    specs = [training.make_spec(seed) for seed in range(2)]
    for number in range(plan.hosts):
        locks = {"flock": "shared", "soft": "soft"}.get(plan.kind, f"host {number}")
        # containers and cloned machines: one name for all
        host = Host("node", f"boot-{number}", locks, offset=world.draws.uniform(-50, 50), booted=-1000.0)
        world.hosts.append(host)
    sweeps: list[Proc] = []

    def begin(host: Host) -> None:
        wanted = world.draws.choice((specs, specs[:1], specs[::-1]))
        sweeps.append(world.start(host, lambda: workers.train(wanted, root, jobs=1)))

    stale = "stale" in plan.befalls
    for spec in specs if stale else []:
        _leave_lock(root / "runs" / spec.run)
    for number in range(plan.sweeps):
        world.at(world.draws.uniform(0, 0.1 if stale else 3), lambda n=number: begin(world.hosts[n % plan.hosts]))
    events = Events(world, sweeps, begin, root)
    for what in (each for each in plan.befalls if each != "stale"):
        world.at(world.draws.uniform(0.5, LATEST if world.draws.random() < 0.3 else 15.0), events[what])
    with doors.open(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        world.run()
        if "away" in plan.befalls:
            _bring_back(world, root)
        faults = judge(plan.strict, plan.kind, plan.befalls, world, doors)
        known = len(world.faults)
        last = Host("node", "boot-last", world.hosts[0].locks, booted=world.now - 1000.0)
        world.now = max(world.now, 0.0) + 400.0  # all is calm, and every sign of life is old
        world.hosts.append(last)
        world.end = world.now + 1500.0
        final = world.start(last, lambda: workers.train(specs, root, jobs=1))
        world.run()
        faults += world.faults[known:]
        if final.error is not None:
            faults.append(f"the last sweep ended with {final.error!r}")
    return faults + _unfinished(root, [spec.run for spec in specs])


def _leave_lock(folder: Path) -> None:
    """The lock of a process that died before the simulation began, where a lock is only a file."""
    folder.mkdir()
    (folder / ".lock").touch()
    os.utime(folder / ".lock", (EPOCH - 1000.0,) * 2)


def _unfinished(root: Path, runs: list[str]) -> list[str]:
    """Runs that one more sweep, with nobody beside it, has not brought to their end."""
    from degrade.store.folder import RunDir

    states = {run: RunDir(root, run).standing() for run in runs}
    whole = training.STEPS
    return [
        f"{run} is lost: {state.name}, iteration {state.iteration}, {state.reason or 'no reason'}"
        for run, state in states.items()
        if state.name != "finished" or state.iteration != whole or state.reason
    ]


def _bring_back(world: World, root: Path) -> None:
    aside = root.with_name("aside")
    if aside.exists():
        if root.exists():
            world.faults.append("a results folder that had gone was made again")
            shutil.rmtree(root)
        aside.rename(root)


class Events:
    """What may befall processes and hosts from outside."""

    def __init__(self, world: World, sweeps: list[Proc], begin: Callable[[Host], None], root: Path) -> None:
        self.world, self.sweeps, self.begin, self.root = world, sweeps, begin, root

    def __getitem__(self, what: str) -> Callable[[], None]:
        return getattr(self, what)

    def _host(self) -> Host:
        return self.world.draws.choice(self.world.hosts)

    def worker(self) -> None:
        """kill -9 of a worker. Its sweep says that it failed, and another sweep takes it up later."""
        alive = [p for host in self.world.hosts for p in host.procs.values() if p.parent and p.alive]
        if alive:
            self.world.kill(self.world.draws.choice(alive))

    def sweep(self) -> None:
        """kill -9 of a sweep with its workers; it may be started again at once, and gets the same numbers."""
        alive = [proc for proc in self.sweeps if proc.alive]
        if alive:
            victim = self.world.draws.choice(alive)
            for proc in [*victim.host.procs.values()]:
                if proc is victim or proc.parent is victim:
                    self.world.kill(proc)
            if self.world.draws.random() < 0.7:
                self.world.at(self.world.draws.uniform(0.0, 2.0), lambda: self.begin(victim.host))

    def host(self) -> None:
        """A host is gone, and does not come back."""
        host = self._host()
        for proc in [*host.procs.values()]:
            self.world.kill(proc)

    def reboot(self) -> None:
        """A host starts again: another boot, and numbers of processes from the beginning."""
        host = self._host()
        for proc in [*host.procs.values()]:
            self.world.kill(proc)
        host.boot, host.booted = f"{host.boot}+", self.world.now + 20.0
        host.seen.clear()
        self.world.locks = {key: proc for key, proc in self.world.locks.items() if proc.alive}
        self.world.at(20.0, lambda: self.begin(host))

    def asleep(self) -> None:
        self.world.sleep(self._host(), self.world.draws.choice((5.0, 60.0, 300.0)))

    def jump(self) -> None:
        """A clock is set right: by less than the two minutes that hosts may differ."""
        self._host().offset = self.world.draws.uniform(-50, 50)

    def future(self) -> None:
        """A host with a clock that is a day ahead dies."""
        host = self._host()
        host.offset = 86400.0
        self.world.at(12.0, lambda: [self.world.kill(proc) for proc in [*host.procs.values()]])

    def stop(self) -> None:
        """SIGTERM to a sweep."""
        alive = [proc for proc in self.sweeps if proc.alive]
        if alive:
            self.world.draws.choice(alive).signals.append(15)

    def away(self) -> None:
        """The results folder gets another name under the sweeps."""
        if self.root.exists():
            self.root.rename(self.root.with_name("aside"))
