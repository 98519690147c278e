"""Errors a user can cause. Each is one line that names the key, the value, the rule and the way out."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

_T = TypeVar("_T")


class DegradeError(Exception):
    """The command line prints it as one line, without a traceback, and exits with code 2."""


class SpecError(DegradeError, ValueError):
    """No such net, data or recipe, or a value that breaks a rule."""


class RunError(DegradeError):
    """No such run, or a run folder that cannot be used."""


class NewerError(RunError):
    """A newer degrade wrote the file. No older file may take its place."""


class PassingError(RunError):
    """The machine refused something for now: no room, no memory, too many open files. The same may work next time."""


class DataError(DegradeError):
    """Pictures are missing, unreadable or not what they should be."""


def one_line(error: Exception) -> str:
    """The first line of an error. An error that is not ours gets the name of its class in front."""
    text = str(error).strip().splitlines()
    known = isinstance(error, DegradeError) and text
    return text[0] if known else f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'depth'?` if a known name is close, else the list of all known names."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def pick(table: Mapping[str, _T], name: str, key: str) -> _T:
    """table[name]. Raises SpecError, which names the nearest key or all keys, if there is no such name."""
    if name not in table:
        raise SpecError(f"{key}={name}: unknown; {nearest(name, table)}")
    return table[name]


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """A signal told the process to stop. Checkpoints hold the runs that were under way."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class UnavailableError(Exception):
    """Says in a few words why a backend cannot train a run. Never leaves degrade.train.backends."""
