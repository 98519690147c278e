"""The table of a running sweep: which columns fit a width, its rows in the order of depth, a bar and one estimate."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from degrade.spec import RunSpec
from degrade.store.state import BROKEN, OVER, Board, State
from degrade.views.terminal import Cell, colour_state, duration, grid, percent

SETTLED = (*OVER, *BROKEN, "interrupted")  # no process trains it
_BAR = 24  # characters of the bar
_EARLY = 0.02  # share of all work below which the rest is not estimated: start-up would count as pace
_GAP = 2  # characters between two columns, and at the sides


class _Column(NamedTuple):
    """A column of fixed width, so that nothing jumps while numbers grow."""

    head: str
    width: int
    cell: Callable[[State], Cell]
    keep: int  # the column with the least goes first where the table is too wide


def _epoch(state: State) -> str:
    return "" if state.epoch is None else f"{state.epoch:.1f}/{state.epoch / state.share:.1f}"


def _lr(state: State) -> str:
    return "" if state.lr is None else f"{state.lr:.4g}"


def _left(state: State) -> str:
    return duration(state.left) if state.name == "running" else ""


def _pace(state: State) -> str:
    return f"{state.images_per_second:,.0f}" if state.images_per_second else ""


def _name_state(state: State) -> Cell:
    return colour_state(state.outcome or state.name)


def _train(state: State) -> str:
    return percent(state.train_error)


def _clean(state: State) -> str:
    return percent(state.train_clean_error)


def _test(state: State) -> str:
    return percent(state.test_error)


_COLUMNS = (
    _Column("state", 11, _name_state, 7),
    _Column(">epoch", 11, _epoch, 4),
    _Column(">lr", 6, _lr, 1),
    _Column(">train", 6, _train, 3),
    _Column(">clean", 6, _clean, 8),
    _Column(">test", 6, _test, 6),
    _Column(">left", 7, _left, 5),
    _Column(">images/s", 8, _pace, 2),
)


def choose_columns(name: int, width: int) -> list[_Column]:
    """The columns that fit beside names of `name` characters. The clean training error, which judges, goes last."""
    chosen = list(_COLUMNS)
    while len(chosen) > 1 and name + sum(column.width + _GAP for column in chosen) + _GAP > width:
        chosen.remove(min(chosen, key=lambda column: column.keep))
    return chosen


def order(specs: Mapping[str, RunSpec]) -> list[str]:
    """The runs by net, shortcut and depth."""

    def place(run: str) -> tuple[str, str, int, int, str, int]:
        net = specs[run].net
        return net.net, net.shortcut, net.depth, net.width, specs[run].group, specs[run].seed

    return sorted(specs, key=place)


def draw(names: Mapping[str, str], states: Board, runs: Sequence[str], width: int) -> Table:
    """A row for each of `runs`; errors in %. `names`: run -> what it is called."""
    longest = max((len(name) for name in names.values()), default=3)
    columns = choose_columns(longest, width)
    table = grid("run", *(column.head for column in columns))
    for drawn, least in zip(table.columns, (longest, *(column.width for column in columns)), strict=True):
        drawn.min_width = least
    for run in runs:
        state = states[run]
        cells = [column.cell(state) if state.share or column.head == "state" else "" for column in columns]
        table.add_row(Text(names[run]), *cells)
    return table


def bar(specs: Mapping[str, RunSpec], states: Board) -> Text:
    """How much of all work is done: layers x channels^2 x images."""
    done, whole = _done(specs, states), sum(spec.cost for spec in specs.values())
    share = done / whole if whole else 1.0
    full = round(share * _BAR)
    return Text.assemble(("━" * full, "green"), ("━" * (_BAR - full), "dim"), f" {share:4.0%}")


def _done(specs: Mapping[str, RunSpec], states: Board) -> float:
    return sum(specs[run].cost * (1.0 if state.over else state.share) for run, state in states.items())


def estimate(specs: Mapping[str, RunSpec], states: Board, workers: int) -> float | None:
    """Seconds to the end of the sweep, at the pace so far; None while too little is done to tell.

    Never less than the slowest run under way needs, or the longest that waits: one run is trained by one worker.
    """
    spent = sum(state.seconds or 0.0 for state in states.values())
    done = sum(specs[run].cost * state.share for run, state in states.items())
    open_runs = {run: state for run, state in states.items() if state.name not in SETTLED}
    rest = {run: specs[run].cost * (1 - state.share) for run, state in open_runs.items()}
    if not spent or not done or done < _EARLY * (done + sum(rest.values())):
        return None
    pace = spent / done
    alone = [state.left if state.share else rest[run] * pace for run, state in open_runs.items()]
    return max(sum(rest.values()) * pace / workers, *alone, 0.0)
