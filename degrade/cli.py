"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment."""

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
    figure: Annotated[list[str] | None, typer.Option(help="Which figures; default: all that the runs allow")] = None,
) -> None:
    """Draw the figures of the paper from the runs under RESULTS, as PNG, SVG and PDF."""
    from degrade import figures, store

    roots = results or [Path("results")]
    for path in figures.save(store.load(*roots).curves, figure, roots[0] / "figures"):
        print(path)


@app.command()
def nets(overrides: Overrides = None) -> None:
    """Print parameters and multiply-adds of the nets of KEY=A,B,C, as in [bold]degrade nets depth=20,56,110[/bold]."""
    from degrade import screen, sweep

    with sweep.hydra():
        screen.costs(sweep.expand(overrides or []).specs)
