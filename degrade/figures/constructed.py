"""The solution by construction (Sec. 1) beside what training finds: frame of analysis.curves.standing -> panels."""

import pandas as pd

from degrade.figures.lines import Look, keys_of, kind_label, lines_of, panel
from degrade.figures.panels import NothingToDraw, Panel, View
from degrade.spec.run import copied_depth

CLEAN = "train_clean"  # the only training error that a net has before its first step


def constructed(curves: pd.DataFrame, view: View) -> list[Panel]:
    """Clean training error left, test error right, a row for each net and shortcut that has constructed nets.

    A constructed net begins at iteration 0, where it is a copy of the shallow one; nets of both depths trained from
    random weights are dashed. Raises NothingToDraw where nothing was constructed.
    """
    rows = curves[curves.split.isin([CLEAN, "test"])]
    kinds = rows[rows.origin != ""][["net", "shortcut"]].drop_duplicates()
    if kinds.empty:
        raise NothingToDraw("constructed: no net was; `degrade construct --ckpt RUN depth=56` makes one")
    made: list[Panel] = []
    for net, shortcut in sorted(kinds.itertuples(index=False)):
        own = related(rows[(rows.net == net) & (rows.shortcut == shortcut)])
        keys, top, end = keys_of(own), view.limit(own), view.end(own)
        for split, title in ((CLEAN, "clean training error"), ("test", "test error")):
            scratch, built = own[own.origin == ""], own[own.origin != ""]
            lines = [*lines_of(scratch, view, {split: Look("dashed", "thin")}, keys)]
            lines += [*lines_of(built, view, {split: Look()}, keys)]
            name = f"{kind_label(net, shortcut)}: {title}"
            notes = ("bold: constructed", "dashed: from random weights")
            made.append(panel(name, tuple(lines), view, (0, end), top, notes))
    return made


def related(rows: pd.DataFrame) -> pd.DataFrame:
    """Constructed nets, and those from random weights of their depths and of the depths they copy."""
    built = rows[rows.origin != ""]
    sources = {copied_depth(origin) for origin in built.origin.unique()}
    return rows[(rows.origin != "") | rows.depth.isin(sources | set(built.depth))]
