"""Commands that turn what was trained into answers."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Roots, app, command, figures_in, listed, say

FIGURES = (
    "fig1, fig4, fig6, options, fig7, blocks, gates, gradients, constructed"  # of degrade.figures, not loaded here
)


@app.command()
def plot(
    results: Roots = None,
    figure: Annotated[list[str] | None, typer.Option(help=f"{FIGURES}; default: all that the runs allow")] = None,
    net: Annotated[str, typer.Option(metavar="A,B", help="Only these nets, as in plain,residual")] = "",
    depth: Annotated[str, typer.Option(metavar="A,B", help="Only these depths, as in 20,56")] = "",
    shortcut: Annotated[str, typer.Option(metavar="A,B", help="Only these options; plain nets stay")] = "",
    data: Annotated[str, typer.Option(metavar="A,B", help="Only these datasets")] = "",
    train: Annotated[
        str, typer.Option(help="Training error: running (augmented mini-batches) or clean (evaluation mode)")
    ] = "running",
    x: Annotated[str, typer.Option(help="iterations, epochs or seconds")] = "iterations",
    top: Annotated[
        float | None, typer.Option(help="Where the error axis ends, in %; default: 20, or 100 if a net ends above")
    ] = None,
    mix: Annotated[bool, typer.Option("--mix", help="Draw all protocols in one figure, which then says so")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
) -> None:
    """Draw the paper's figures of the runs under RESULTS. They come as PNG, SVG and PDF.

    Several seeds become a mean and a band from the least to the greatest; runs under way are drawn as far as they are.
    """
    from degrade import figures
    from degrade.analysis import curves
    from degrade.store import folder

    view, roots = figures.View(train=train, x=x, top=top), results or [Path("results")]
    tables = folder.load(*roots)
    wanted = {"net": listed(net), "depth": listed(depth), "shortcut": listed(shortcut), "data": listed(data)}
    rows = curves.standing(curves.chosen(tables.curves, **wanted), tables.runs)
    names = [name for given in figure or [] for name in listed(given)]
    runs = rows.run.unique()
    shown = {"curves": rows, **{name: frame[frame.run.isin(runs)] for name, frame in tables.measured().items()}}
    drawn = figures.save(shown, names, figures_in(out, roots[0]), view, mix=mix, command=command())
    raise typer.Exit(say(drawn))
