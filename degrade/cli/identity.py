"""The command that asks whether solvers find the identity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from degrade.cli.app import Root, app, command, listed, numbers, out
from degrade.errors import SpecError, Stopped

if TYPE_CHECKING:
    import pandas as pd


@app.command()
def identity(
    blocks: Annotated[str, typer.Option(metavar="A,B", help="Blocks in a stack")] = "1,2,4,8,16",
    layers: Annotated[int, typer.Option(help="3x3 layers in a block: 1, 2 or 3")] = 2,
    net: Annotated[str, typer.Option(metavar="A,B", help="plain, residual")] = "plain,residual",
    seeds: Annotated[str, typer.Option(metavar="A,B", help="Seeds of weights and images")] = "0,1,2",
    steps: Annotated[int, typer.Option(help="SGD steps of a stack")] = 1500,
    width: Annotated[int, typer.Option(help="Channels")] = 16,
    lr: Annotated[
        str, typer.Option(metavar="A,B", help="Learning rate; of several, each net and depth takes its best")
    ] = "3",
    jobs: Annotated[int | None, typer.Option(help="Worker processes; default: one a core")] = None,
    results: Root = Path("results"),
) -> None:
    """Train stacks of blocks to reproduce their input. Can solvers find the identity?

    The question of Sec. 3.1. Plain and residual stacks get random, non-negative features and are to put them out again.
    A solution is known for both, so the error that is left is the solver's. Takes about three minutes on two cores;
    stopped, the same command goes on.
    """
    from degrade.experiments.identity import grid
    from degrade.sweep.workers import default_jobs

    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs={jobs}: must be at least 1")
    asked = grid.trials(
        net=listed(net),
        blocks=numbers("blocks", blocks, int),
        seeds=numbers("seeds", seeds, int),
        lr=numbers("lr", lr, float),
        layers=layers,
        steps=steps,
        width=width,
    )
    try:
        frame = grid.measured(asked, results, jobs or default_jobs(on_cpu=True))
    except Stopped as stopped:
        print(f"stopped; what is done is kept in {grid.home(asked, results)}: the same command goes on")
        raise typer.Exit(128 + stopped.signal) from None
    show(frame)
    for path in grid.draw(frame, grid.home(asked, results), command()):
        out(path)


def show(frame: "pd.DataFrame") -> None:
    """Mean ± sample standard deviation of the last relative error over seeds; below, what it is to copy nothing."""
    from degrade.figures.identity import finals
    from degrade.views.terminal import console, grid

    table = grid("net", ">blocks", ">layers", ">lr", ">||f(x) - x||² / ||x||²", ">running", ">seeds")
    for row in finals(frame).to_dict("records"):
        spread = "" if row["std"] != row["std"] else f" ± {row['std']:.2g}"
        error = "diverged" if row["mean"] == float("inf") else f"{row['mean']:.3g}{spread}"
        cells = (row["net"], str(row["blocks"]), str(row["depth"]), f"{row['lr']:g}", error)
        table.add_row(*cells, f"{row['running']:.3g}", str(row["seeds"]))
    console.print(table)
    console.print(f"zeros: 1; each channel's mean, whatever comes in: {frame.predict_mean.iloc[0]:.3g}")
