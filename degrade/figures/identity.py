"""The figure of the identity experiment (Sec. 3.1): relative error against depth. Frames have the columns IDENTITY."""

import numpy as np
import pandas as pd

from degrade.figures.panels import Line, NothingToDraw, Panel

FLOOR = 1e-6  # smaller errors are drawn here: the output is off by a thousandth of the input's norm


def finals(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a net and depth: mean, std (sample), low and high of the last relative error over `seeds`.

    Each net and depth counts at the learning rate with the least mean.
    """
    last = frame[frame.iteration == frame.groupby("trial").iteration.transform("max")]
    by = last.groupby(["net", "blocks", "depth", "lr"])
    rows = by.agg(
        mean=("relative_error", "mean"),
        std=("relative_error", "std"),
        low=("relative_error", "min"),
        high=("relative_error", "max"),
        running=("running", "mean"),
        seeds=("seed", "nunique"),
    ).reset_index()
    best = rows.groupby(["net", "depth"])["mean"].idxmin()
    return rows.loc[best].sort_values(["net", "depth"], ignore_index=True)


def panels(frame: pd.DataFrame) -> list[Panel]:
    """One panel: a line per net, and a band from the least to the greatest seed.

    Raises NothingToDraw if every stack diverged.
    """
    rows = finals(frame)
    rows = rows[np.isfinite(rows["mean"])]
    if rows.empty:
        raise NothingToDraw("identity: every stack diverged; try a lower --lr")
    depths = sorted(rows.depth.unique())
    mean, runs = float(frame.predict_mean.iloc[0]), frame.groupby("net").trial.unique()
    lines = [_identity_line(str(net), own, tuple(sorted(runs[net]))) for net, own in rows.groupby("net")]
    bottom = 10.0 ** np.floor(np.log10(max(FLOOR, rows.low.min())))
    floored = (f"errors below {FLOOR:g} are drawn there",) if rows.low.min() < FLOOR else ()
    decades = 10.0 ** np.arange(round(np.log10(bottom)), 1)
    return [
        Panel(
            title="finding the identity",
            xlabel="weighted layers",
            ylabel="||f(x) - x||² / ||x||²",
            lines=tuple(lines),
            xlim=(depths[0] / 2**0.25, depths[-1] * 2**0.25),
            ylim=(bottom / 1.5, max(2.0, 1.5 * min(float(rows.high.max()), 100.0))),
            ticks=tuple(decades.tolist()),
            grid=(mean, 1.0),
            notes=("dashed: putting out zeros (above), each channel's mean (below)", *floored),
            scale="log",
            xticks=tuple(float(depth) for depth in depths),
        )
    ]


def _identity_line(net: str, rows: pd.DataFrame, runs: tuple[str, ...]) -> Line:
    def values(column: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.maximum(rows[column].to_numpy(float), FLOOR)

    seeds = int(rows.seeds.max())
    return Line(
        label=net + (f", {seeds} seeds" if seeds > 1 else ""),
        key=net,
        x=rows.depth.to_numpy(float),
        y=values("mean"),
        low=values("low"),
        high=values("high"),
        runs=runs,
    )


def title_of(frame: pd.DataFrame) -> str:
    """The settings that all stacks in the figure share."""
    first, rates = frame.iloc[0], sorted(frame.lr.unique())
    rate = f"lr {rates[0]:g}" if len(rates) == 1 else f"the best of lr {', '.join(f'{rate:g}' for rate in rates)}"
    return f"blocks of {first.layers} layers, {first.width} channels; {first.steps:,} steps, {rate}"
