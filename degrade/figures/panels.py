"""Figures as data: what a renderer draws, and how a reader wants to look at it. Nothing here draws.

A Picture has panels, a Panel has axes and lines, a Line has points. degrade.figures.draw makes a matplotlib Figure of
them. Another renderer needs nothing else: `marks.assign` gives each line its colour and marker, `ticks` its labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from degrade.analysis.curves import CURVE_KEYS, last_points
from degrade.errors import RunError, SpecError, pick

_CUT = 20.0  # %, the end of the paper's y axis
_GRID = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)  # %, the paper's gridlines 5, 10, 20, and more for longer axes
_FINE = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # %, for an axis that ends below 20

# The columns that lines need. The others are dropped early, since every choice of rows copies all columns.
_POINT_COLUMNS = ["origin", "run", "seed", "split", "iteration", "epoch", "seconds", "error", "state", "iterations"]
_DRAWN_COLUMNS = [*CURVE_KEYS, *_POINT_COLUMNS]


class NothingToDraw(RunError):  # noqa: N818 - not a mistake: the runs have nothing of this kind yet
    """The runs do not allow this figure. Other figures are still drawn."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """y over x. A line of several runs has a band from low to high."""

    label: str  # in the legend; empty: not in the legend
    key: str  # lines of one key share a colour and a marker in all panels: "56", "B"
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    net: str = ""  # of its runs: plain | residual-A | ...; empty: of several
    depth: int = 0  # weighted layers; 0: of several depths
    seeds: tuple[int, ...] = ()  # of its runs
    split: str = ""  # what the errors are measured on: a value of LABELS' split; empty: not errors
    dash: str = "solid"  # a key of style.DASH
    weight: str = "bold"  # bold | medium | thin
    spread: str = "band"  # how low and high are drawn: a band along the line, or bars at its points
    beyond: tuple[int, ...] = ()  # of each point: -1: below the resolution, +1: never got there, 0: at y; empty: all 0
    runs: tuple[str, ...] = ()  # the runs that it shows
    colour: int = 0  # index of style.COLOURS; marks.assign sets it and the marker
    marker: str = "circle"  # a key of style.MARKERS

    @property
    def training(self) -> bool:
        """Whether it shows training errors. Their markers are hollow, and their bands are outlines."""
        return self.split in TRAINING_SPLITS

    @property
    def banded(self) -> bool:
        return bool((self.high > self.low).any())


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One pair of axes."""

    title: str
    xlabel: str
    ylabel: str
    lines: tuple[Line, ...]
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    ticks: tuple[float, ...] = ()  # of the y axis; empty: those of ticks.choose
    grid: tuple[float, ...] = ()  # y values with a line across
    notes: tuple[str, ...] = ()  # what dash, weight, marker and axes mean
    scale: str = "linear"  # of the y axis: linear | log
    xscale: str = "linear"  # of the x axis: linear | log
    xticks: tuple[float, ...] = ()  # of the x axis; empty: those of ticks.choose
    shade: tuple[float, float] | None = None  # y values between which the panel is shaded, as the margin


@dataclass(frozen=True, eq=False, kw_only=True)
class Picture:
    """A whole figure."""

    name: str  # a key of FIGURES, or identity
    title: str  # the data and settings that all its runs share
    panels: tuple[Panel, ...]
    across: int = 3  # panels in a row, if the width allows
    protocols: tuple[str, ...] = ()  # of its runs

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of all panels, each once."""
        return tuple(dict.fromkeys(note for panel in self.panels for note in panel.notes))

    @property
    def runs(self) -> list[str]:
        """The runs that it shows."""
        return sorted({run for panel in self.panels for line in panel.lines for run in line.runs})


@dataclass(frozen=True)
class Axis:
    """A quantity that can be on the x axis."""

    column: str  # of the curves
    label: str
    places: int  # digits after the point in a label
    unit: str

    def show(self, x: float) -> str:
        return f"{x:,.{self.places}f}{self.unit}"


AXES = {
    "iterations": Axis("iteration", "iterations", 0, ""),
    "epochs": Axis("epoch", "epochs", 1, " epochs"),
    "seconds": Axis("seconds", "wall time (s)", 0, " s"),
}
OWN_AXES = "each panel has its own axis"  # a note: readers compare heights
# over what the standard deviation of responses is taken -> the column that holds it
STD_COLUMNS = {"pooled": "std", "channel": "std_channel"}
# kind of training error -> its split and its name
TRAIN = {"running": ("train", "training"), "clean": ("train_clean", "clean training")}
TRAINING_SPLITS = tuple(split for split, _ in TRAIN.values())


@dataclass(frozen=True, kw_only=True)
class View:
    """How to look at the curves. Raises SpecError for an unknown key and for a `top` not above 0 and up to 100 %."""

    train: str = "running"  # a key of TRAIN
    x: str = "iterations"  # a key of AXES
    top: float | None = None  # %, end of the y axis; None: the paper's 20, or 100 if a net ends at 20 or above
    over: str = "pooled"  # a key of STD_COLUMNS

    def __post_init__(self) -> None:
        pick(TRAIN, self.train, "--train")
        pick(AXES, self.x, "--x")
        pick(STD_COLUMNS, self.over, "--over")
        if self.top is not None and not 0 < self.top <= 100:
            raise SpecError(f"--top={self.top:g}: must be a percentage above 0 and up to 100, as in 20")

    @property
    def split(self) -> str:
        return TRAIN[self.train][0]

    @property
    def training(self) -> str:
        return TRAIN[self.train][1]

    @property
    def axis(self) -> Axis:
        return AXES[self.x]

    def limit(self, curves: pd.DataFrame) -> float:
        """The end of the y axis (%): `top`, else the paper's 20 unless it hides where a net ends, else 100."""
        if self.top is not None:
            return self.top
        last = last_points(curves)
        over = last[
            last.state.isin(["finished", "diverged"])
        ]  # a seed that has just begun does not show where a group ends
        begun = last[~last.group.isin(over.group)]
        ends = pd.concat([over, begun]).groupby(["group", "split"]).error.mean()
        return _CUT if ends.max() < _CUT else 100.0

    def end(self, curves: pd.DataFrame) -> float:
        """The end of the x axis: the end of the longest schedule, so that a run under way shows how far it is.

        Wall time has no known end, so its axis ends at the last point. Raises NothingToDraw for epochs before the first
        step.
        """
        if self.x == "seconds":
            return float(curves.seconds.max())
        if self.x == "iterations":
            return float(curves.iterations.max())
        begun = curves[curves.iteration > 0]
        if begun.empty:
            raise NothingToDraw(
                f"--x={self.x}: no step was done yet, so the number of epochs is not known; use --x=iterations"
            )
        return float((begun[self.axis.column] * begun.iterations / begun.iteration).max())


def gridlines(top: float) -> tuple[float, ...]:
    """Round values up to `top` (%), not so dense that their labels touch."""
    if top >= _CUT:
        return tuple(y for y in _GRID if y <= top)
    return tuple(y for y in _FINE if top / 5 <= y <= top)


def yticks(top: float) -> tuple[float, ...]:
    """0, the gridlines, and the end of the axis if no gridline is near it."""
    grid = gridlines(top)
    return (0.0, *grid) if grid and grid[-1] > 0.9 * top else (0.0, *grid, top)


def require_rows(curves: pd.DataFrame, figure: str, splits: Sequence[str], what: str = "run") -> pd.DataFrame:
    """Keeps these splits of nets from random weights. Raises NothingToDraw if there is no row."""
    rows = curves[_DRAWN_COLUMNS][curves.split.isin(splits) & (curves.origin == "")]
    if rows.empty:
        raise NothingToDraw(f"{figure}: no {what} has a measured point; train one, or wait for its first evaluation")
    return rows
