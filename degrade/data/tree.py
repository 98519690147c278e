"""Lists a folder of pictures without opening one: <root>/train/<class>/ and <root>/test/<class>/ (or val/)."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from degrade.data.cache import key_of
from degrade.data.pictures import EXTENSIONS
from degrade.errors import DataError

FORM = "train/<class>/*.jpg and test/<class>/*.jpg (or val/)"
MAX_NAMES = 3  # names that an error lists


class Picture(NamedTuple):
    """A file with the extension of a picture."""

    name: str  # below the root, with slashes
    label: int
    size: int  # bytes; -1 for a link that leads nowhere, or a pipe
    mtime: int  # ns


@dataclass(frozen=True)
class Tree:
    """All pictures below a root, by split (train, test), in the order of their classes and names."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Picture]]

    def quick_key(self, size: int | None) -> str:
        """A name for the tree from the names, sizes and times of its files, as `make` tells what is new."""
        return key_of("times", size, self.classes, self.splits)

    def bytes_key(self, size: int | None, digests: dict[str, list[bytes]]) -> str:
        """A name for the tree from the bytes of its files, wherever it lies. `digests`: of each split, in order."""
        names = {split: [picture.name for picture in some] for split, some in self.splits.items()}
        return key_of("bytes", size, self.classes, names, digests)

    def __str__(self) -> str:
        """The tree as a key of a command line."""
        return show_root(self.root)


def show_root(root: Path) -> str:
    """A root as a key of a command line, escaped if it would break a line."""
    return f"data.root={root if str(root).isprintable() else repr(str(root))}"


def _list_names(names: Collection[str]) -> str:
    """'cat', 'dog', 'frog' and 4 more. Escapes names that would break a line."""
    first = ", ".join(repr(name) for name in sorted(names)[:MAX_NAMES])
    return first + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


def scan(root: Path, *, test_only: bool = False, as_text: bool = False) -> Tree:
    """The tree at `root`. Raises DataError if it has another form or cannot be read.

    `test_only`: without a folder train/, the test pictures stand in for the training pictures. `as_text`: the classes
    in the order that releases up to 0.1.0 gave them.
    """
    try:
        return _scan(root, test_only=test_only, as_text=as_text)
    except OSError as error:
        raise DataError(f"{show_root(root)}: {error.filename!r} cannot be read ({error.strerror})") from None


def has_train(root: Path) -> bool:
    """Whether a tree has training pictures. A root that is not here says nothing against it."""
    return (root / "train").is_dir() or not root.is_dir()


def order_classes(names: Collection[str], *, as_text: bool = False) -> tuple[str, ...]:
    """The classes in order: numbers by size where all names are numbers, as 2 before 10, else as text."""
    numbered = not as_text and all(name.isascii() and name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbered else 0, name)))


def _scan(root: Path, *, test_only: bool, as_text: bool) -> Tree:
    if not root.is_dir():
        raise DataError(f"{show_root(root)}: no such folder; name one with {FORM}")
    test = next((name for name in ("test", "val") if (root / name).is_dir()), None)
    alone = test_only and not has_train(root)
    for name, there in (("train/", alone or (root / "train").is_dir()), ("test/ or val/", test is not None)):
        if not there:
            raise DataError(f"{show_root(root)}: has no folder {name} in it; it must hold {FORM}")
    folders = {"train": str(test) if alone else "train", "test": str(test)}
    names = _agree_on_classes(root, {split: _list_classes(root / folder) for split, folder in folders.items()}, folders)
    classes = order_classes(names, as_text=as_text)
    splits: dict[str, list[Picture]] = {"train": [], "test": []}
    for split, folder in folders.items():
        for label, name in enumerate(classes):
            below = f"{folder}/{name}"
            found = [Picture(f"{below}/{file}", label, size, t) for file, size, t in sorted(_find_files(root / below))]
            if not found:
                raise DataError(f"{show_root(root)}: {below!r} has no pictures in it; add some or remove the class")
            splits[split] += found
    return Tree(root, classes, splits)


def _list_classes(folder: Path) -> set[str]:
    """The names of the class folders; hidden folders are left out."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}


def _agree_on_classes(root: Path, found: dict[str, set[str]], folders: dict[str, str]) -> set[str]:
    """The classes. Raises DataError if there are none, or a class is in only one of the two folders."""
    train, test = found["train"], found["test"]
    if train != test:
        alone = {"train/": train - test, f"{folders['test']}/": test - train}
        words = "; ".join(f"only {folder} has {_list_names(names)}" for folder, names in alone.items() if names)
        raise DataError(f"{show_root(root)}: {words}; both need the same classes")
    if not train:
        raise DataError(f"{show_root(root)}: train/ has no class folders; it must hold {FORM}")
    return train


def _find_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """(name, bytes, ns) of every file with the extension of a picture, at any depth. Leaves out hidden folders."""
    seen: set[tuple[int, int]] = set()
    rest = [""]
    while rest:
        below = rest.pop()
        here = (folder / below).stat()
        if (here.st_dev, here.st_ino) in seen:  # a link back, which has no end
            continue
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder / below) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                what = _status_of(entry)
                if what and stat.S_ISDIR(what.st_mode):
                    rest += [f"{below}{entry.name}/"] if not entry.name.startswith(".") else []
                elif Path(entry.name).suffix.lower() in EXTENSIONS:
                    good = what is not None and stat.S_ISREG(what.st_mode)
                    yield f"{below}{entry.name}", what.st_size if what and good else -1, what.st_mtime_ns if what else 0


def _status_of(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """The status of an entry; None for a link that leads nowhere, or to itself."""
    try:
        return entry.stat()
    except OSError:
        return None
