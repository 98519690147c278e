"""What a folder of pictures holds, without opening one: <root>/train/<class>/ and <root>/test/<class>/ (or val/)."""

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
NAMED = 3  # names that an error lists


class Picture(NamedTuple):
    """A file that calls itself a picture."""

    name: str  # below the root, with slashes
    label: int
    size: int  # bytes; -1 for what is no file: a link that leads nowhere, a pipe
    mtime: int  # ns


@dataclass(frozen=True)
class Tree:
    """All pictures below a root, by split (train, test), in the order of their classes and names."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Picture]]

    def quick_key(self, size: int | None) -> str:
        """Names the tree by the names, sizes and times of its files, as `make` tells what is new."""
        return key_of("times", size, self.classes, self.splits)

    def bytes_key(self, size: int | None, digests: dict[str, list[bytes]]) -> str:
        """Names the tree by what is in its files, wherever they lie: `digests` of each split's pictures in order."""
        names = {split: [picture.name for picture in some] for split, some in self.splits.items()}
        return key_of("bytes", size, self.classes, names, digests)

    def __str__(self) -> str:
        """As it would stand on a command line."""
        return at(self.root)


def at(root: Path) -> str:
    return f"data.root={root if str(root).isprintable() else repr(str(root))}"


def listed(names: Collection[str]) -> str:
    """'cat', 'dog', 'frog' and 4 more: escaped where they would break a line."""
    shown = ", ".join(repr(name) for name in sorted(names)[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def scanned(root: Path) -> Tree:
    """The tree at `root`. Raises DataError where it has another form or may not be read."""
    try:
        return _scanned(root)
    except OSError as error:
        raise DataError(f"{at(root)}: {error.filename!r} cannot be read ({error.strerror})") from None


def _scanned(root: Path) -> Tree:
    if not root.is_dir():
        raise DataError(f"{at(root)}: no such folder; name one with {FORM}")
    test = next((name for name in ("test", "val") if (root / name).is_dir()), None)
    for name, there in (("train/", (root / "train").is_dir()), ("test/ or val/", test is not None)):
        if not there:
            raise DataError(f"{at(root)}: has no folder {name} in it; it must hold {FORM}")
    folders = {"train": "train", "test": str(test)}
    classes = same_classes(root, {split: class_names(root / folder) for split, folder in folders.items()}, folders)
    splits: dict[str, list[Picture]] = {"train": [], "test": []}
    for split, folder in folders.items():
        for label, name in enumerate(classes):
            below = f"{folder}/{name}"
            found = [Picture(f"{below}/{file}", label, size, t) for file, size, t in sorted(files(root / below))]
            if not found:
                raise DataError(f"{at(root)}: {below!r} has no pictures in it; add some or remove the class")
            splits[split] += found
    return Tree(root, classes, splits)


def class_names(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}


def same_classes(root: Path, found: dict[str, set[str]], folders: dict[str, str]) -> tuple[str, ...]:
    """The classes, sorted. Raises DataError where there are none, or a class is in one of the two folders only."""
    train, test = found["train"], found["test"]
    if train != test:
        alone = {"train/": train - test, f"{folders['test']}/": test - train}
        words = "; ".join(f"only {folder} has {listed(names)}" for folder, names in alone.items() if names)
        raise DataError(f"{at(root)}: {words}; both need the same classes")
    if not train:
        raise DataError(f"{at(root)}: train/ has no class folders; it must hold {FORM}")
    return tuple(sorted(train))


def files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """(name, bytes, ns) of every file below, at any depth, that ends as pictures do; hidden folders are left out."""
    seen: set[tuple[int, int]] = set()
    rest = [""]
    while rest:
        below = rest.pop()
        here = (folder / below).stat()
        if (here.st_dev, here.st_ino) in seen:  # a link back: followed, it would have no end
            continue
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder / below) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                what = status(entry)
                if what and stat.S_ISDIR(what.st_mode):
                    rest += [f"{below}{entry.name}/"] if not entry.name.startswith(".") else []
                elif Path(entry.name).suffix.lower() in EXTENSIONS:
                    good = what is not None and stat.S_ISREG(what.st_mode)
                    yield f"{below}{entry.name}", what.st_size if what and good else -1, what.st_mtime_ns if what else 0


def status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """None for a link that leads nowhere, or to itself."""
    try:
        return entry.stat()
    except OSError:
        return None
