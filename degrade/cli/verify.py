"""The command that checks what lies in results folders."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Form, Json, Roots, app, choose_format
from degrade.views import steps


@app.command()
def verify(
    results: Roots = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Evaluate each final net, and compare with the end of its curve.")
    ] = False,
    form: Form = "table",
    json: Json = False,
) -> None:
    """Check the files of all runs under RESULTS: every checksum, and whether they belong together.

    Writes nothing. Ends with 1 where something is wrong, and says what, and how it is mended.
    """
    from degrade.cli.sheets import verified
    from degrade.experiments.verify import verify
    from degrade.views.terminal import answer, bar

    with answer(choose_format(form, json)) as show, bar() as note:
        found = verify(results or [Path("results")], deep=deep, note=note)
        show(verified(found))
        wrong = any(each.problems for each in found)
        root = (results or [Path("results")])[0]
        step = "the sweep again mends what can be mended" if wrong else f"{steps.command('compare', root=root)}"
        steps.tell_next(choose_format(form, json), step)
    raise typer.Exit(int(wrong))
