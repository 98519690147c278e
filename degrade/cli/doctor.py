"""The command that looks at the machine."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Form, Json, app, choose_format
from degrade.views import steps


@app.command()
def doctor(
    results: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """Look at Python, torch, devices, kernels, disk, locks, data and the terminal, and say what to do where they fail.

    Trains nothing. The first look may compile the kernels, which takes seconds. Ends with 1 where something is wrong.
    """
    from degrade.cli.sheets import health
    from degrade.experiments import doctor as looking
    from degrade.views.terminal import answer

    with answer(choose_format(form, json)) as show:
        found = list(looking.examine(results))
        show([health(found)])
        wrong = any(each.state == looking.WRONG for each in found)
        steps.tell_next(
            choose_format(form, json), *([] if wrong else ["degrade sweep study=quickstart takes a minute"])
        )
    raise typer.Exit(int(wrong))
