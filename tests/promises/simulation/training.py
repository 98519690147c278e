"""Training as a toy: steps that count, and checkpoints that are numbers. What a run's folder sees is real."""

import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from promises.simulation.world import Process, World

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.store import state as states
from degrade.store.folder import RunDir
from degrade.store.state import OVER, State
from degrade.train import run
from degrade.train.resume import Saved

STEP = 2.0  # seconds
RETRY = 5.0  # seconds until a sweep looks again at runs that others train


class Watch:
    """Who trained what when, and what of that breaks a promise.

    A host that is suspended between its look at a run and its writing is beyond what is promised: such runs must still
    end well, and are not blamed for what happens meanwhile.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.trains: dict[str, Process] = {}  # run -> who did its last step
        self.furthest: dict[str, int] = {}  # run -> the newest checkpoint
        self.broke = 0.0  # when a step broke last
        self.over, self.beyond = set[str](), set[str]()  # runs that have a result; runs that are not blamed

    def blame(self, run: str, said: str) -> None:
        self.writes(run)
        if run not in self.beyond:
            self.world.wrong.append(f"{self.world.now:.1f} s, {self.name(self.world.current)}: {said}")

    def writes(self, run: str) -> None:
        """Somebody writes into a run, maybe after a sleep since the last look at it."""
        if self.world.current.host.woke > self.world.current.looked:
            self.beyond.add(run)

    @staticmethod
    def name(process: Process) -> str:
        return f"process {process.pid} of {process.host.name}"

    def _find_other(self, run: str) -> Process | None:
        """Another process that trains a run, lives, and was awake long enough to look whether the run is its own."""
        other = self.trains.get(run)
        if other is None or other is self.world.current or not other.alive:
            return None
        slept = other.host.asleep > self.world.now or self.world.now - other.host.woke < states.LIFE + STEP
        return None if slept else other

    def stepped(self, run: str) -> None:
        """A step of a run."""
        late = self.world.now - self.world.current.host.woke < states.LIFE + STEP
        if (other := self._find_other(run)) is not None and not late:
            self.blame(run, f"trains {run}, as does {self.name(other)}")
        self.trains[run] = self.world.current

    def signed(self, run: str) -> None:
        """A run is begun, or gone on with."""
        if (other := self._find_other(run)) is not None:
            self.blame(run, f"takes {run} from {self.name(other)}, which trains it")

    def left(self, run: str) -> None:
        if self.trains.get(run) is self.world.current:
            del self.trains[run]

    def saved(self, run: str, iteration: int) -> None:
        """A checkpoint: never an older one over a newer one."""
        if iteration < self.furthest.get(run, 0):
            self.blame(run, f"writes checkpoint {iteration} of {run} over {self.furthest[run]}")
        self.furthest[run] = max(iteration, self.furthest.get(run, 0))

    def failed(self, run: str) -> None:
        """A failure that is written into a run: only by who trains it."""
        if run in self.over or self._find_other(run) is not None:
            me = self.world.current
            if me.looked < self.broke:  # it did not even look
                me.looked = self.world.now
            self.blame(run, f"writes a failure of its own into {run}, which another process trains or has finished")


class Toy:
    """Stands for Fit."""

    def __init__(self, spec: RunSpec, splits: Any, stop: Callable[[], bool]) -> None:
        self.spec, self.stop, self.iteration = spec, stop, 0
        self.device, self.backend_why = "cpu", ""
        self.here = SimpleNamespace(kernels="")
        self.outcome, self.diverged = "", False

    @property
    def done(self) -> bool:
        return self.iteration >= self.spec.recipe.iterations

    def state(self) -> int:
        return self.iteration

    def book_wait(self, seconds: float) -> None:
        pass


@contextmanager
def toy_training(world: World, watch: Watch, failing: Callable[[], bool]) -> Generator[None]:
    """While this is open, `degrade.train.run` trains toys. `failing`: whether a step breaks."""

    def advance(self: Toy, steps: int) -> list[Any]:
        world.sleep(STEP)
        if failing():
            watch.broke = world.now
            raise RunError("the disk of this host went away")
        watch.stepped(self.spec.run)
        self.iteration += 1
        self.stop()
        return []

    def pack(iteration: int) -> bytes:
        return json.dumps(iteration).encode()

    def save(fit: Toy, folder: RunDir) -> Saved:
        watch.saved(folder.run, fit.iteration)
        folder.write_checkpoint(pack(fit.iteration))
        return Saved(fit.iteration, world.now)

    def resume(fit: Toy, folder: RunDir, anew: str = "") -> None:
        for path in folder.checkpoints:
            with suppress(FileNotFoundError):
                fit.iteration = json.loads(path.read_bytes())
                return

    def progress(fit: Toy, name: str, *, outcome: str | None = None, reason: str | None = None) -> State:
        most = fit.spec.recipe.iterations
        return State(name, outcome=outcome, reason=reason, iteration=fit.iteration, iterations=most)

    write_state = RunDir.write_state

    def note(self: RunDir, state: State) -> None:
        if state.name == "failed":
            watch.failed(self.run)
        if state.name == "running" and state.iteration is None:
            watch.signed(self.run)
        if state.over:
            watch.over.add(self.run)
        write_state(self, state)
        watch.writes(self.run)  # its host may have slept in the midst of it

    toys: dict[str, Any] = {
        "Fit": type("Fit", (Toy,), {"advance": advance}),
        "environment": lambda *values, **more: {},
        "pack": pack,
        "save": save,
        "resume": resume,
        "record": lambda fit, folder: None,
        "cut_back": lambda fit, folder: None,
        "progress": progress,
        "sound": lambda folder, known: True,
        "damaged_tables": lambda folder: [],
        "ended": lambda spec, folder: False,
        "describe_change": lambda fit: "",
        "data": SimpleNamespace(load=lambda spec: _wait_for_pictures(world)),
    }
    with ExitStack() as held:
        for name, value in toys.items():
            held.enter_context(patch.object(run, name, value))
        held.enter_context(patch.object(RunDir, "write_state", note))
        yield


def _wait_for_pictures(world: World) -> Any:
    world.sleep(world.draw.uniform(0.1, 3.0))
    return SimpleNamespace(train=SimpleNamespace(classes=()))


def sweep(world: World, watch: Watch, specs: list[RunSpec], root: Path) -> None:
    """What a sweep does with its runs, one after the other, until all are over."""
    left, pulse = list(specs), run.Pulse(lambda: False)
    while left:
        for spec in list(left):
            with suppress(RunError):  # the run failed, and is tried again
                turns = run.run_one(spec, root, pulse, "", alone=True)
                try:
                    if _last(turns, world) in OVER:
                        left.remove(spec)
                finally:
                    watch.left(spec.run)
        if left:
            world.sleep(RETRY)


def _last(turns: Generator[None, None, str], world: World) -> str:
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value
        world.look()
