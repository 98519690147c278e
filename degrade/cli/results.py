"""Commands that turn runs into answers: figures and verdicts."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from degrade.cli.app import (
    Form,
    Json,
    Private,
    Roots,
    app,
    choose_figure_folder,
    choose_format,
    command_line,
    say,
    split_list,
    tell,
)
from degrade.cli.offer import offer_values
from degrade.errors import RunError
from degrade.views import steps

if TYPE_CHECKING:
    from degrade.store.results import Tables

_FIGURES = "FIGURES"  # stands for the names of all figures in the help


class _Plot(TyperCommand):
    """A command whose help names every figure. It loads the figures only when help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from degrade import figures

        for option in self.params:
            if isinstance(option, TyperOption) and option.name == "figure":
                option.help = str(option.help).replace(_FIGURES, ", ".join(figures.FIGURES))
        super().format_help(ctx, formatter)


@app.command(cls=_Plot)
def plot(
    results: Roots = None,
    figure: Annotated[list[str] | None, typer.Option(help=f"{_FIGURES}; default: all that the runs allow")] = None,
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
    width: Annotated[
        str, typer.Option(metavar="column|text|slide|INCHES", help="Width on paper; type is at least 6 pt there")
    ] = "",
    title: Annotated[bool, typer.Option("--title/--no-title", help="Name data and settings above the panels")] = True,
    style: Annotated[str, typer.Option(metavar="paper|dark", help="Black on white, or light on dark")] = "paper",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
    private: Private = False,
) -> None:
    """Draw the paper's figures of the runs under RESULTS. They come as PNG, SVG and PDF.

    Several seeds become a mean and a band from the least to the greatest. Runs under way are drawn as far as they got.
    """
    from degrade import figures
    from degrade.figures.frames import collect
    from degrade.store.results import load

    view, canvas = figures.View(train=train, x=x, top=top), figures.Canvas(width=width, title=title, style=style)
    roots = results or [Path("results")]
    tables = load(*roots)
    _demand_points(tables, roots)
    wanted = {
        "net": split_list(net),
        "depth": split_list(depth),
        "shortcut": split_list(shortcut),
        "data": split_list(data),
    }
    names = [name for given in figure or [] for name in split_list(given)]
    shown = collect(
        tables, wanted, [each.table for name, each in figures.FIGURES.items() if not names or name in names]
    )
    folder, command = choose_figure_folder(out, roots[0]), command_line(private=private)
    labels = tables.labels()
    drawn = figures.save(shown, names, folder, view, mix=mix, command=command, labels=labels, canvas=canvas)
    raise typer.Exit(say(drawn))


@app.command()
def share(
    results: Roots = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the copy: a results folder to pass on")
    ] = None,
) -> None:
    """Copy the runs that are over to a results folder for others: without paths, host, user, logs and checkpoints.

    Names, curves and tables stay as they are, and every file is checked and sealed. `degrade plot` and
    `degrade compare` read the copy.
    """
    from degrade.store.share import share

    if out is None:
        raise RunError("share: say where to, as in --out to-share")
    found = share(results or [Path("results")], out)
    for run, state in sorted(found.left_out.items()):
        tell(f"left out: {run}, {state.name}")
    tell(f"{len(found.runs)} runs in {out}; {len(found.left_out)} that are not over are left out")
    steps.tell_next("table", f"{steps.command('verify', root=out)}, then pass the folder on")


def _demand_points(tables: "Tables", roots: Sequence[Path]) -> None:
    """Raises RunError where no run has been measured yet; says how many failed."""
    if tables.curves.empty:
        where, names = ", ".join(map(str, roots)), list(tables.runs.state) if len(tables.runs) else []
        failed = names.count("failed") + names.count("damaged")
        if not names:
            words = shlex.join(["degrade", "sweep", "study=quickstart", *steps.name_root(roots[0])])
            raise RunError(f"{where}: holds no runs yet; try: {words}")
        said = f"no run has a measured point, and {failed} failed" if failed else "no run has a measured point"
        listing = steps.command("status", root=roots[0])
        way_out = f"`{listing}` says why" if failed else f"wait for the first evaluation; `{listing}` shows how far"
        raise RunError(f"{where}: {said}; {way_out}")


@app.command()
def compare(
    results: Roots = None,
    table: Annotated[
        str,
        typer.Option(metavar="A,B", help="lines, summary, reached, paper, table6, constructed, interaction, verdicts"),
    ] = "",
    form: Form = "table",
    json: Json = False,
    last: Annotated[int, typer.Option(metavar="K", max=10**6, help="Mean over the last K evaluations")] = 5,
    scale: Annotated[
        str,
        typer.Option(
            metavar="points|odds",
            help="What decides: error, or odds of a mistake",
            autocompletion=offer_values("points", "odds"),
        ),
    ] = "points",
    margin: Annotated[
        float | None,
        typer.Option(help="Smallest difference of interest: points of error (0.5), or times the odds (1.25)"),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Count seeds for an interval of ± so many points; default: to decide")
    ] = None,
    net: Annotated[str, typer.Option(metavar="A,B", help="Only these nets, as in plain,residual")] = "",
    depth: Annotated[str, typer.Option(metavar="A,B", help="Only these depths, as in 20,56")] = "",
    shortcut: Annotated[str, typer.Option(metavar="A,B", help="Only these options; plain nets stay")] = "",
    data: Annotated[str, typer.Option(metavar="A,B", help="Only these datasets")] = "",
    private: Private = False,
) -> None:
    """Judge the runs by statistics. Does training error rise with depth, and are the errors the paper's?

    Says first what follows for each line of nets, then shows the errors of each group over seeds, verdicts with
    intervals, the interaction of depth and net, and the paper's numbers beside ours. docs/verdicts.md explains every
    number. CSV is one table: the verdicts, unless --table names another.
    """
    from degrade.analysis import compare, curves
    from degrade.spec.differences import name_protocols
    from degrade.store.private import shorten_places
    from degrade.store.results import load
    from degrade.views import compare as writing
    from degrade.views import terminal

    names, roots, form = split_list(table), results or [Path("results")], choose_format(form, json)
    writing.check(form, names)
    tables = load(*roots)
    _demand_points(tables, roots)
    wanted = {
        "net": split_list(net),
        "depth": split_list(depth),
        "shortcut": split_list(shortcut),
        "data": split_list(data),
    }
    rows = curves.choose(tables.runs, **wanted)
    found = compare.compare(tables._replace(runs=rows), last=last, margin=margin, width=width, scale=scale)
    called = name_protocols(tables.specs.values(), tables.labels())
    if form == "table":
        shown = writing.sheets(found, names, called)
        if not shown:
            raise RunError(f"--table={table}: nothing to say there of these runs; leave it out to see what there is")
        terminal.show(shown)
        again = "" if names else "; `degrade compare --table verdicts --format markdown` for a paper"
        steps.tell_next(form, f"{steps.command('plot', root=roots[0])} draws the curves{again}")
        return
    if not private:  # a reason to leave a run out may name a file
        found = found._replace(left_out=found.left_out.assign(reason=found.left_out.reason.map(shorten_places)))
    print(writing.render(found, form, names, called))
    if form == "csv" and len(found.left_out):
        print(f"degrade: {len(found.left_out)} runs are not over and were left out", file=sys.stderr)
