"""`degrade.plot`: one figure of runs, as a matplotlib Figure to show, change or save."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as MplFigure

from degrade.errors import RunError, pick
from degrade.figures import FIGURES, Canvas, NothingToDraw, View, draw, picture
from degrade.figures.frames import collect
from degrade.store.results import Tables, load


def plot(
    results: Tables | Path | str = "results",
    figure: str = "fig6",
    *,
    net: Sequence[str] = (),
    depth: Sequence[int] = (),
    shortcut: Sequence[str] = (),
    data: Sequence[str] = (),
    protocol: str = "",
    mix: bool = False,
    train: str = "running",
    x: str = "iterations",
    top: float | None = None,
    width: str | float = "",
    title: bool = True,
    style: str = "paper",
) -> MplFigure:
    """Draws one figure of the runs under a results folder, or of what `degrade.load` returned.

    `net`, `depth`, `shortcut` and `data` choose runs. A figure shows the runs of one protocol: where there are several,
    `protocol` is the name of one, or its beginning, and `mix` draws all of them. The other words are the options of
    `degrade plot`: `train` is running or clean; `x` is iterations, epochs or seconds; `top` ends the error axis (%);
    `width` is column, text, slide or inches; `style` is paper or dark.

    Raises SpecError for a word that cannot be. Raises RunError if the runs do not allow the figure.
    """
    wanted = pick(FIGURES, figure, "figure")
    view, canvas = View(train=train, x=x, top=top), Canvas(width=str(width), title=title, style=style)
    tables = results if isinstance(results, Tables) else load(results)
    chosen = {"net": net, "depth": [str(each) for each in depth], "shortcut": shortcut, "data": data}
    rows = collect(tables, chosen, [wanted.table])[wanted.table]
    if protocol:
        rows = rows[rows.protocol.str.startswith(protocol)]
    there = sorted({*rows.protocol})
    if len(there) > 1 and not mix:
        raise RunError(
            f"{figure}: the runs have {len(there)} protocols; name one, as in protocol={there[0]!r}, or mix=True"
        )
    if protocol and rows.empty:
        raise RunError(f"{figure}: no run has protocol={protocol!r}; leave it out to see what there is")
    if rows.empty:
        raise NothingToDraw(f"{figure}: {wanted.missing}")
    shown = picture(figure, rows, view, tables.labels())
    return draw(shown.panels, shown.title, shown.across, canvas)
