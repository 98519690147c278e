"""The options that every command has: how much it says, beside its results."""

from functools import cache
from typing import Annotated, Any

import typer
import typer.main

from degrade.views.steps import loudness


def _set(param: typer.CallbackParam, value: bool) -> None:
    if value:
        setattr(loudness, str(param.name), True)
        loudness.verbose |= loudness.debug


def _option(name: str, said: str) -> Any:
    return typer.Option(f"--{name}", is_eager=True, expose_value=False, callback=_set, help=said)


def _command(
    quiet: Annotated[bool, _option("quiet", "No progress and no next steps: results and errors alone.")] = False,
    verbose: Annotated[
        bool, _option("verbose", "Whole lists, progress at every look, and the cause behind an error.")
    ] = False,
    debug: Annotated[bool, _option("debug", "As --verbose, and where in the code an error came from.")] = False,
) -> None:
    """A command of these options alone."""


@cache
def list_options() -> list[Any]:
    """--quiet, --verbose and --debug, for the parameters of a command."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_command)
    return list(typer.main.get_command(alone).params)


def refuse_spaces(words: list[str]) -> str:
    """What to say of `--depth 20, 56`, which a shell hands over as three words; empty where there is no such thing."""
    for option, value, more in zip(words, words[1:], words[2:], strict=False):
        if option.startswith("--") and value.endswith(",") and not value.startswith("-") and "=" not in more:
            return f"{option} {value} {more}: no space after commas; write {option} {value}{more}"
    return ""
