"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

import degrade
from degrade.errors import DegradeError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure the degradation problem of deep plain nets, and its cure by residual learning (arXiv:1512.03385).",
)
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)]


def main() -> None:
    """Runs a command; an error that a user can cause is one line and exit code 2."""
    try:
        app()
    except DegradeError as error:
        print(f"degrade: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of a pipe has left, as in `degrade nets | head`
        raise SystemExit(0) from None


def version(value: bool) -> None:
    if value:
        print(f"degrade {degrade.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def sweep(overrides: Overrides = None) -> None:
    """Train every combination of KEY=A,B,C that is not trained yet.

    [bold]degrade sweep study=quickstart[/bold] asks the paper's question on small digits, in about two minutes on a
    CPU. Keys and their values: conf/ and the README.
    """
    from degrade import sweep

    raise typer.Exit(sweep.launch(overrides or []))


@app.command()
def plot(
    results: Annotated[list[Path] | None, typer.Argument(help="Results folders; default: results")] = None,
    figure: Annotated[
        list[str] | None, typer.Option(help="fig1, fig4, fig6, options; default: all that the runs allow")
    ] = None,
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
    """Draw the figures of the paper from the runs under RESULTS, as PNG, SVG and PDF.

    Several seeds become a mean and a band from the least to the greatest; runs under way are drawn as far as they are.
    """
    from degrade import curves, figures, store

    view, roots = figures.View(train=train, x=x, top=top), results or [Path("results")]
    tables = store.load(*roots)
    wanted = {"net": listed(net), "depth": listed(depth), "shortcut": listed(shortcut), "data": listed(data)}
    rows = curves.standing(curves.chosen(tables.curves, **wanted), tables.runs)
    names = [name for given in figure or [] for name in listed(given)]
    command = shlex.join(["degrade", *sys.argv[1:]])
    failed = False
    for drawn in figures.save(rows, names, out or roots[0] / "figures", view, mix=mix, command=command):
        for path in drawn.files:
            print(path)
        if drawn.failed:
            failed = True
            print(f"degrade: {drawn.failed}", file=sys.stderr)
    raise typer.Exit(failed)


def listed(values: str) -> list[str]:
    """The parts of a comma list: 20,56 is 20 and 56."""
    return [value.strip() for value in values.split(",") if value.strip()]


@app.command()
def nets(overrides: Overrides = None) -> None:
    """Print parameters and multiply-adds of the nets of KEY=A,B,C, as in [bold]degrade nets depth=20,56,110[/bold]."""
    from degrade import screen, sweep

    with sweep.hydra():
        screen.costs(sweep.expand(overrides or []).specs)
