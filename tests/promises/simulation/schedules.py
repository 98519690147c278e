"""Schedules: what happens to hosts and processes, drawn from a seed; and what must be true after each."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from promises.simulation.doors import open_doors
from promises.simulation.training import STEP, Watch, sweep, toy_training
from promises.simulation.world import Host, Process, World

from degrade.spec import RunSpec, parse
from degrade.store import state as states
from degrade.store.results import make_root

STEPS = 40
_TREE = {
    "depth": 8,
    "width": 2,
    "data": {"name": "digits", "content": "0123456789abcdef"},
    "recipe": {"iterations": STEPS, "batch": 4},
    "engine": {"checkpoint_every": 5},
}
SPECS: list[RunSpec] = [parse({**_TREE, "seed": seed}) for seed in range(5)]
# locks: of all hosts; of each host alone; only files; and one host, with locks or with files
KINDS = ("shared", "apart", "files", "one host", "one host with files")
ROUGH = 900.0  # seconds in which things happen
PAUSE = 30.0  # seconds between two of them, on average
CALM = 2 * states.STALE + 2 * len(SPECS) * STEPS * STEP + 120  # seconds in which one sweep must then finish everything


class Rough:
    """What happens meanwhile, to whom."""

    def __init__(self, world: World, begin: Callable[[Host, int | None], Process]) -> None:
        self.world, self.begin = world, begin
        self.things = [self.kill, self.kill_and_use_number_again, self.doze, self.jump, self.start]

    def one(self, draw: Random) -> None:
        draw.choice(self.things)(draw)

    def _pick(self, draw: Random) -> Process | None:
        living = [each for each in self.world.processes if each.alive]
        return draw.choice(living) if living else None

    def kill(self, draw: Random) -> None:
        if (one := self._pick(draw)) is not None:
            self.world.kill(one)

    def kill_and_use_number_again(self, draw: Random) -> None:
        """Another process of the host gets the number. It is no sweep, and lives on."""
        if (one := self._pick(draw)) is not None:
            self.world.kill(one)
            self.world.start(one.host, lambda: self.world.sleep(1e9), one.pid).sweeps = False

    def doze(self, draw: Random) -> None:
        self.world.doze(draw.choice(self.world.hosts), draw.choice((5.0, 60.0, 1.5 * states.STALE, 3 * states.STALE)))

    def jump(self, draw: Random) -> None:
        """A clock is set, within what hosts without common locks may differ by."""
        draw.choice(self.world.hosts).skew = draw.uniform(-0.4, 0.4) * states.STALE

    def start(self, draw: Random) -> None:
        self.begin(draw.choice(self.world.hosts), None)


def make_hosts(kind: str, draw: Random) -> list[Host]:
    """Hosts of one kind. Two have one name, and one of them once had a clock that was an hour ahead."""
    numbers = range(1 if kind.startswith("one host") else draw.choice((2, 3)))
    locks = "" if kind.endswith("files") else "all"
    return [Host("node", f"boot-{each}:1", locks=str(each) if kind == "apart" else locks) for each in numbers]


def play(
    seed: int, kind: str = "", without: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
) -> list[str]:
    """Plays one schedule; returns what was wrong. `kind`: of KINDS, else drawn. `without`: takes a guard out."""
    draw = Random(f"schedule {seed}")
    kind = kind or draw.choice(KINDS)
    world = World(seed)
    watch = Watch(world)
    root = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    rough = True

    def begin(host: Host, pid: int | None = None) -> Process:
        return world.start(host, lambda: sweep(world, watch, [replace(spec) for spec in SPECS], root), pid)

    def failing() -> bool:
        woke = world.now - world.current.host.woke < 2.0  # a disk is often not there yet
        return rough and draw.random() < (0.3 if woke else 0.005)

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            make_root(root)
            world.hosts = make_hosts(kind, draw)
            happens = Rough(world, begin)
            with without(), toy_training(world, watch, failing), open_doors(world):
                if draw.random() < 0.2:  # a sweep that died while the clock of its host was an hour ahead
                    _leave_a_sign_of_the_future(world, begin)
                for host in world.hosts:
                    begin(host)
                    if draw.random() < 0.5:
                        begin(host)
                end, due = world.now + ROUGH, world.now
                while world.now < end and world.step():
                    if world.now > due:
                        happens.one(draw)
                        due = world.now + draw.expovariate(1 / PAUSE)
                rough = False
                _finish(world, begin)
        broken = [f"{watch.name(each)}: {each.error!r}" for each in world.processes if each.error is not None]
        return [f"{kind}: {said}" for said in (*world.wrong, *broken)]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _leave_a_sign_of_the_future(world: World, begin: Callable[[Host, int | None], Process]) -> None:
    host = Host("node", "boot-of-before:1", skew=3600.0, locks=world.hosts[0].locks and "other")
    world.hosts.append(host)
    one = begin(host, None)
    until = world.now + 8.0
    while world.now < until and world.step():
        pass
    world.kill(one)
    world.end_host(host)
    world.hosts.remove(host)


def _finish(world: World, begin: Callable[[Host, int | None], Process]) -> None:
    """All hosts but one are gone, or all sweeps of the one; then one more sweep must do what is left."""
    first, *others = world.hosts
    for process in world.processes:
        if process.sweeps:
            world.kill(process)
    for host in others:
        world.end_host(host)
    first.asleep = world.now
    first.woke = 0.0
    last = begin(first, None)
    end = world.now + CALM
    while world.now < end and not last.ended and world.step():
        pass
    if not last.ended:
        world.wrong.append(f"the last sweep is not done after {CALM:.0f} s")
