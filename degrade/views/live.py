"""The live table of a sweep, or plain lines if there is no terminal. It reads the run folders."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.text import Text

from degrade.spec import RunSpec
from degrade.spec.differences import tell_differences
from degrade.store.folder import RunDir
from degrade.store.results import board
from degrade.store.state import BROKEN, OVER, Board, State
from degrade.views import terminal
from degrade.views.steps import loudness
from degrade.views.suspend import suspendable
from degrade.views.terminal import Cell, colour_state, duration, grid, percent

_SETTLED = (*OVER, *BROKEN, "interrupted")  # no process trains it
_REDRAW = 0.5  # seconds between two redraws


class Progress:
    """The live table. `update` may be called often; it reads and draws twice a second."""

    def __init__(self, specs: Sequence[RunSpec], root: Path, workers: int) -> None:
        self.specs, self.root, self.workers = {s.run: s for s in specs}, root, workers
        self.states: Board = {s.run: State("waiting") for s in specs}
        self.old = board(specs, root)  # the states before any worker takes a run
        self.active: list[str] = []
        self.began, self.drawn = time.monotonic(), 0.0
        self.said: dict[str, float] = {}
        self.live = Live(console=terminal.progress(), auto_refresh=False, transient=True) if terminal.moves() else None
        self.differs = tell_differences(specs)
        self.held = ExitStack()

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
            self.held.enter_context(suspendable(self.live.stop, self.live.start))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.close()
        self._read(list(self.specs))
        if self.live:
            self.live.update(self.table(), refresh=True)
            self.live.stop()
        else:
            self._say()

    def update(self, active: list[str]) -> None:
        """Reads the states of the active runs, and of the runs that were active before."""
        if time.monotonic() - self.drawn < _REDRAW:
            return
        self._read({*active, *self.active})
        self.active, self.drawn = active, time.monotonic()
        try:
            if self.live:
                self.live.update(self.table(), refresh=True)
            else:
                self._say()
        except OSError:  # the terminal is gone, or the disk that takes the output is full
            terminal.progress().quiet = True

    def _read(self, runs: Sequence[str] | set[str]) -> None:
        for run in runs:
            state = RunDir(self.root, run).standing()
            if state != self.old[run] or state.over:
                self.states[run] = state

    def _say(self) -> None:
        """Prints a line for each run that settled, and now and then a line for each run under way."""
        if loudness.quiet:
            return
        for run, state in self.states.items():
            settled = state.name in _SETTLED
            if run in self.active and not settled and self.said.get(run) == float("inf"):
                self.said[run] = 0.0  # taken up again
            last, due = self.said.get(run, 0.0), run in self.active or settled
            if not due or last == float("inf") or state.name == "waiting":
                continue
            if settled or time.monotonic() - last > terminal.pause():
                self.said[run] = float("inf") if settled else time.monotonic()
                said = f"{self._count()} {describe_run(self.specs[run], state, self.differs[run])}"
                terminal.progress().print(said, highlight=False, soft_wrap=True)

    def _count(self) -> str:
        over = sum(state.name in _SETTLED for state in self.states.values())
        return f"[{over}/{len(self.states)}]"

    def table(self) -> Group:
        """Shows the runs under way, and as many other runs as fit on the screen; errors in %."""
        wide = terminal.console.width >= 96
        more = (">clean", ">images/s") if wide else ()
        table = grid("run", "state", ">epoch", ">lr", ">train", ">test", ">left", *more)
        room = max(4, terminal.console.height - 6)
        for run in self._visible(room):
            table.add_row(*self._cells(run, self.states[run])[: len(table.columns)])
        hidden = len(self.states) - min(room, len(self.states))
        rest = [Text(f"  ... and {hidden} more", style="dim")] if hidden else []
        return Group(
            table, *rest, Text(f"  {self._count()} {duration(time.monotonic() - self.began)}{self._outlook()}")
        )

    def _visible(self, room: int) -> list[str]:
        if len(self.states) <= room:
            return list(self.states)
        order = {"running": 0, "failed": 1, "waiting": 3}
        ranked = sorted(self.states, key=lambda run: order.get(self.states[run].name, 2))
        chosen = set(ranked[:room])
        return [run for run in self.states if run in chosen]

    def _cells(self, run: str, state: State) -> list[Cell]:
        spec = self.specs[run]
        name: list[Cell] = [_name(spec, self.differs[run]), colour_state(state.outcome or state.name)]
        if not state.share:
            return name
        return [
            *name,
            "" if state.epoch is None else f"{state.epoch:.1f}/{state.epoch / state.share:.1f}",
            "" if state.lr is None else f"{state.lr:.4g}",
            percent(state.train_error),
            percent(state.test_error),
            duration(state.left) if state.name == "running" else "",
            percent(state.train_clean_error),
            f"{state.images_per_second:,.0f}" if state.images_per_second else "",
        ]

    def _outlook(self) -> str:
        """Estimates how long the rest takes, from the work done so far: layers x channels^2 x images."""
        spent = sum(state.seconds or 0.0 for state in self.states.values())
        done = sum(self.specs[run].cost * state.share for run, state in self.states.items())
        rest = sum(self.specs[r].cost * (1 - s.share) for r, s in self.states.items() if s.name not in _SETTLED)
        return f", about {duration(rest * spent / done / self.workers)} left" if done and rest else ""


def _name(spec: RunSpec, differs: str) -> str:
    return f"{spec.name}-s{spec.seed} {differs}".rstrip()


def describe_run(spec: RunSpec, state: State, differs: str = "") -> str:
    """The state of one run as a line; `differs`: in what it differs from other runs, beside its name."""
    text = f"{_name(spec, differs)} {state.outcome or state.name}"
    if state.iteration is not None and state.iterations is not None:
        text += f" iteration {state.iteration}/{state.iterations}"
    errors = {"train": state.train_error, "train_clean": state.train_clean_error, "test": state.test_error}
    text += "".join(f", {split} {percent(error)} %" for split, error in errors.items() if error is not None)
    return text + (f": {state.reason}" if state.broken else "")
