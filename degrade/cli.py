"""The command line: get, do, say. Heavy imports stand inside the commands, so that --help takes a moment."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

import degrade
from degrade.errors import DegradeError, RunError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="Measure the degradation problem of deep plain nets, and its cure by residual learning (arXiv:1512.03385).",
)


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


def offered(ctx: typer.Context, incomplete: str) -> list[str]:
    from degrade import complete

    return complete.overrides(incomplete, list(ctx.params.get("overrides") or ()))


Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False, autocompletion=offered)
]
Roots = Annotated[
    list[Path] | None, typer.Argument(metavar="[RESULTS]...", help="Results folders.", show_default="results")
]
Root = Annotated[Path, typer.Option("--results", help="The results folder.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE,...", help="Leave out runs for which all of these hold; repeatable."),
]


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def sweep(
    overrides: Overrides = None,
    exclude: Exclude = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and stop.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train failed runs again, and only those.")
    ] = False,
    time_limit: Annotated[
        str | None, typer.Option(metavar="90s|30m|2h", help="Scale the schedule so that all runs take about so long.")
    ] = None,
) -> None:
    """Train every combination of KEY=A,B,C that is not trained yet.

    **degrade sweep study=quickstart** asks the paper's question on small digits, in about two minutes on a
    CPU. A study is a preset: what is given beside it replaces its values and adds axes, and study=A,B is the union of
    both. The first axis turns slowest. Keys and their values: conf/ and the README.
    """
    from degrade import launch

    how = launch.How(
        dry_run=dry_run,
        fail_fast=fail_fast,
        retry_failed=retry_failed,
        time_limit=time_limit,
        exclude=tuple(exclude or ()),
    )
    raise typer.Exit(launch.launch(overrides or [], how))


@app.command()
def train(overrides: Overrides = None) -> None:
    """Train one run, as in **degrade train net=plain depth=20**."""
    from degrade import launch

    raise typer.Exit(launch.launch(overrides or [], launch.How(alone=True)))


@app.command()
def plan(overrides: Overrides = None, exclude: Exclude = None) -> None:
    """Show what a sweep would train, what is done already, and what the rest costs on this machine."""
    from degrade import launch

    launch.price(overrides or [], exclude or [])


@app.command()
def rerun(
    run: Annotated[str, typer.Argument(help="A run: its name, the beginning of it, or its folder.")],
    results: Root = Path("results"),
) -> None:
    """Train a stored run once more beside it, and say whether the same curve came out."""
    from degrade import launch

    raise typer.Exit(launch.rerun(run, results))


@app.command("recipe-diff")
def recipe_diff(
    run: Annotated[str, typer.Argument(help="A run: its name, the beginning of it, or its folder.")],
    results: Root = Path("results"),
) -> None:
    """List everything in which a run differs from the paper."""
    from degrade import launch, tables

    tables.differences(launch.spec_at(launch.find(run, results)[0]))


@app.command()
def status(
    results: Roots = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List the runs under RESULTS and how they stand."""
    from degrade import tables

    tables.status(results or [Path("results")], as_json=json)


@app.command()
def clean(
    results: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    failed: Annotated[bool, typer.Option("--failed", help="Runs that failed, or cannot be read.")] = False,
    orphaned: Annotated[bool, typer.Option("--orphaned", help="Folders that are no run.")] = False,
    older_than: Annotated[float | None, typer.Option(metavar="DAYS", help="Runs untouched for so many days.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove run folders, after showing which and asking. Runs in progress are never touched."""
    from degrade.clean import remove, waste

    if not (failed or orphaned or older_than is not None):
        raise RunError("clean: say what: --failed, --orphaned, --older-than DAYS")
    found = waste(results, failed=failed, orphaned=orphaned, days=older_than)
    for each in found:
        print(f"{each.folder.path}: {each.why}")
    if found and (yes or typer.confirm(f"Remove {len(found)} folders?")):
        print(f"{remove(found)} removed")
    elif not found:
        print("nothing to remove")


@app.command()
def plot(
    results: Roots = None,
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
    """Print parameters and multiply-adds of the nets of KEY=A,B,C, as in **degrade nets depth=20,56,110**."""
    from degrade import sweep, tables

    with sweep.hydra():
        tables.costs(sweep.expand(overrides or [], look=False).specs)
