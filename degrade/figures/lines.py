"""Figures as data: frame -> panels of labelled lines and bands. How they are drawn is draw.py's."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from degrade.curves import over_seeds
from degrade.errors import RunError

NETS = {"plain": 0, "residual": 1}  # order of panels, left to right
CUT = 20.0  # %, where the paper cuts its axis
GRID = (5.0, 10.0, 20.0)  # %, its gridlines


@dataclass(frozen=True, eq=False)
class Line:
    """y over x, with a band from low to high where it stands for several runs."""

    label: str  # in the legend; nothing: not there
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    depth: int  # says the colour
    dashed: bool
    bold: bool


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes."""

    title: str
    xlabel: str
    ylabel: str
    lines: tuple[Line, ...]
    top: float  # of the y axis
    grid: tuple[float, ...]
    key: str  # what dashed and bold mean


def fig6(curves: pd.DataFrame) -> list[Panel]:
    """Fig. 6: error (%) against iterations, dashed for training and bold for test; a panel for each net and shortcut.

    Several seeds become their mean and a band from the least to the greatest.
    Raises RunError if the runs have no test error yet.
    """
    frame = over_seeds(curves[curves.split.isin(["train", "test"])])
    if frame.empty:
        raise RunError("fig6: the runs have no measured point yet; wait for the first evaluation")
    top = axis_top(frame)
    panels: list[Panel] = []
    kinds = frame[["net", "shortcut"]].drop_duplicates().itertuples(index=False)
    for net, shortcut in sorted(kinds, key=lambda kind: (NETS.get(kind[0], len(NETS)), kind)):
        rows = frame[(frame.net == net) & (frame.shortcut == shortcut)]
        lines = [line(part) for _, part in rows.groupby(["depth", "width", "group", "split"], sort=True)]
        lines.sort(key=lambda each: (each.depth, not each.dashed))
        panels.append(
            Panel(
                title=kind_label(net, shortcut),
                xlabel="iterations",
                ylabel="error (%)",
                lines=tuple(lines),
                top=top,
                grid=gridlines(top),
                key="dashed: training, bold: test",
            )
        )
    return panels


def line(rows: pd.DataFrame) -> Line:
    """One group on one split, as a line; the test line stands for its group in the legend, as in the paper."""
    first = rows.iloc[0]
    rows = rows.sort_values("iteration")
    seeds = f", {int(first.seeds)} seeds" if first.seeds > 1 else ""
    width = f" w{first.width}" if first.width != 16 else ""
    return Line(
        label=f"{kind_label(first.net, first.shortcut)}-{first.depth}{width}{seeds}" if first.split == "test" else "",
        x=rows.x.to_numpy(float),
        y=rows["mean"].to_numpy(float),
        low=rows.low.to_numpy(float),
        high=rows.high.to_numpy(float),
        depth=int(first.depth),
        dashed=first.split == "train",
        bold=first.split == "test",
    )


def kind_label(net: str, shortcut: str) -> str:
    """plain, residual-A."""
    return net if shortcut == "none" else f"{net}-{shortcut}"


def axis_top(frame: pd.DataFrame) -> float:
    """The paper's cut at 20 % where every net ends below it, else the whole range: nothing is hidden."""
    last = frame[frame.iteration == frame.groupby(["group", "split"]).iteration.transform("max")]
    return CUT if last["mean"].max() < CUT else 100.0


def gridlines(top: float) -> tuple[float, ...]:
    return tuple(y for y in (*GRID, 40.0, 60.0, 80.0) if y <= top)
