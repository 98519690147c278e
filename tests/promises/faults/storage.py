"""What a disk may hold after a power cut: a model of it, which replays the file operations of a process.

The operations are those of a real sweep. After a cut, of what was not flushed, any subset may be there:

- Data: a file has the bytes of its last fsync. Of what was written since, each page of 4 KiB survives or not, and the
  file has its old size, its new one, or one between; a page that is within the size and did not survive is zeros.
- Names: making, renaming and removing are whole or not at all, and certain only after an fsync of their folder (of one
  of both, for a rename). Of those since then any subset has happened, in whatever order they were asked for. A file
  whose name did not survive is gone, with a folder all that lies in it.

POSIX promises no more than this. ext4, xfs and btrfs promise more: they keep the order of names, or flush a name with
its file. So what holds here holds there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeAlias

PAGE = 4096


@dataclass(eq=False)
class File:
    """The bytes of a file: as they are, and as they were at the last fsync."""

    now: bytearray = field(default_factory=bytearray)
    flushed: bytes = b""
    touched: set[int] = field(default_factory=set)  # pages written since

    def write(self, at: int, data: bytes) -> None:
        if len(self.now) < at:
            self.now.extend(bytes(at - len(self.now)))
        self.now[at : at + len(data)] = data
        if data:
            self.touched |= {*range(at // PAGE, (at + len(data) - 1) // PAGE + 1)}

    def resize(self, size: int) -> None:
        del self.now[size:]
        self.now.extend(bytes(size - len(self.now)))
        self.touched.add(size // PAGE)

    def fsync(self) -> None:
        self.flushed, self.touched = bytes(self.now), set()

    def cut(self, keep: Callable[[], bool], draw: Random) -> bytes:
        """What is there after a power cut. `keep`: whether one page survives."""
        if not self.touched and len(self.now) == len(self.flushed):
            return self.flushed
        sizes = {len(self.flushed), len(self.now)}
        sizes |= {page * PAGE for page in self.touched if min(sizes) <= page * PAGE <= max(sizes)}
        size = draw.choice(sorted(sizes))
        left = bytearray(self.flushed[:size].ljust(size, b"\0"))
        for page in sorted(self.touched):
            start, stop = page * PAGE, min(size, (page + 1) * PAGE, len(self.now))
            if start < stop and keep():
                left[start:stop] = self.now[start:stop]
        return bytes(left)


@dataclass(eq=False)
class Folder:
    names: dict[str, "Node"] = field(default_factory=dict)


Node: TypeAlias = File | Folder
Change: TypeAlias = tuple[Folder, str, Node | None]  # a name in a folder, and what it then leads to


@dataclass(eq=False)
class _Step:
    """Changes of names that happen together, and whether they are certain."""

    changes: list[Change]
    before: list[Node | None]  # what each name led to when it was asked for
    certain: bool = False


class Disk:
    """A disk that starts empty. Paths are relative; what is not there is not touched, since others may have made it."""

    def __init__(self) -> None:
        self.root, self.steps, self.opened = Folder(), list[_Step](), dict[int, File]()

    def find(self, path: str) -> Node | None:
        """What a path leads to when all has happened."""
        node: Node | None = self.root
        for name in Path(path).parts:
            node = node.names.get(name) if isinstance(node, Folder) else None
        return node

    def _parent(self, path: str) -> Folder:
        """The folder of a path; folders above that nobody was seen to make were there before."""
        node = self.root
        for name in Path(path).parent.parts:
            below = node.names.get(name)
            if not isinstance(below, Folder):
                below = Folder()
                self._ask([(node, name, below)], certain=True)
            node = below
        return node

    def _ask(self, changes: list[Change], *, certain: bool = False) -> None:
        self.steps.append(_Step(changes, [folder.names.get(name) for folder, name, _ in changes], certain))
        _apply(changes)

    def open(self, number: int, path: str, *, empty: bool) -> None:
        """Opens a file to write to, under a number of its own, and makes it if it is not there."""
        found = self.find(path)
        if not isinstance(found, File):
            found = File()
            self._ask([(self._parent(path), Path(path).name, found)])
        elif empty:
            found.resize(0)
        self.opened[number] = found

    def write(self, number: int, at: int, data: bytes) -> None:
        self.opened[number].write(at, data)

    def mkdir(self, path: str) -> None:
        self._ask([(self._parent(path), Path(path).name, Folder())])

    def remove(self, path: str) -> None:
        if self.find(path) is not None:
            self._ask([(self._parent(path), Path(path).name, None)])

    def rename(self, old: str, new: str) -> None:
        if (node := self.find(old)) is not None:
            self._ask([(self._parent(old), Path(old).name, None), (self._parent(new), Path(new).name, node)])

    def fsync(self, path: str) -> None:
        found = self.find(path)
        if isinstance(found, File):
            found.fsync()
        for step in self.steps:
            step.certain |= any(folder is found for folder, _, _ in step.changes)

    def write_out(self, target: Path) -> None:
        """Writes into a folder what is there when all has happened."""
        _write_out(self.root, target, lambda file: bytes(file.now))

    def cut(self, target: Path, draw: Random) -> None:
        """Writes into a folder what a power cut may have left."""
        share = draw.choice((0.0, 0.5, 0.9, 1.0))  # of what is uncertain survives: nothing, some, most, all
        names: dict[Folder, dict[str, Node]] = {}
        for step in self.steps:
            if step.certain or draw.random() < share:
                for (folder, name, node), before in zip(step.changes, step.before, strict=True):
                    there = names.setdefault(folder, {})
                    if node is not None:
                        there[name] = node
                    elif there.get(name) is before:  # a name that leads elsewhere by now was not what was removed
                        there.pop(name, None)
        share = draw.choice((0.0, 0.5, 0.9, 1.0))
        _write_out(self.root, target, lambda file: file.cut(lambda: draw.random() < share, draw), names)


def _apply(changes: list[Change]) -> None:
    for folder, name, node in changes:
        if node is None:
            folder.names.pop(name, None)
        else:
            folder.names[name] = node


def _write_out(
    folder: Folder, target: Path, content: Callable[[File], bytes], names: dict[Folder, dict[str, Node]] | None = None
) -> None:
    """Writes a folder with all that lies in it. `names`: what lies in each folder, if not what it says itself."""
    target.mkdir(parents=True, exist_ok=True)
    for name, node in (folder.names if names is None else names.get(folder, {})).items():
        if isinstance(node, File):
            (target / name).write_bytes(content(node))
        else:
            _write_out(node, target / name, content, names)
