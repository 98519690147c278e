"""The solution by construction (Sec. 1) beside what training finds.

The frame comes from analysis.curves.add_standing: a row per (run, iteration, split).
"""

import pandas as pd

from degrade.figures.lines import Look, error_lines, error_panel, keys_of, kind_label, say_axes
from degrade.figures.panels import NothingToDraw, Panel, View
from degrade.spec.run import copied_depth

_CLEAN = "train_clean"  # the only training error that a net has before its first step


def constructed(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Clean training error left, test error right; one row of panels for each net and shortcut with constructed nets.

    A constructed net begins at iteration 0 as a copy of the shallow net. Nets of both depths from random weights are
    dashed. Raises NothingToDraw if no net was constructed.
    """
    rows = curves[curves.split.isin([_CLEAN, "test"])]
    kinds = rows[rows.origin != ""][["net", "shortcut"]].drop_duplicates()
    if kinds.empty:
        raise NothingToDraw(
            "constructed: no run is a constructed net; make one with `degrade construct --ckpt RUN depth=56`"
        )
    made: list[Panel] = []
    for net, shortcut in sorted(kinds.itertuples(index=False)):
        own = _keep_related(rows[(rows.net == net) & (rows.shortcut == shortcut)])
        keys, top, end = keys_of(own), view.limit(own), view.end(own)
        for split, title in ((_CLEAN, "clean training error"), ("test", "test error")):
            scratch, built = own[own.origin == ""], own[own.origin != ""]
            lines = [*error_lines(scratch, view, {split: Look("dashed", "thin")}, keys)]
            lines += [*error_lines(built, view, {split: Look()}, keys)]
            name = f"{kind_label(net, shortcut)}: {title}"
            notes = ("bold: constructed", "dashed: from random weights")
            made.append(error_panel(name, tuple(lines), view, (0, end), top, notes))
    return say_axes(made)


def _keep_related(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps constructed nets, and nets from random weights of the constructed and the copied depths."""
    built = rows[rows.origin != ""]
    sources = {copied_depth(origin) for origin in built.origin.unique()}
    return rows[(rows.origin != "") | rows.depth.isin(sources | set(built.depth))]
