"""The command that asks whether solvers find the identity."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Form, Json, Private, Root, app, choose_format, command_line, parse_numbers, split_list, tell
from degrade.errors import SpecError, Stopped
from degrade.views.steps import tell_next


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
    target: Annotated[
        str, typer.Option(metavar="A,B", help="What to put out: identity, permutation (of channels), random (block)")
    ] = "identity",
    decay: Annotated[str, typer.Option(metavar="A,B", help="Weight decay")] = "1e-4",
    init: Annotated[
        str, typer.Option(metavar="A,B", help="Initial weights: he, or dirac: the stack begins at the identity")
    ] = "he",
    pick: Annotated[
        str, typer.Option(metavar="A,B", help="Seeds that only choose the best rate; default: the seeds shown do")
    ] = "",
    jobs: Annotated[int | None, typer.Option(help="Worker processes; default: one a core")] = None,
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Train stacks of blocks to reproduce their input. Can solvers find the identity?

    The question of Sec. 3.1. Plain and residual stacks get random, non-negative features and must reproduce them. Other
    targets, other initial weights and no weight decay say how much of the answer is about the identity. Takes about
    three minutes on two cores. If it is stopped, the same command goes on.
    """
    from degrade.cli.sheets import stacks
    from degrade.experiments.identity import grid
    from degrade.train.processes import default_jobs
    from degrade.views.terminal import answer

    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs={jobs}: must be at least 1")
    with_seeds = partial(
        grid.trials,
        net=split_list(net),
        blocks=parse_numbers("blocks", blocks, int),
        lr=parse_numbers("lr", lr, float),
        target=split_list(target),
        weight_decay=parse_numbers("decay", decay, float),
        init=split_list(init),
        layers=layers,
        steps=steps,
        width=width,
    )
    asked, chosen_on = with_seeds(seeds=parse_numbers("seeds", seeds, int)), parse_numbers("pick", pick, int)
    tried = with_seeds(seeds=chosen_on) if chosen_on else []
    with answer(choose_format(form, json), private=private) as show:
        try:
            frame = grid.measure(asked, tried, results, jobs or default_jobs(on_cpu=True))
        except Stopped as stopped:
            print(f"stopped; finished trials are kept in {grid.home(asked, results)}: the same command goes on")
            raise typer.Exit(128 + stopped.signal) from None
        show(stacks(frame, chosen_on))
        for path in grid.draw(frame, grid.home(asked, results), command_line(private=private), chosen_on):
            tell(path)
        tell_next(choose_format(form, json), "docs/construction.md says what these errors mean")
