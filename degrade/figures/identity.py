"""The figure of the identity experiment (Sec. 3.1): error against depth, a panel a target. Frames have its columns."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from degrade.figures.panels import Line, NothingToDraw, Panel
from degrade.figures.ticks import write

FLOOR = 1e-6  # smaller errors are drawn here: the output is off by a thousandth of the target's deviation
CELL = ["target", "net", "init", "decay", "blocks"]  # within a cell, means are over seeds
TITLES = {
    "identity": "target: the identity",
    "permutation": "target: channels permuted",
    "random": "target: a random block",
}
_STARTS = {"he": "", "dirac": ", dirac"}  # what the legend adds to the net
_DASHES = ("solid", "dashed", "dotted", "dash-dotted")  # of the values of weight decay, greatest first
_NUMBERS = {  # column -> of which column, and how it is summed up over seeds
    "mean": ("relative_error", "mean"),
    "std": ("relative_error", "std"),
    "low": ("relative_error", "min"),
    "high": ("relative_error", "max"),
    "running": ("running", "mean"),
    "seeds": ("seed", "nunique"),
    "unexplained": ("unexplained", "mean"),
    "unexplained_std": ("unexplained", "std"),
    "unexplained_low": ("unexplained", "min"),
    "unexplained_high": ("unexplained", "max"),
}


def choose_rates(frame: pd.DataFrame, seeds: Collection[int]) -> dict[tuple[str | int | float, ...], float]:
    """The rate of each cell with the least mean error over these seeds, by the values of CELL."""
    rows = _by_rate(frame[frame.seed.isin(list(seeds))])
    best = rows.loc[rows.groupby(CELL)["mean"].idxmin()]
    return dict(zip(best[CELL].itertuples(index=False, name=None), best.lr, strict=True))


def finals(frame: pd.DataFrame, pick: Collection[int] = ()) -> pd.DataFrame:
    """One row a cell: mean, std (sample), low and high of the last relative error over seeds.

    `unexplained` is the error as a part of the target's variance around the means of its channels. A cell counts at the
    rate with the least mean over the seeds `pick`, which are then left out; without `pick`, at the least of the very
    means shown. `picked` says which it was.
    """
    shown = ~frame.seed.isin(list(pick))
    rows, rates = _by_rate(frame[shown]), frame.groupby(CELL).lr.nunique()
    best = choose_rates(frame, pick or frame.seed.unique())
    cells = list(rows[CELL].itertuples(index=False, name=None))
    rows = rows.assign(picked=[_say_picked(rates[cell], pick) for cell in cells])
    rows = rows[[best[cell] == lr for cell, lr in zip(cells, rows.lr, strict=True)]]
    return rows.sort_values(
        ["target", "net", "init", "decay", "depth"],
        ascending=[True, True, False, False, True],  # what the paper has, before what it has not
        ignore_index=True,
    )


def _say_picked(rates: int, pick: Collection[int]) -> str:
    if rates == 1:
        return ""
    return f"seeds {','.join(map(str, sorted(pick)))}" if pick else "shown"


def _by_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a cell and rate, over the seeds of the frame, at the last iteration of each trial."""
    of_trial = [*CELL, "lr", "seed"]
    last = frame[frame.iteration == frame.groupby(of_trial).iteration.transform("max")]
    last = last.assign(unexplained=last.relative_error / last.predict_mean)
    return last.groupby([*CELL, "depth", "lr"]).agg(**_NUMBERS).reset_index()


def panels(frame: pd.DataFrame, pick: Collection[int] = ()) -> list[Panel]:
    """A panel a target: a line per net, start and weight decay, and a band from the least to the greatest seed.

    Raises NothingToDraw if every stack diverged.
    """
    rows = finals(frame, pick)
    rows = rows[np.isfinite(rows["mean"])]
    if rows.empty:
        raise NothingToDraw("identity: every stack diverged; try a lower --lr")
    depths = sorted(rows.depth.unique())
    bottom = 10.0 ** np.floor(np.log10(max(FLOOR, rows.unexplained_low.min())))
    floored = (
        (f"caret down: below {write([FLOOR], 'log')[0]}, drawn there",) if rows.unexplained_low.min() < FLOOR else ()
    )
    decades = 10.0 ** np.arange(round(np.log10(bottom)), 1)
    return [
        Panel(
            title=TITLES[str(target)],
            xlabel="weighted layers",
            ylabel="error / variance of the target",
            lines=_lines(own, frame),
            xlim=(depths[0] / 2**0.25, depths[-1] * 2**0.25),
            ylim=(bottom / 1.5, max(2.0, 1.5 * min(float(rows.unexplained_high.max()), 100.0))),
            ticks=tuple(decades.tolist()),
            grid=(1.0,),
            notes=("dashed across: putting out each channel's mean", *floored),
            scale="log",
            xscale="log",
            xticks=tuple(float(depth) for depth in depths),
        )
        for target, own in rows.groupby("target")
    ]


def _lines(rows: pd.DataFrame, frame: pd.DataFrame) -> tuple[Line, ...]:
    """The lines of one target. Colour and marker say net and start; the dash says weight decay."""
    decays = sorted(frame.decay.unique(), reverse=True)
    made: list[Line] = []
    for (net, init, decay), own in rows.groupby(["net", "init", "decay"], sort=False):
        key = f"{net}{_STARTS[str(init)]}"
        kind = ["target", "net", "init", "decay"]
        shown = frame[(frame[kind] == own[kind].iloc[0]).all(axis=1)]
        made.append(
            Line(
                label=key if decay == decays[0] else f"{key}, decay {decay:g}",
                key=key,
                x=own.depth.to_numpy(float),
                y=_floored(own, "unexplained"),
                beyond=tuple(-int(value < FLOOR) for value in own.unexplained),
                low=_floored(own, "unexplained_low"),
                high=_floored(own, "unexplained_high"),
                dash=_DASHES[decays.index(decay) % len(_DASHES)],
                net=str(net),
                seeds=tuple(sorted({*shown.seed.astype(int)})),
                runs=tuple(sorted(shown.trial.unique())),
            )
        )
    return tuple(made)


def _floored(rows: pd.DataFrame, column: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.maximum(rows[column].to_numpy(float), FLOOR)


def title_of(frame: pd.DataFrame, pick: Collection[int] = ()) -> str:
    """The settings that all stacks in the figure share."""
    first, rates, decays = frame.iloc[0], sorted(frame.lr.unique()), sorted(frame.decay.unique())
    tried = ", ".join(f"{rate:g}" for rate in rates)
    where = f" on seed {', '.join(map(str, sorted(pick)))}" if pick else ""
    rate = f"lr {tried}" if len(rates) == 1 else f"the best of lr {tried}{where}"
    seeds = len({*frame.seed} - {*pick})
    decay = f"; decay {decays[-1]:g} where no other is named" if len(decays) > 1 else ""
    stacks = f"blocks of {first.layers} layers, {first.width} channels; {first.steps:,} steps"
    return f"{stacks}, {rate}; {seeds} {'seed' if seeds == 1 else 'seeds'}{decay}"
