"""The command that explains what can be set."""

from typing import Annotated

import typer

from degrade.cli.app import Form, Json, app, choose_format
from degrade.errors import SpecError
from degrade.views import steps


def _offer(incomplete: str) -> list[str]:
    from degrade.views.keys import list_fields

    return [key for key, _ in list_fields() if key.startswith(incomplete)]


@app.command()
def keys(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD] [KEY=VALUE]...",
            show_default=False,
            autocompletion=_offer,
            help="Part of a key, or a topic.",
        ),
    ] = None,
    form: Form = "table",
    json: Json = False,
) -> None:
    """List every key: value, default, unit, section of the paper, and whether it is part of a run's name.

    KEY=VALUE shows the values that a command line has, as in `degrade keys lr data=digits`.
    """
    from degrade.sweep import expand
    from degrade.views.keys import keys
    from degrade.views.terminal import answer

    plain = [word for word in words or [] if "=" not in word]
    if len(plain) > 1:
        raise SpecError(f"keys {' '.join(plain)}: looks for one word; leave the others out")
    with answer(choose_format(form, json)) as show:
        with expand.hydra():
            given = [word for word in words or [] if "=" in word]
            values = expand.list_values(given)
        show([keys(plain[0] if plain else "", values)])
        steps.tell_next(choose_format(form, json), "degrade sweep KEY=A,B,C trains a run for each value")
