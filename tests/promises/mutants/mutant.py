"""A guard taken out, and what must notice."""

from pathlib import Path
from typing import NamedTuple

from places import ROOT


class Mutant(NamedTuple):
    """One guard of one promise, taken out."""

    promise: str  # the first words of its row in docs/guarantees.md
    file: str  # below the repository
    old: str  # the guard; it stands there exactly once
    new: str  # what is left without it
    tests: tuple[str, ...]  # of pytest, below tests/; each must fail without the guard, and pass with it

    def apply(self, tree: Path) -> str:
        """Takes the guard out in a copy of the repository; returns the text before. Raises ValueError where the guard
        is not there, so that this table cannot go stale.
        """
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.promise}: {self.file} has the guard {text.count(self.old)} times: {self.old!r}")
        path.write_text(text.replace(self.old, self.new))
        return text

    @property
    def name(self) -> str:
        return f"{self.promise}: {self.file}"


def read_promises() -> list[str]:
    """The first words, in bold, of each row and item of docs/guarantees.md that is a promise."""
    lines = (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    rows = (line.removeprefix("| ").removeprefix("- ") for line in lines if line.startswith(("| **", "- **")))
    return [row.split("**")[1].rstrip(".") for row in rows]
