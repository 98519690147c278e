"""The terminal: how tables, numbers and states look, progress bars, and questions to a person."""

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from degrade.spec.escape import controls
from degrade.views.sheets import Sheet, check_format, hide_places, render
from degrade.views.steps import loudness
from degrade.views.suspend import suspendable

_COLOURS = {
    "finished": "green",
    "diverged": "magenta",
    "failed": "red",
    "damaged": "red",
    "running": "cyan",
    "interrupted": "yellow",
    "constructed": "blue",
}
Cell = str | Text  # a cell of a table
_MANY = 200  # rows; a longer table is laid out as a whole
_UNBOUNDED = 1_000_000  # characters of a line
_NARROW = 20  # characters that text in the last column keeps at least
LINE_PAUSE = 10.0  # seconds between two lines about one thing, if there is no terminal


class Plain(Console):
    """A console for text of others: brackets are no markup, and control characters are escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(controls(text, keep="\n"), **options)

    def on_broken_pipe(self) -> None:
        """Turns quiet once the reader has left, as in `degrade sweep | head`. The work goes on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if self.stderr else sys.stdout).fileno())


console = Plain(markup=False, emoji=False)
_errors = Plain(markup=False, emoji=False, stderr=True)


def progress() -> Console:
    """Where progress is shown: at the terminal; and on stderr where stdout is a pipe or a file."""
    return console if console.is_terminal else _errors


def moves() -> bool:
    """Whether what is drawn can be drawn over. TERM=dumb is a terminal that only takes lines."""
    return progress().is_terminal and not progress().is_dumb_terminal and not loudness.quiet


def pause() -> float:
    """Seconds between two lines about one thing."""
    return 0.0 if loudness.verbose else LINE_PAUSE


@contextmanager
def bar() -> Generator[Callable[[str, int, int], None]]:
    """Gives `note(what, done, total)`, which moves a progress bar.

    Without a terminal it prints a line at most every LINE_PAUSE seconds. With a total of 0 it prints `what` as a line
    that stays.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=progress(), transient=True, disable=not moves())
    tasks: dict[str, TaskID] = {}
    said = time.monotonic()

    def note(what: str, done: int, total: int) -> None:
        nonlocal said
        if not total:
            progress().print(what, markup=False, highlight=False, soft_wrap=True)
        elif moves():
            bars.start()
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)
        elif time.monotonic() - said > pause() and not loudness.quiet:
            said = time.monotonic()
            progress().print(f"{what}: {done:,} of {total:,}", highlight=False)

    with suspendable(bars.stop, lambda: bars.start() if tasks else None):
        try:
            yield note
        finally:
            bars.stop()


def confirm(question: str) -> bool | None:
    """Asks the person at the terminal. True for yes, None if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        return console.input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def duration(seconds: float) -> str:
    """1:05 or 2:03:04."""
    whole = int(seconds)
    text = f"{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{text}" if whole >= 3600 else text


def percent(error: float | None) -> str:
    return "" if error is None else f"{error:.2f}"


def colour_state(state: str) -> Text:
    return Text(controls(state), style=_COLOURS.get(state, "dim" if state in ("new", "waiting") else "magenta"))


def grid(*columns: str) -> Table:
    """A table in our one style. `>` aligns a column to the right."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def show(sheets: Sequence[Sheet]) -> None:
    """Prints the sheets. Notes wrap; no name and no number does, and a table that does not fit has longer lines."""
    for sheet in sheets:
        if sheet.title:
            console.print(sheet.title, style="bold", highlight=False)
        if sheet.columns:
            console.print(_table(sheet), crop=False)
        for note in sheet.notes:
            console.print(Padding(note, (0, 0, 0, 2)), highlight=False)
        for line in sheet.lines:
            console.print(line, style=_COLOURS.get(line.partition(":")[0], ""), highlight=False, soft_wrap=True)
        if sheet.title:
            console.print()


def watch(look: Callable[[], tuple[Sheet, bool]], every: float) -> None:
    """Draws a sheet again and again, every so many seconds, until `look` says that it was the last, or Ctrl-C comes."""
    with Live(console=console, auto_refresh=False) as live, suspendable(live.stop, live.start):
        while True:
            sheet, last = look()
            live.update(Group(_table(sheet), *(Text(controls(line)) for line in sheet.lines)), refresh=True)
            if last:
                return
            try:
                time.sleep(every)
            except KeyboardInterrupt:  # a person has seen enough
                return


def _table(sheet: Sheet) -> Table:
    """Draws a table; at a terminal, text in the last column gives way. Elsewhere each row is one line, for `grep`.

    A long table is drawn as one row whose cells have a line for each row: four times as fast for thousands of rows.
    """
    table = grid(*sheet.columns)
    cells = [[_cell(word) for word in column] for column in zip(*sheet.rows, strict=True)]
    for column, head, own in zip(table.columns, sheet.heads, cells, strict=False):  # no rows: no cells
        column.min_width = max(cell_len(head), *(cell.cell_len for cell in own))
    if console.is_terminal and len(cells) > 1 and not sheet.columns[-1].startswith(">"):
        last = table.columns[-1]
        last.no_wrap, last.min_width = False, min(last.min_width or 0, _NARROW)
    many = len(sheet.rows) > _MANY
    lines = Text("\n", no_wrap=True, overflow="ellipsis")  # a wrapped cell would move all below it
    for row in [map(lines.join, cells)] if many else zip(*cells, strict=True):
        table.add_row(*row)
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table).minimum
    table.width = needed if needed > console.width else None  # rich would take the rest from names and numbers
    return table


def _cell(word: str) -> Text:
    """Shows a state in its colour, and other words as they are."""
    return colour_state(word) if word in _COLOURS else Text(controls(word))


@contextmanager
def answer(form: str, main: str = "", *, private: bool = False) -> Generator[Callable[[Sequence[Sheet]], None]]:
    """Gives the function that shows the sheets of a command.

    Format `table` prints them on the terminal at once. Another format is printed at the end, alone on stdout: all other
    output of the command goes to stderr, and places of this machine are hidden unless `private`. `main` is as in
    sheets.render. Raises SpecError for an unknown format.
    """
    check_format(form)
    if form == "table":
        yield show
        return
    shown: list[Sheet] = []

    def keep(sheets: Sequence[Sheet]) -> None:
        shown.extend(sheets)
        if form in ("json", "csv"):  # which have no place for sentences
            show([Sheet(lines=sheet.lines) for sheet in sheets])

    with redirect_stdout(sys.stderr):
        yield keep
    if shown:
        print(render(shown if private else hide_places(shown), form, main))
