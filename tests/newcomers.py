"""What CONTRIBUTING.md tells a newcomer to add, taken from the page and put where the page says."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from places import ROOT

KINDS = ("net", "dataset", "figure", "experiment", "launcher")
PIECE = re.compile(r"(?:#|<!--) (\S+\.(?:py|yaml|md)): (a new file|(?:at|with|in|before|after) .+?)(?: -->)?")


class Piece(NamedTuple):
    """Some lines, and where they go."""

    path: str  # from the root
    place: str
    text: str


def section(kind: str) -> list[tuple[str, str]]:
    """(language, text) of the code blocks under `## Add a net`."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    found = re.search(rf"^## Add an? {kind}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, kind
    return re.findall(r"```(\w+)\n(.*?)```", found[1], re.DOTALL)


def commands(kind: str) -> list[list[str]]:
    """The words of each command line of a section, without `degrade`."""
    lines = [line for language, text in section(kind) if language == "sh" for line in text.splitlines()]
    return [line.split()[1:] for line in lines]


def pieces(kind: str) -> Iterator[Piece]:
    """The pieces of a section, in order."""
    for text in (text for language, text in section(kind) if language != "sh"):
        path = place = ""
        lines: list[str] = []
        for line in text.splitlines(keepends=True):
            if head := PIECE.fullmatch(line.rstrip()):
                if lines:
                    yield Piece(path, place, "".join(lines))
                (path, place), lines = head.groups(), []
            else:
                assert path, f"{kind}: nothing says where this goes: {line}"
                lines.append(line)
        yield Piece(path, place, "".join(lines))


def add(kind: str, root: Path) -> set[str]:
    """Puts the pieces of a section into a copy of the repository; the files that changed."""
    changed: set[str] = set()
    for piece in pieces(kind):
        path = root / piece.path
        if piece.place == "a new file":
            assert not path.exists(), path
            path.write_text(piece.text)
        else:
            path.write_text(put(path.read_text(), piece))
        changed.add(piece.path)
    return changed


def put(before: str, piece: Piece) -> str:
    """The content of a file with a piece in its place."""
    how, _, name = piece.place.partition(" ")
    lines = before.splitlines(keepends=True)
    match how:
        case "at":  # the end
            return f"{before}\n\n{piece.text}"
        case "with":  # the imports
            where = next(number for number, line in enumerate(lines) if line.startswith("from degrade"))
        case "in":  # a table, as its last line
            opens = re.compile(rf"{name}\b.*[{{(\[](  #.*)?\n")
            begin = next(number for number, line in enumerate(lines) if opens.fullmatch(line))
            where = next(number for number in range(begin, len(lines)) if lines[number][0] in "})]")
        case "before":  # a table
            where = next(number for number, line in enumerate(lines) if line.startswith(name))
            return "".join([*lines[:where], piece.text, "\n\n", *lines[where:]])
        case _:  # after the row of ...
            row = f"| {name.removeprefix('the row of ')} |"
            where = 1 + next(number for number, line in enumerate(lines) if line.startswith(row))
    return "".join([*lines[:where], piece.text, *lines[where:]])
