"""kill -9 of real sweeps at random moments: of a worker, of the parent, of both.

A round is a sweep from nothing to its end on a folder of pictures, killed and started again; then the next round.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import processes
from processes import PATIENCE, Result, Sweep, children
from promises.faults import sweeps

from degrade.store import parquet
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES
from degrade.train.checkpoint import unpack

KEYS = [
    *("data=image_folder", "data.size=8", "data.train_limit=100", "data.test_limit=50", "recipe=smoke"),
    *("width=4", "net=plain,residual", "shortcut=A", "depth=8", "jobs=2"),
    *("recipe.iterations=600", "recipe.eval_every=50", "engine.checkpoint_every=20"),
]
VICTIMS = ("worker", "parent", "both")
FIRST = ("decoding", "starting")  # phases of a sweep on nothing, and of one that was killed before
LATER = ("starting", "training", "training", "checkpointing", "checkpointing", "finishing")
PICTURES = 600  # of each class and split: decoding takes a moment
JITTER = 0.2  # seconds


class Moment(NamedTuple):
    """When to kill whom."""

    victim: str
    phase: str
    delay: float  # seconds after the phase has begun


class Place:
    """The folders of the campaign, and what is known of them."""

    def __init__(self, base: Path) -> None:
        self.pictures, self.results = base / "pictures", base / "results"
        sweeps.pictures(self.pictures, PICTURES, PICTURES)

    @property
    def cache(self) -> Path:
        return self.pictures / ".degrade"

    def clear(self) -> None:
        for folder in (self.results, self.cache):
            shutil.rmtree(folder, ignore_errors=True)
        self.results.mkdir()

    def begin(self) -> Sweep:
        return processes.begin(self.results, *KEYS, f"data.root={self.pictures}")

    def runs(self) -> list[RunDir]:
        return [RunDir(self.results, path.name) for path in (self.results / "runs").glob("*")]

    def reached(self) -> dict[str, int]:
        """run -> the iteration of the newest of its checkpoints. Raises RunError for what cannot be read."""
        found: dict[str, int] = {}
        for run in self.runs():
            there = [unpack(path.read_bytes())["iteration"] for path in run.checkpoints if path.exists()]
            found[run.run] = max(there, default=0)
            if run.curve.exists():
                parquet.read(run.curve, CURVES)
        return found

    def iteration(self) -> int:
        return max((run.try_read_state().iteration or 0 for run in self.runs()), default=0)

    def stray(self) -> list[Path]:
        return [
            path
            for path in [*self.results.rglob(".*.tmp"), *self.cache.rglob("*.tmp"), self.cache / "draft"]
            if path.exists()
        ]


def phases(place: Place, sweep: Sweep) -> dict[str, Callable[[], object]]:
    """What tells that a sweep has come so far."""
    begun = place.iteration()
    runs = place.results / "runs"
    return {
        "decoding": lambda: (place.cache / "draft").exists() or place.runs(),
        "starting": lambda: children(sweep.pid),
        "training": lambda: place.iteration() > begun,
        "checkpointing": lambda: any(runs.glob("*/.checkpoint.pt-*.tmp")),
        "finishing": lambda: place.iteration() > max(begun, 560),
    }


def kill(sweep: Sweep, victim: str, draw: Random) -> bool:
    """Whether there was somebody to kill. What is left of the sweep has ended when this returns."""
    workers = children(sweep.pid)
    try:
        if victim == "worker":
            if not workers:
                return False
            os.kill(draw.choice(workers), signal.SIGKILL)
        elif victim == "parent":
            sweep.kill()
        else:
            os.killpg(sweep.pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended meanwhile
        return False
    sweep.wait(PATIENCE)
    processes.until(lambda: not processes.members(sweep.pid))
    return True


def struck(place: Place, moment: Moment, draw: Random) -> bool:
    """Starts the sweep and kills at that moment; False where it was over before."""
    sweep = place.begin()
    due, end = phases(place, sweep)[moment.phase], time.monotonic() + PATIENCE
    while not due():
        if sweep.poll() is not None:
            return False
        if time.monotonic() > end:
            os.killpg(sweep.pid, signal.SIGKILL)
            raise RuntimeError(f"{moment}: nothing happened")
        time.sleep(0.0005)
    time.sleep(moment.delay)
    if sweep.poll() is not None:
        return False
    if kill(sweep, moment.victim, draw):
        return True
    sweep.wait(PATIENCE)
    return False


def finish(place: Place) -> str:
    """Sweeps to the end; what went wrong."""
    code = place.begin().wait(PATIENCE)
    return "" if code == 0 else f"the last sweep ended with {code}: {(place.results / 'output').read_text()[-500:]}"


def campaign(base: Path, count: int, seed: int = 0) -> list[tuple[Moment, str]]:
    """What each of `count` kills lost; nothing, where all is well."""
    place, draw = Place(base), Random(seed)
    place.clear()
    if wrong := finish(place):
        raise RuntimeError(wrong)
    whole = processes.results(place.results)
    place.clear()
    found: list[tuple[Moment, str]] = []
    before: dict[str, int] = {}
    while len(found) < count:
        phase = draw.choice(LATER if place.runs() else FIRST)
        delay = draw.random() * (JITTER if phase != "checkpointing" else 0.002)  # a checkpoint is written in no time
        moment = Moment(VICTIMS[len(found) % 3], phase, delay)
        hit = struck(place, moment, draw)
        now = place.reached()
        if hit:
            lost = [
                f"{run}: {now.get(run, 0)} after {there}" for run, there in before.items() if now.get(run, 0) < there
            ]
            found.append((moment, f"checkpoints went back: {', '.join(lost)}" if lost else ""))
        before = now
        if not hit or len(found) == count:  # the round is over
            if wrong := ended(place, whole):
                found.append((moment, wrong))
            place.clear()
            before = {}
    return found


def by_victim(found: list[tuple[Moment, str]]) -> dict[str, list[str]]:
    """victim -> what each kill of it lost."""
    return {victim: [wrong for moment, wrong in found if moment.victim == victim] for victim in VICTIMS}


def ended(place: Place, whole: dict[str, Result]) -> str:
    """What is wrong with how a round ends."""
    if wrong := finish(place):
        return wrong
    if processes.results(place.results) != whole:
        return "other results"
    stray = place.stray()
    return f"left behind: {stray}" if stray else ""
