"""What may be meant by a folder of pictures of another form: the end of an error, with a way out."""

from collections.abc import Mapping
from pathlib import Path

from degrade.data.leftovers import ARCHIVES, name_folder

FORM = "train/<class>/*.jpg and test/<class>/*.jpg (or val/)"
_LISTS = (".csv", ".tsv")


def show_root(root: Path) -> str:
    """A root as a key of a command line, escaped if it would break a line."""
    return f"data.root={root if str(root).isprintable() else repr(str(root))}"


def has_folders(folder: Path) -> bool:
    """Whether there are folders in it that may be classes."""
    return any((folder / name).is_dir() and not name_folder(name) for name in _list_names(folder))


def _list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hint_at_root(root: Path) -> str:
    """Where train/ and test/ may be, if not in the root."""
    if root.name in ("train", "test", "val") and (root.parent / "train").is_dir():
        return f"; name the folder above it: {show_root(root.parent)}"
    names = _list_names(root)
    if inner := [name for name in names if (root / name / "train").is_dir() and not name_folder(name)]:
        return f"; {inner[0]!r} has train/ in it: {show_root(root / inner[0])}"
    if packed := [name for name in names if Path(name).suffix.lower() in ARCHIVES]:
        return f"; unpack {packed[0]!r} first"
    return _hint_at_list(names)


def hint_at_classes(root: Path, folder: str) -> str:
    """Why a folder may have no classes in it."""
    names = _list_names(root / folder)
    if packed := [name for name in names if Path(name).suffix.lower() in ARCHIVES]:
        return f"; unpack {f'{folder}/{packed[0]}'!r} first"
    return _hint_at_list([*names, *_list_names(root)])


def hint_at_level(root: Path, found: Mapping[str, set[str]], folders: Mapping[str, str]) -> str:
    """Whether the classes may lie a level deeper, or be written otherwise in one of the two folders."""
    for split, folder in folders.items():
        only = next(iter(found[split])) if len(found[split]) == 1 else ""
        if only and has_folders(root / folder / only):
            return f"; {f'{folder}/{only}'!r} holds folders: if they are the classes, move them up"
    cases = [{name.casefold() for name in own} for own in found.values()]
    return "; they differ in capitals: rename some" if cases[0] == cases[1] and found["train"] != found["test"] else ""


def _hint_at_list(names: list[str]) -> str:
    """A list of labels, which is not read."""
    lists = [name for name in names if Path(name).suffix.lower() in _LISTS or "label" in name.lower()]
    return f"; labels in {lists[0]!r} are not read: sort the pictures into a folder for each class" if lists else ""
