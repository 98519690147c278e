"""How loud a command is, and what its last line tells people to do next."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from degrade.spec.escape import controls


@dataclass
class _Loudness:
    """What --quiet, --verbose and --debug set, once a process."""

    quiet: bool = False  # no progress and no next steps: results and errors alone
    verbose: bool = False  # whole lists, progress at every look, and the cause of an error
    debug: bool = False  # the traceback of an error too

    def reset(self) -> None:
        """As a process begins."""
        self.quiet = self.verbose = self.debug = False


loudness = _Loudness()
_ROWS_SHOWN = 40  # rows of a long list that people see; programs get all rows


def most_rows() -> int | None:
    """How many rows of a list people see: all with --verbose."""
    return None if loudness.verbose else _ROWS_SHOWN


def count_hidden(rows: int) -> tuple[str, ...]:
    """The line that counts the rows a list does not show, if there are any."""
    most = most_rows()
    return (f"  ... and {rows - most} more; --verbose shows all",) if most is not None and rows > most else ()


def command(*words: str, root: Path | None = None) -> str:
    """`degrade compare`, with the results folder where it is not the usual one."""
    return shlex.join(["degrade", *words, *([] if root in (None, Path("results")) else [str(root)])])


def name_root(root: Path) -> list[str]:
    """results=ROOT for a sweep, where that is not the usual folder."""
    return [] if root == Path("results") else [f"results={root}"]


def tell_next(form: str, *steps: str) -> None:
    """Prints what to do next, a step a line, on stderr: pipes and programs get the results alone.

    Nothing with --quiet, and nothing where `form` is for programs.
    """
    if form != "table" or loudness.quiet:
        return
    sys.stdout.flush()  # both streams may lead to one terminal or file
    for head, step in zip(("Next:", *["     "] * len(steps)), steps, strict=False):
        print(f"{head} {controls(step)}", file=sys.stderr)
