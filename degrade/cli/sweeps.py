"""Commands that train runs and look after them."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Exclude, Form, Json, Overrides, Private, Root, Run, app, choose_format
from degrade.errors import SpecError
from degrade.views import steps

SameMachine = Annotated[
    bool, typer.Option("--same-machine", help="Refuse to go on with a run that another machine computed so far.")
]


@app.command()
def sweep(
    overrides: Overrides = None,
    exclude: Exclude = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and stop.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train failed runs again, and only those.")
    ] = False,
    reprobe: Annotated[
        bool,
        typer.Option("--reprobe", help="Train finished runs without a probe again beside the first (engine.probe=N)."),
    ] = False,
    time_limit: Annotated[
        str | None, typer.Option(metavar="90s|30m|2h", help="Scale the schedule so that all runs take about so long.")
    ] = None,
    same_machine: SameMachine = False,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Train every combination of KEY=A,B,C that is not trained yet.

    `degrade sweep study=quickstart` asks the paper's question on small digits, in about a minute on two cores. A
    study is a preset: keys given beside it replace its values and add axes. study=A,B is the union of both. The first
    axis turns slowest. Keys and their values: conf/ and the README.
    """
    from degrade.sweep import launch
    from degrade.views.terminal import answer

    how = launch.How(
        dry_run=dry_run,
        fail_fast=fail_fast,
        retry_failed=retry_failed,
        reprobe=reprobe,
        time_limit=time_limit,
        exclude=tuple(exclude or ()),
    )
    with answer(choose_format(form, json), "runs" if dry_run else "errors", private=private) as show:
        code = launch.launch(_add_machine(overrides, same_machine), how, show)
        steps.tell_next(choose_format(form, json), *_follow(overrides, code, dry_run=dry_run))
    raise typer.Exit(code)


def _follow(overrides: list[str] | None, code: int, *, dry_run: bool = False) -> list[str]:
    """What to do after a training, by its exit code."""
    root = next((Path(word.removeprefix("results=")) for word in overrides or [] if word.startswith("results=")), None)
    words = shlex.join(["degrade", "plan", *(overrides or [])])
    if dry_run:
        return [f"{words} says what it costs here; without --dry-run it trains"]
    if code == 0:
        return [
            f"{steps.command('compare', root=root)} judges the runs",
            f"{steps.command('plot', root=root)} draws the paper's figures of them",
        ]
    if code > 128:
        return ["the same command goes on where it stopped"]
    return [f"{steps.command('status', root=root)} says how each run stands; the same command tries again"]


@app.command()
def train(
    overrides: Overrides = None,
    same_machine: SameMachine = False,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Train one run, as in `degrade train net=plain depth=20`."""
    from degrade.sweep import launch
    from degrade.views.terminal import answer

    with answer(choose_format(form, json), "errors", private=private) as show:
        code = launch.launch(_add_machine(overrides, same_machine), launch.How(alone=True), show)
        steps.tell_next(choose_format(form, json), *_follow(overrides, code))
    raise typer.Exit(code)


def _add_machine(overrides: list[str] | None, same_machine: bool) -> list[str]:
    """The words of a sweep; --same-machine is one of them, so that it reaches every launcher."""
    return [*(overrides or []), *(["engine.same_machine=true"] if same_machine else [])]


@app.command()
def plan(
    overrides: Overrides = None,
    exclude: Exclude = None,
    power: Annotated[
        bool, typer.Option("--power", help="Show what so many seeds can show, and stop. Trains and measures nothing.")
    ] = False,
    margin: Annotated[
        float | None, typer.Option(help="With --power: the smallest rise of interest, points of error (0.5)")
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(help="With --power: clean training error that the shallowest net may end at, % (0)"),
    ] = None,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Show what a sweep would train, and what it costs here. What is done already costs nothing."""
    from degrade.views.terminal import answer

    if power:
        _show_power(overrides or [], exclude or [], margin, error, choose_format(form, json))
        return
    for key, value in (("margin", margin), ("error", error)):
        if value is not None:
            raise SpecError(f"--{key}={value:g}: is about --power; add --power, or leave it out")
    from degrade.sweep.price import price

    with answer(choose_format(form, json), "costs", private=private) as show:
        price(overrides or [], exclude or [], show)
        words = shlex.join(["degrade", "sweep", *(overrides or []), *(f"--exclude={each}" for each in exclude or [])])
        steps.tell_next(choose_format(form, json), f"{words} trains them")


def _show_power(overrides: list[str], exclude: list[str], margin: float | None, error: float | None, form: str) -> None:
    """Shows what the seeds of a sweep can show. Nobody looks at pictures, so nothing is fetched."""
    from degrade.analysis.designs import list_designs
    from degrade.analysis.lines import Rule
    from degrade.sweep import expand
    from degrade.views.power import check_error, powers
    from degrade.views.terminal import answer

    rule, error = Rule.of("points", margin, None), check_error(error or 0.0)
    with answer(form, "power") as show:
        with expand.hydra():
            specs = expand.expand(overrides, exclude=exclude, look=False).specs
        show(powers(list_designs(specs), rule.margin, error))
        words = shlex.join(["degrade", "plan", *overrides, *(f"--exclude={each}" for each in exclude)])
        steps.tell_next(form, f"{words} says what the runs cost; seed=0,1,2,... gives more of them")


@app.command()
def rerun(
    run: Run,
    probe: Annotated[
        int | None, typer.Option(metavar="N", help="Look at its gradients every N iterations (probe.parquet).")
    ] = None,
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Train a stored run once more, and compare the curves. The new run lies beside the old.

    With `--probe N` its gradients by layer are logged. If the same curve comes out, they are added to the old run.
    """
    from degrade.store.results import find
    from degrade.sweep import rerun
    from degrade.views.terminal import answer

    with answer(choose_format(form, json), "errors", private=private) as show:
        folder, root = find(run, results)
        code = rerun.rerun(folder, root, probe, show)
        figure = f"{steps.command('plot', root=root)} --figure {'gradients' if probe else 'fig6'} draws it"
        steps.tell_next(choose_format(form, json), figure if code == 0 else f"degrade recipe-diff {folder.run}")
    raise typer.Exit(code)


@app.command("recipe-diff")
def recipe_diff(
    run: Run,
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """List everything in which a run differs from the paper, and what computed it."""
    from degrade.store.results import find
    from degrade.views import tables
    from degrade.views.terminal import answer

    folder = find(run, results)[0]
    with answer(choose_format(form, json)) as show:
        show([tables.differences(folder.read_spec(), folder.try_read_state())])
        steps.tell_next(choose_format(form, json), "degrade keys WORD explains a key; docs/recipe.md the protocol")


@app.command()
def nets(overrides: Overrides = None, form: Form = "table", json: Json = False) -> None:
    """Print parameters and multiply-adds of nets. As in `degrade nets depth=20,56,110`."""
    from degrade.cli.sheets import sizes
    from degrade.sweep import expand
    from degrade.views.terminal import answer

    with answer(choose_format(form, json)) as show, expand.hydra():
        show([sizes(expand.expand(overrides or [], look=False).specs)])
        words = shlex.join(["degrade", "plan", *(overrides or [])])
        steps.tell_next(choose_format(form, json), f"{words} says what training them costs here")
