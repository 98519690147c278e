"""Lists a folder of pictures without opening one: <root>/train/<class>/ and <root>/test/<class>/ (or val/)."""

import os
import stat
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from degrade.data import mounts
from degrade.data.cache import key_of
from degrade.data.hints import FORM, has_folders, hint_at_classes, hint_at_level, hint_at_root, show_root
from degrade.data.leftovers import Leftovers, name_file, name_folder
from degrade.data.pictures import DECODING
from degrade.errors import DataError

MAX_NAMES = 3  # names that an error lists
_TESTS = ("test", "val")  # folders that may be the test set, the first that has classes


class Picture(NamedTuple):
    """A file with the extension of a picture, and all that tells it from another without reading it."""

    name: str  # below the root, with slashes
    label: int
    size: int  # bytes; -1 for a link that leads nowhere, or a pipe
    mtime: int = 0  # ns; so is the next one
    ctime: int = 0  # of the last change of its bytes, name or rights
    device: int = 0
    inode: int = 0


@dataclass(frozen=True)
class Tree:
    """All pictures below a root, by split (train, test), in the order of their classes and names."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Picture]]
    left_out: str  # what else lies there, by count and kind
    scanned: float  # when the listing began, in seconds since 1970

    def quick_key(self, size: int | None) -> str | None:
        """A name for the tree from the names, sizes, places and times of its files, as `make` tells what is new.

        None where these prove nothing: on some file systems, and so soon after a change that another would not show.
        """
        pictures = [picture for some in self.splits.values() for picture in some]
        if max(picture.ctime for picture in pictures) / 1e9 > self.scanned - mounts.SETTLED:
            return None
        one_of_each = {picture.device: self.root / picture.name for picture in pictures}
        if (systems := mounts.identify_systems(one_of_each.values())) is None:
            return None
        return key_of("times", DECODING, systems, size, self.classes, self.splits)

    def bytes_key(self, size: int | None, digests: dict[str, list[bytes]]) -> str:
        """A name for the tree from the bytes of its files, wherever it lies. `digests`: of each split, in order."""
        names = {split: [(picture.name, picture.label) for picture in some] for split, some in self.splits.items()}
        return key_of("bytes", DECODING, size, self.classes, names, digests)

    def __str__(self) -> str:
        """The tree as a key of a command line."""
        return show_root(self.root)


def _list_names(names: Collection[str]) -> str:
    """'cat', 'dog', 'frog' and 4 more. Escapes names that would break a line."""
    first = ", ".join(repr(name) for name in sorted(names)[:MAX_NAMES])
    return first + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


def scan(root: Path, test: str | None = None, *, test_only: bool = False, as_text: bool = False) -> Tree:
    """The tree at `root`. `test`: the folder of the test set; None: test/, or val/. `test_only`: without a folder
    train/, the test pictures stand in for the training pictures. `as_text`: classes that are numbers are in the order
    of text, as up to 0.1.0.

    Raises DataError if it has another form or cannot be read.
    """
    begun = time.time()
    try:
        return _scan(root, test, begun, alone=test_only and stands_alone(root), as_text=as_text)
    except OSError as error:
        raise DataError(f"{show_root(root)}: {error.filename!r} cannot be read ({error.strerror})") from None


def stands_alone(root: Path) -> bool:
    """Whether a tree that is here has no training pictures."""
    return root.is_dir() and not (root / "train").is_dir()


def order_classes(names: Collection[str], *, as_text: bool = False) -> tuple[str, ...]:
    """The classes in order: as text, but numbers by size where all names are numbers: 2 before 10."""
    numbered = not as_text and all(name.isascii() and name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbered else 0, name)))


def _scan(root: Path, test: str | None, begun: float, *, alone: bool, as_text: bool) -> Tree:
    if not root.is_dir():
        raise DataError(f"{show_root(root)}: no such folder; name one with {FORM}")
    left = Leftovers()
    chosen = _choose_test(root, test, left, alone=alone)
    folders = {"train": chosen if alone else "train", "test": chosen}
    listed = {folder: _list_classes(root, folder, left) for folder in dict.fromkeys(folders.values())}
    found = {split: listed[folder] for split, folder in folders.items()}
    _require_same_classes(root, {split: {*own} for split, own in found.items()}, folders)
    called = _spell(found)
    classes = order_classes(called, as_text=as_text)
    splits: dict[str, list[Picture]] = {"train": [], "test": []}
    for split, folder in folders.items():
        if split == "test" and alone:
            splits["test"] = splits["train"]
            break
        for label, name in enumerate(classes):
            below, before = f"{folder}/{called[name][split]}", str(left)
            own = sorted(_find_files(root / below, left))
            if not own:
                why = f" that can be read ({left} in all)" if str(left) != before else " in it"
                raise DataError(f"{show_root(root)}: {below!r} has no pictures{why}; add some or remove the class")
            splits[split] += [Picture(f"{below}/{file}", label, *about) for file, about in own]
    return Tree(root, classes, splits, str(left), begun)


def _choose_test(root: Path, asked: str | None, left: Leftovers, *, alone: bool) -> str:
    """The folder of the test set: the one asked for, or the first of _TESTS that has classes. Tells of the others.

    `alone`: there need be no folder train/.
    """
    there = sorted(path.name for path in root.iterdir() if path.is_dir() and not name_folder(path.name))
    with_classes = [name for name in there if name != "train" and has_folders(root / name)]
    for name in ("train", *((asked,) if asked else _TESTS)):
        if (root / name).is_symlink() and name not in there:
            raise DataError(f"{show_root(root)}: {name!r} is a link that leads to no folder; mend it")
    known = [name for name in _TESTS if name in there]
    chosen = asked or next((name for name in known if name in with_classes), known[0] if known else "")
    for name, words in (("train", "train/"), (chosen, f"{asked}/" if asked else "test/ or val/")):
        if name not in there and not (alone and name == "train"):
            choice = f"; is the test set {_list_names(with_classes)}? say data.test=NAME" if with_classes else ""
            hint = hint_at_root(root) if name == "train" or not choice else choice
            raise DataError(f"{show_root(root)}: has no folder {words} in it; it must hold {FORM}{hint}")
    for name in (name for name in there if name not in ("train", chosen)):
        left.folder(("beside train and test", name) if name in with_classes else ("without classes", name))
    return chosen


def _list_classes(root: Path, folder: str, left: Leftovers) -> dict[str, str]:
    """Classes by their composed name (NFC), with the name of the folder. Tells of all else that lies there.

    Raises DataError for two folders of one name to people, and for a link that leads nowhere.
    """
    found: dict[str, str] = {}
    for path in sorted((root / folder).iterdir()):
        if path.is_dir():
            if kind := name_folder(path.name):
                left.folder(kind)
                continue
            name = unicodedata.normalize("NFC", path.name)
            if name in found:
                both = f"{found[name]!a} and {path.name!a}"
                raise DataError(f"{show_root(root)}: {folder}/ has {name!r} twice, as {both}; put them together")
            found[name] = path.name
        elif (kind := name_file(path.name)) is None:
            left.file((f"beside the classes of {folder}", path.suffix))
        elif path.is_symlink() and not path.is_file():
            raise DataError(f"{show_root(root)}: {f'{folder}/{path.name}'!r} is a link that leads nowhere; mend it")
        else:
            left.file(kind)
    return found


def _require_same_classes(root: Path, found: Mapping[str, set[str]], folders: Mapping[str, str]) -> None:
    """Raises DataError if there are not two classes, or a class is in only one of the two folders."""
    train, test = found["train"], found["test"]
    for split, folder in folders.items():
        if not found[split]:
            hint = hint_at_classes(root, folder)
            raise DataError(f"{show_root(root)}: {folder}/ has no class folders; it must hold {FORM}{hint}")
    if train != test:
        alone = {"train/": train - test, f"{folders['test']}/": test - train}
        words = "; ".join(f"only {folder} has {_list_names(names)}" for folder, names in alone.items() if names)
        hint = hint_at_level(root, found, folders)
        raise DataError(f"{show_root(root)}: {words}; both need the same classes{hint}")
    if len(train) == 1 and (hint := hint_at_level(root, found, folders)):
        raise DataError(f"{show_root(root)}: has one class, {_list_names(train)}{hint}")


def _spell(found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """class -> split -> name of its folder. A class is called as both folders are, else by the composed name."""
    train, test = found["train"], found["test"]
    return {
        train[name] if train[name] == test[name] else name: {"train": train[name], "test": test[name]} for name in train
    }


def _find_files(folder: Path, left: Leftovers) -> Iterator[tuple[str, tuple[int, int, int, int, int]]]:
    """(name, what Picture says besides) of every file with the extension of a picture, at any depth.

    Tells of folders and files that are left out.
    """
    seen = {(above.st_dev, above.st_ino) for above in (path.stat() for path in (folder.parent, folder.parent.parent))}
    rest = [""]
    while rest:
        below = rest.pop()
        here = (folder / below).stat()
        if (here.st_dev, here.st_ino) in seen:  # a link back has no end, and beyond one up are other classes
            left.folder(("behind a link back", PurePath(below).name))
            continue
        seen.add((here.st_dev, here.st_ino))
        with os.scandir(folder / below) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                what = _status_of(entry)
                if what and stat.S_ISDIR(what.st_mode):
                    if kind := name_folder(entry.name):
                        left.folder(kind)
                    else:
                        rest.append(f"{below}{entry.name}/")
                elif kind := name_file(entry.name):
                    left.file(kind if what else ("behind a broken link", entry.name))
                elif what and stat.S_ISREG(what.st_mode):
                    times = (what.st_mtime_ns, what.st_ctime_ns)
                    yield f"{below}{entry.name}", (what.st_size, *times, what.st_dev, what.st_ino)
                else:
                    yield f"{below}{entry.name}", (-1, 0, 0, 0, 0)


def _status_of(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """The status of an entry; None for a link that leads nowhere, or to itself."""
    try:
        return entry.stat()
    except OSError:
        return None
