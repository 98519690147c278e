"""The command that judges what was trained."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Roots, app, listed
from degrade.errors import RunError


@app.command()
def compare(
    results: Roots = None,
    table: Annotated[
        str, typer.Option(metavar="A,B", help="summary, reached, paper, table6, constructed, interaction, verdicts")
    ] = "",
    form: Annotated[str, typer.Option("--format", help="table, markdown, latex, json or csv")] = "table",
    last: Annotated[int, typer.Option(metavar="K", max=10**6, help="Mean over the last K evaluations")] = 5,
    margin: Annotated[float, typer.Option(help="Smallest difference of interest, in points of error")] = 0.5,
    width: Annotated[
        float | None, typer.Option(help="Count seeds for an interval of ± so many points; default: to decide")
    ] = None,
    net: Annotated[str, typer.Option(metavar="A,B", help="Only these nets, as in plain,residual")] = "",
    depth: Annotated[str, typer.Option(metavar="A,B", help="Only these depths, as in 20,56")] = "",
    shortcut: Annotated[str, typer.Option(metavar="A,B", help="Only these options; plain nets stay")] = "",
    data: Annotated[str, typer.Option(metavar="A,B", help="Only these datasets")] = "",
) -> None:
    """Judge the runs by statistics. Does training error rise with depth, and are the errors the paper's?

    Errors of each group over seeds, verdicts with intervals, the interaction of depth and net, the paper's numbers
    beside ours. docs/verdicts.md explains every number. CSV is one table, the verdicts where --table names none.
    """
    from degrade.analysis import compare, curves
    from degrade.store import folder
    from degrade.views import compare as writing
    from degrade.views import terminal

    names, roots = listed(table), results or [Path("results")]
    writing.check(form, names)
    tables = folder.load(*roots)
    if tables.curves.empty:
        where = ", ".join(map(str, roots))
        raise RunError(f"{where}: no run has a measured point; train one, or wait for its first evaluation")
    wanted = {"net": listed(net), "depth": listed(depth), "shortcut": listed(shortcut), "data": listed(data)}
    rows = curves.chosen(tables.runs, **wanted)
    found = compare.compare(tables._replace(runs=rows), last=last, margin=margin, width=width)
    if form == "table":
        shown = writing.sheets(found, names)
        if not shown:
            raise RunError(f"--table={table}: nothing to say there of these runs; leave it out to see what there is")
        terminal.show(shown)
        return
    print(writing.written(found, form, names))
    if form == "csv" and len(found.left_out):
        print(f"degrade: {len(found.left_out)} runs are not over and left out", file=sys.stderr)
