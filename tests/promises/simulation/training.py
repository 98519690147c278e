"""What stands in for training: a counter of steps, with a checkpoint and a curve of the real form.

Claim, heartbeat, leaving, resuming and all files are the product's own; only the arithmetic of a net is left out.
"""

import json
from types import SimpleNamespace
from typing import Any

from promises.simulation.world import Proc, World

from degrade.errors import RunError
from degrade.spec import RunSpec, parse
from degrade.spec.rows import Point
from degrade.store import seal

STEPS, EVERY, MEASURED = 40, 10, 20
STEP = 0.15  # seconds of a step


def make_spec(seed: int, steps: int = STEPS) -> RunSpec:
    recipe = {"iterations": steps, "eval_every": MEASURED, "milestones": []}
    return parse(
        {
            "net": "plain",
            "depth": 8,
            "recipe": recipe,
            "engine": {"checkpoint_every": EVERY, "device": "cpu"},
            "seed": seed,
        }
    )


def pack(state: dict[str, Any]) -> bytes:
    return seal.to_end(json.dumps(state).encode())


def unpack(content: bytes) -> dict[str, Any]:
    try:
        return json.loads(seal.of_end(content))
    except ValueError as error:
        raise RunError(str(error)) from None


class Session:
    """One process at one run, from the moment it has loaded its data: when it did which step."""

    def __init__(self, proc: Proc, run: str) -> None:
        self.proc, self.run, self.steps = proc, run, list[tuple[float, int]]()


class Counted:
    """As degrade.train.fit.Fit, but a step only counts. `sessions` gets what was done, and when."""

    def __init__(self, world: World, sessions: list[Session], spec: RunSpec, stop: Any) -> None:
        self.world, self.spec, self.stop, self.iteration = world, spec, stop, 0
        self.points: list[Point] = []
        self.probes: list[Any] = []
        self.machines = [SimpleNamespace(iteration=0)]
        self.backend, self.backend_name, self.backend_why = SimpleNamespace(layout="channels_last"), "eager", ""
        self.measured = ""
        self.here, self.device = SimpleNamespace(kernels=""), "cpu"
        self.warmup = SimpleNamespace(until=0, why="none")
        self.train, self.lr, self.seconds, self.outcome, self.diverged = range(100), 0.1, 0.0, "", False
        assert world.current is not None
        self.session = Session(world.current, spec.run)
        sessions.append(self.session)
        world.pause(world.draws.uniform(0.6, 2.0))  # torch, pictures, kernels

    @property
    def done(self) -> bool:
        return self.iteration >= self.spec.recipe.iterations

    def begin_in(self, layout: str) -> None:
        pass

    def book_wait(self, seconds: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"run": self.spec.run, "iteration": self.iteration, "points": [p.iteration for p in self.points]}

    def restore(self, state: dict[str, Any]) -> None:
        if state["run"] != self.spec.run:
            raise RunError("is of another run")
        self.iteration = state["iteration"]
        self.points = [self._point(each) for each in state["points"]]

    def _point(self, iteration: int) -> Point:
        return Point(iteration, iteration / 10, "train", 1.0, 50.0, 100, 0.1, 1.0, 1.0, 1.0)

    def advance(self, steps: int) -> list[Point]:
        """Counts up to `steps`, to the next measurement; a measurement takes long, and asks whether to stop."""
        for _ in range(steps):
            self.session.steps.append((self.world.now, self.iteration))
            self.world.pause(STEP)
            self.iteration += 1
            self.seconds += STEP
            if self.iteration % MEASURED == 0 or self.done:
                break
        if self.iteration % MEASURED and not self.done:
            return []
        for _ in range(self.world.draws.choice((1, 1, 12))):
            self.world.pause(2.0)
            self.stop()
        self.points.append(self._point(self.iteration))
        return self.points[-1:]
