"""Gradient norms over depth. The paper calls them "healthy norms" (Sec. 4.1) and does not show them.

The frame is `probe` of degrade.store.results.Tables: a row per (run, iteration, weighted layer).
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from degrade.analysis.curves import CURVE_KEYS
from degrade.figures.lines import NET_ORDER, facts_of, keys_of, kind_label
from degrade.figures.panels import Line, NothingToDraw, Panel, View
from degrade.figures.ticks import choose_log, limits

NO_PROBE = (
    "no run has a probe; train with `degrade sweep ... engine.probe=100`, or probe a finished run with "
    "`degrade rerun RUN --probe 100`"
)
# Parts of the training after which norms are shown. The first and the last probe, t1 and t4, are always shown.
_BETWEEN = {"t2": 0.1, "t3": 0.5}
_KIND = ["net", "shortcut", "width", "protocol", "turn"]  # the columns that panels above one another share
_NOTE = "norm of the loss's gradient by the weight of each layer, on one batch"
_BAND = "band: least to greatest seed"


def gradients(rows: pd.DataFrame, view: View) -> list[Panel]:
    """Norms over depth at up to four times: the shallowest nets above, the deepest nets below, plain nets first.

    Seeds become their mean and a band from the least to the greatest, at iterations where all of them were probed. All
    panels share the y axis. Raises NothingToDraw if no probed net began from random weights.
    """
    own = _keep_shared_iterations(rows[(rows.origin == "") & (rows.grad_norm > 0)])
    if own.empty:
        raise NothingToDraw("gradients: no net that began from random weights has a probe with a gradient above 0")
    depths = sorted({int(own.depth.min()), int(own.depth.max())})
    own = _add_turns(_add_times(own[own.depth.isin(depths)]))
    ylim = limits(own.grad_norm)
    kinds = own[_KIND].drop_duplicates().itertuples(index=False, name=None)
    kinds = sorted(kinds, key=lambda kind: (NET_ORDER.get(kind[0], len(NET_ORDER)), kind))
    parts = dict(iter(own.groupby(["depth", *_KIND])))
    names = keys_of(own)
    return [_norm_panel(depth, kind, parts.get((depth, *kind)), names, ylim) for depth in depths for kind in kinds]


def abreast(panels: Sequence[Panel]) -> int:
    """Panels in a row: the panels of one depth, which share an x axis."""
    return sum(panel.xlim == panels[0].xlim for panel in panels)


def _keep_shared_iterations(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps iterations at which every seed of a group was probed, so that each mean is over the same runs."""
    seeds = rows.groupby(["group", "iteration"]).run.transform("nunique")
    return rows[seeds == rows.groupby("group").run.transform("nunique")]


def _add_turns(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds a column `turn`: 0, 1, ... for groups of equal net, shortcut, width, protocol and depth."""
    groups = rows[CURVE_KEYS].drop_duplicates().sort_values(CURVE_KEYS)
    turn = groups.groupby([key for key in CURVE_KEYS if key != "group"]).cumcount()
    return rows.assign(turn=rows.group.map(dict(zip(groups.group, turn, strict=True))))


def _norm_panel(
    depth: int,
    kind: tuple[str, str, int, str, int],
    rows: pd.DataFrame | None,
    names: dict[str, str],
    ylim: tuple[float, float],
) -> Panel:
    """The panel of one group. Without rows it is empty and says so, to keep its place beside the other depth."""
    net, shortcut, width, *_ = kind
    if rows is None:
        name, said = f"{depth}" + (f" w{width}" if width != 16 else ""), ": no probe"
    else:
        name, seeds = names[rows.group.iloc[0]], rows.run.nunique()
        said = f", {seeds} seeds" if seeds > 1 else ""
    lines = () if rows is None else tuple(_norm_lines(rows))
    return Panel(
        title=f"{kind_label(net, shortcut)}-{name}{said}",
        xlabel="layer",
        ylabel="gradient norm",
        lines=lines,
        xlim=(0, depth),
        ylim=ylim,
        ticks=choose_log(*ylim),
        grid=choose_log(*ylim),
        notes=(_NOTE, *((_BAND,) if any((line.high > line.low).any() for line in lines) else ())),
        scale="log",
    )


def _norm_lines(rows: pd.DataFrame) -> Iterator[Line]:
    """The norms of one group over its layers: one line per time, the earliest first."""
    for time, own in rows.groupby("time"):
        by = own.groupby("layer").grad_norm.agg(["mean", "min", "max"])
        yield Line(
            label=f"iteration {own.iteration.iloc[0]:,}",
            key=str(time),
            x=by.index.to_numpy(float),
            y=by["mean"].to_numpy(float),
            low=by["min"].to_numpy(float),
            high=by["max"].to_numpy(float),
            **facts_of(rows),
        )


def _add_times(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps the rows of each group at the times that are shown, and adds a column `time` with their names."""
    end, parts = _estimate_end(sorted(rows.iteration.unique())), list[pd.DataFrame]()
    for _, own in rows.groupby("group"):
        shown = times(sorted(own.iteration.unique()), end)
        parts += [own[own.iteration == iteration].assign(time=time) for time, iteration in shown.items()]
    return pd.concat(parts)


def _estimate_end(probed: Sequence[int]) -> int:
    """Estimates the last iteration of the training: one more probe interval after the last probe. `probed` rises."""
    return probed[-1] + (probed[-1] - probed[-2] if len(probed) > 1 else 0)


def times(probed: Sequence[int], end: int) -> dict[str, int]:
    """Picks the first probed iteration, those nearest to 10 % and 50 % of `end`, and the last. `probed` rises."""
    found = {"t1": probed[0]}
    for key, share in _BETWEEN.items():
        near = min(probed, key=lambda iteration: abs(iteration - share * end))
        if near not in (*found.values(), probed[-1]):
            found[key] = near
    return found | ({"t4": probed[-1]} if len(probed) > 1 else {})
