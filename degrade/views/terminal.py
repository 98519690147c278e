"""The terminal: how tables, numbers and states look, and the live table of a sweep (plain lines where there is none).

Everything is read from the run folders, so any launcher's runs can be watched.
"""

import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from degrade.spec import RunSpec
from degrade.spec.escape import controls
from degrade.store.folder import RunDir
from degrade.store.state import OVER
from degrade.views.sheets import Sheet

COLOURS = {
    "finished": "green",
    "diverged": "magenta",
    "failed": "red",
    "damaged": "red",
    "running": "cyan",
    "interrupted": "yellow",
    "constructed": "blue",
}
SETTLED = (*OVER, "failed", "damaged", "interrupted")
Cell = str | Text  # of a table
REDRAW, LINE = 0.5, 10.0  # seconds between two redraws; between two lines about one run


class Plain(Console):
    """A console for words that others wrote: brackets are no markup, and what would move the cursor is escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(controls(text, keep="\n"), **options)

    def on_broken_pipe(self) -> None:
        """The reader has left, as in `degrade sweep | head`: nothing more is said, and what is being done goes on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = Plain(markup=False, emoji=False)


@contextmanager
def bar() -> Generator[Callable[[str, int, int], None]]:
    """What takes long before a sweep starts: `note(what, done, total)` moves a bar, or where there is no terminal
    prints a line at times; a total of 0 makes it a remark, which stays.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}
    said = time.monotonic()

    def note(what: str, done: int, total: int) -> None:
        nonlocal said
        if not total:
            console.print(what, markup=False, highlight=False, soft_wrap=True)
        elif console.is_terminal:
            bars.start()
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)
        elif time.monotonic() - said > LINE:
            said = time.monotonic()
            console.print(f"{what}: {done:,} of {total:,}", highlight=False)

    try:
        yield note
    finally:
        bars.stop()


def asked(question: str) -> bool | None:
    """Whether the person at the terminal says yes; None where there is nobody to ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        return console.input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")
    except EOFError:
        return False


class Progress:
    """The live table. `update` may be called often; it reads and draws twice a second."""

    def __init__(self, specs: Sequence[RunSpec], root: Path, workers: int) -> None:
        self.specs, self.root, self.workers = {s.run: s for s in specs}, root, workers
        self.states: dict[str, dict[str, Any]] = {s.run: {"state": "waiting"} for s in specs}
        self.old = {s.run: RunDir(root, s.run).standing() for s in specs}  # how they stand before anybody takes them up
        self.active: list[str] = []
        self.began, self.drawn = time.monotonic(), 0.0
        self.said: dict[str, float] = {}
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read(list(self.specs))
        if self.live:
            self.live.update(self.table(), refresh=True)
            self.live.stop()
        else:
            self._say()

    def update(self, active: list[str]) -> None:
        """Reads how the active runs stand, and those that were active before."""
        if time.monotonic() - self.drawn < REDRAW:
            return
        self._read({*active, *self.active})
        self.active, self.drawn = active, time.monotonic()
        try:
            if self.live:
                self.live.update(self.table(), refresh=True)
            else:
                self._say()
        except OSError:  # of the terminal, or the full disk that the output goes to
            console.quiet = True

    def _read(self, runs: Sequence[str] | set[str]) -> None:
        for run in runs:
            state = RunDir(self.root, run).standing()
            if state != self.old[run] or state["state"] in OVER:
                self.states[run] = state

    def _say(self) -> None:
        """A line for each run that settled, and at times one for those under way."""
        for run, state in self.states.items():
            settled = state["state"] in SETTLED
            if run in self.active and not settled and self.said.get(run) == float("inf"):
                self.said[run] = 0.0  # taken up again
            if run in self.active or settled:
                last = self.said.get(run, 0.0)
                if last != float("inf") and (settled or time.monotonic() - last > LINE) and state["state"] != "waiting":
                    self.said[run] = float("inf") if settled else time.monotonic()
                    console.print(f"{self.count()} {line(self.specs[run], state)}", highlight=False, soft_wrap=True)

    def count(self) -> str:
        over = sum(state["state"] in SETTLED for state in self.states.values())
        return f"[{over}/{len(self.states)}]"

    def table(self) -> Group:
        """Runs under way, and as many of the others as fit on the screen; errors in %."""
        wide = console.width >= 96
        more = (">clean", ">images/s") if wide else ()
        table = grid("run", "state", ">epoch", ">lr", ">train", ">test", ">left", *more)
        room = max(4, console.height - 6)
        for run in self._visible(room):
            table.add_row(*self._cells(run, self.states[run])[: len(table.columns)])
        hidden = len(self.states) - min(room, len(self.states))
        rest = [Text(f"  ... and {hidden} more", style="dim")] if hidden else []
        return Group(table, *rest, Text(f"  {self.count()} {duration(time.monotonic() - self.began)}{self.outlook()}"))

    def _visible(self, room: int) -> list[str]:
        if len(self.states) <= room:
            return list(self.states)
        order = {"running": 0, "failed": 1, "waiting": 3}
        ranked = sorted(self.states, key=lambda run: order.get(self.states[run]["state"], 2))
        chosen = set(ranked[:room])
        return [run for run in self.states if run in chosen]

    def _cells(self, run: str, state: Mapping[str, Any]) -> list[Cell]:
        spec = self.specs[run]
        name: list[Cell] = [f"{spec.name}-s{spec.seed}", coloured(state.get("outcome") or state["state"])]
        if not share(state):
            return name
        epoch, lr, rate = (state.get(key) for key in ("epoch", "lr", "images_per_second"))  # others may have less
        return [
            *name,
            "" if epoch is None else f"{epoch:.1f}/{epoch / share(state):.1f}",
            "" if lr is None else f"{lr:.4g}",
            percent(state.get("train_error")),
            percent(state.get("test_error")),
            duration(left(state)) if state["state"] == "running" else "",
            percent(state.get("train_clean_error")),
            f"{rate:,.0f}" if rate else "",
        ]

    def outlook(self) -> str:
        """How long the rest will take, by the work done so far: layers x channels^2 x images."""
        spent = sum(state.get("seconds", 0.0) for state in self.states.values())
        done = sum(self.specs[run].cost * share(state) for run, state in self.states.items())
        rest = sum(self.specs[r].cost * (1 - share(s)) for r, s in self.states.items() if s["state"] not in SETTLED)
        return f", about {duration(rest * spent / done / self.workers)} left" if done and rest else ""


def share(state: Mapping[str, Any]) -> float:
    return state["iteration"] / state["iterations"] if {"iteration", "iterations"} <= {*state} else 0.0


def left(state: Mapping[str, Any]) -> float:
    return state.get("seconds", 0.0) * (state["iterations"] - state["iteration"]) / max(1, state["iteration"])


def line(spec: RunSpec, state: Mapping[str, Any]) -> str:
    """One run, in words."""
    text = f"{spec.name}-s{spec.seed} {state.get('outcome') or state['state']}"
    if {"iteration", "iterations"} <= {*state}:
        text += f" iteration {state['iteration']}/{state['iterations']}"
    for split in ("train", "train_clean", "test"):
        if f"{split}_error" in state:
            text += f", {split} {percent(state[f'{split}_error'])} %"
    return text + (f": {state['reason']}" if state["state"] in ("failed", "damaged") else "")


def duration(seconds: float) -> str:
    """1:05 or 2:03:04."""
    whole = int(seconds)
    text = f"{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{text}" if whole >= 3600 else text


def percent(error: float | None) -> str:
    return "" if error is None else f"{error:.2f}"


def coloured(state: str) -> Text:
    return Text(controls(state), style=COLOURS.get(state, "dim" if state in ("new", "waiting") else "magenta"))


def grid(*columns: str) -> Table:
    """A table in the one style of ours; `>` aligns a column to the right."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def fill(table: Table, rows: Sequence[Sequence[Cell]]) -> None:
    """Rows of one line as a single one, whose cells have a line for each of them: four times as fast for thousands."""

    def text(cell: Cell) -> Text:
        return cell if isinstance(cell, Text) else Text(controls(cell))

    if rows:
        table.add_row(*(Text("\n").join(map(text, cells)) for cells in zip(*rows, strict=True)))


def show(sheets: Sequence[Sheet]) -> None:
    """Notes wrap; so do names in the first column, where there is no room for them."""
    for sheet in sheets:
        console.print(sheet.title, style="bold", highlight=False)
        if sheet.columns:
            table = grid(*sheet.columns)
            table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
            for row in sheet.rows:
                table.add_row(*row)
            console.print(table)
        for note in sheet.notes:
            console.print(Padding(note, (0, 0, 0, 2)), highlight=False)
        console.print()
