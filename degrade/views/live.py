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
from degrade.store.results import board as read_board
from degrade.store.state import Board, State
from degrade.views import board, terminal
from degrade.views.board import SETTLED
from degrade.views.gpu import Gauge
from degrade.views.steps import loudness
from degrade.views.suspend import suspendable
from degrade.views.terminal import duration, percent

_REDRAW = 0.5  # seconds between two redraws


class Progress:
    """The live table. `update` may be called often; it reads and draws twice a second."""

    def __init__(self, specs: Sequence[RunSpec], root: Path, workers: int) -> None:
        self.specs, self.root, self.workers = {s.run: s for s in specs}, root, workers
        self.states: Board = {s.run: State("waiting") for s in specs}
        self.old = read_board(specs, root)  # the states before any worker takes a run
        self.active: list[str] = []
        self.began, self.drawn = time.monotonic(), 0.0
        self.said: dict[str, float] = {}
        self.live = Live(console=terminal.progress(), auto_refresh=False, transient=True) if terminal.moves() else None
        self.differs = tell_differences(specs)
        self.names = {run: _name(spec, self.differs[run]) for run, spec in self.specs.items()}
        self.order = board.order(self.specs)
        self.gauge = Gauge()
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
            settled = state.name in SETTLED
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
        over = sum(state.name in SETTLED for state in self.states.values())
        return f"[{over}/{len(self.states)}]"

    def table(self) -> Group:
        """Shows the runs under way, and as many other runs as fit on the screen; below them a bar and an estimate."""
        room = max(4, terminal.progress().height - 7)
        shown = board.draw(self.names, self.states, self._visible(room), terminal.progress().width)
        hidden = len(self.states) - min(room, len(self.states))
        rest = [Text(f"  ... and {hidden} more", style="dim")] if hidden else []
        return Group(shown, *rest, self._summary())

    def _summary(self) -> Text:
        """━━━━  43 %  [3/8] 1:05, about 2:10 left."""
        left = board.estimate(self.specs, self.states, self.workers)
        said = f"  {self._count()} {duration(time.monotonic() - self.began)}"
        said += f", about {duration(left)} left" if left else ""
        busy = self.gauge.read()
        whole = Text.assemble("  ", board.bar(self.specs, self.states), said, f"  {busy}" if busy else "")
        whole.no_wrap, whole.overflow = True, "ellipsis"
        return whole

    def _visible(self, room: int) -> list[str]:
        if len(self.states) <= room:
            return self.order
        order = {"running": 0, "failed": 1, "waiting": 3}
        ranked = sorted(self.order, key=lambda run: order.get(self.states[run].name, 2))
        chosen = set(ranked[:room])
        return [run for run in self.order if run in chosen]


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
