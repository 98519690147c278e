"""Commands that look after stored runs: how they stand, and which of them to remove."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from degrade.cli.app import Form, Json, Private, Roots, app, choose_format, tell
from degrade.errors import RunError, SpecError
from degrade.store.state import State
from degrade.views import steps

if TYPE_CHECKING:
    from degrade.views.sheets import Sheet


@app.command()
def status(
    results: Roots = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds, while a run trains.")
    ] = False,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """List the runs under RESULTS and how they stand, by depth, with small curves of the clean training error."""
    from degrade.store.results import pick_furthest, read_specs, run_dirs
    from degrade.views import tables, terminal
    from degrade.views.sheets import Sheet, as_json
    from degrade.views.sparks import read_sparks

    form, roots = choose_format(form, json), results or [Path("results")]

    def look() -> tuple[Sheet, list[State]]:
        places = pick_furthest((folder, folder.standing()) for root in roots for folder in run_dirs(root))
        folders = [folder for folder, _ in places.values()]
        sparks = read_sparks(folders) if form == "table" else {}
        return tables.status(places, read_specs(folders), sparks), [state for _, state in places.values()]

    if watch:
        if form != "table" or not terminal.moves():
            raise SpecError("--watch: needs a terminal that can be drawn over; leave it out, or call status again")
        terminal.watch(lambda: _look_once(*look()), every=2.0)
        return
    if form == "json":  # one object for each run, as before there were other formats
        places = pick_furthest((folder, folder.standing()) for root in roots for folder in run_dirs(root))
        print(as_json({run: {**state.tree(), "path": str(folder.path)} for run, (folder, state) in places.items()}))
        return
    with terminal.answer(form, private=private) as show:
        sheet, states = look()
        show([sheet])
        steps.tell_next(form, _after_status(states, roots[0]))


def _look_once(sheet: "Sheet", states: list[State]) -> tuple["Sheet", bool]:
    """A sheet, and whether nothing trains any more."""
    return sheet, all(state.name != "running" for state in states)


def _after_status(states: list[State], root: Path) -> str:
    """What to do about runs that stand so."""
    if not states:
        return shlex.join(["degrade", "sweep", "study=quickstart", *steps.name_root(root)])
    names = {state.name for state in states}
    if "damaged" in names:
        return f"{steps.command('verify', root=root)} says what is wrong with damaged runs"
    if "failed" in names:
        return "the sweep again with --retry-failed, once the cause is gone"
    if "interrupted" in names:
        return "the sweep again: it goes on with interrupted runs"
    if "running" in names:
        return f"{steps.command('status', '--watch', root=root)} shows the runs as they train"
    return f"{steps.command('compare', root=root)} judges the runs"


@app.command()
def clean(
    results: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    failed: Annotated[bool, typer.Option("--failed", help="Runs that failed, or cannot be read.")] = False,
    orphaned: Annotated[bool, typer.Option("--orphaned", help="Folders that are no run.")] = False,
    older_than: Annotated[float | None, typer.Option(metavar="DAYS", help="Runs untouched for so many days.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove run folders, after showing which and asking. Runs in progress are never touched."""
    from degrade.spec.differences import tell_differences
    from degrade.store.clean import remove, waste
    from degrade.store.results import read_specs

    if not (failed or orphaned or older_than is not None):
        raise RunError("clean: which runs? add --failed, --orphaned or --older-than DAYS")
    found = waste(results, failed=failed, orphaned=orphaned, days=older_than)
    differs = tell_differences(read_specs(each.folder for each in found))
    for each in found:
        more = differs.get(each.folder.run, "")
        tell(f"{each.folder.path}{f' ({more})' if more else ''}: {each.why}")
    if not found:
        print("nothing to remove")
        steps.tell_next("table", f"{steps.command('status', root=results)} lists the runs")
    elif yes or _confirm(f"Remove {len(found)} folders?"):
        print(f"{remove(found)} removed")
        steps.tell_next("table", "the sweep again trains what is missing")


def _confirm(question: str) -> bool:
    """Asks the person at the terminal. Raises RunError where nobody answers."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        print()
        raise RunError("clean: nobody answered, and nothing was removed; --yes removes without asking") from None
