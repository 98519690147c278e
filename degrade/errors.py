"""Errors a user can cause. Each is one line that names the key, the value, the rule and the way out."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class DegradeError(Exception):
    """Printed by the command line as one line, without a traceback; exit code 2."""


class SpecError(DegradeError, ValueError):
    """No such net, data or recipe, or a value that breaks a rule."""


class RunError(DegradeError):
    """No such run, or a run folder that cannot be used."""


class NewerError(RunError):
    """A file of a newer degrade: nothing older is to be used in its place."""


class DataError(DegradeError):
    """Pictures that are missing, unreadable or not what they should be."""


def one_line(error: Exception) -> str:
    """What an error says first, with the kind of what is none of ours."""
    text = str(error).strip().splitlines()
    known = isinstance(error, DegradeError) and text
    return text[0] if known else f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'depth'?` where something known is close, else the list of what is known."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def pick(table: Mapping[str, T], name: str, key: str) -> T:
    """table[name], or a SpecError that names what there is."""
    if name not in table:
        raise SpecError(f"{key}={name}: unknown; {nearest(name, table)}")
    return table[name]


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Told to stop by a signal; what was under way is in its checkpoints."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class UnavailableError(Exception):
    """Why there is no such backend for a run, in a few words. Never leaves degrade.train.backends."""
