"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 pictures of 32x32 pixels.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), Sec. 3. The archive holds pickles, which
can name any function to be called. So its checksum is verified first. It is read as a stream: nothing is extracted, and
no path can lead elsewhere. Its pickles may build arrays and plain values, nothing else. An archive that somebody has
unpacked is read too, by the checksum of each file.
"""

import os
import pickle
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.data.cache import Cache, Known, absence_error, key_of
from degrade.data.download import checksum, fetch
from degrade.data.hints import show_root
from degrade.data.images import Note
from degrade.errors import DataError
from degrade.spec import DataSpec
from degrade.store.files import at_home, user_cache

Tables = dict[str, dict[str, Any]]  # member -> what its pickle holds


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A dataset as its author publishes it."""

    file: str
    md5: str
    address: Callable[[], str]
    folder: str  # of the members
    train: Mapping[str, str]  # member -> md5, in this order
    test: Mapping[str, str]
    labels: str  # the key of the labels in a member
    meta: Mapping[str, str]  # the member that names the classes, by the key `names`
    names: str

    @property
    def members(self) -> dict[str, str]:
        """Every member that is read, with its md5."""
        return {**self.train, **self.test, **self.meta}


def _find_address(name: str) -> str:
    """The address from which torchvision gets a dataset. Its releases follow an archive that moves."""
    from torchvision import datasets  # loads torch, but only for a download, so never in a worker

    return getattr(datasets, name).url


CIFAR10 = Archive(
    file="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    address=partial(_find_address, "CIFAR10"),
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    labels="labels",
    meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
    names="label_names",
)
CIFAR100 = Archive(
    file="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    address=partial(_find_address, "CIFAR100"),
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    labels="fine_labels",
    meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
    names="fine_label_names",
)
# What else its author publishes; a part of a name -> what it is
_OTHERS = {"-batches-bin": "binary", "-binary": "binary", "-batches-mat": "Matlab", "-matlab": "Matlab"}


def prepare(archive: Archive, spec: DataSpec, note: Note, theirs: bool = False) -> str:
    """The content of an archive: known, else read from data.root (or the user's cache folder), else downloaded there.

    data.root may be the folder of the archive, the archive itself, or what was unpacked from it. `theirs`: only a run
    names the root. Then the root is read, and nothing is downloaded.
    Raises DataError, which says what to do, if the archive cannot be had.
    """
    root = _find_root(archive, spec, theirs=theirs)
    cache = Cache(root, theirs=theirs)

    def make() -> Known:
        place = _find_place(archive, root or user_cache())
        if place.is_dir():
            return Known(_store(archive, _read_unpacked(archive, place, note), cache))
        if place.exists() and not place.is_file():
            raise DataError(f"{place}: is no file; put the archive there, or name another data.root")
        if theirs and not place.exists():
            raise absence_error(str(place), spec)
        if not place.exists():
            fetch(archive.address if spec.url is None else lambda: str(spec.url), place, archive.md5, note)
        elif (found := checksum(place)) != archive.md5:
            raise DataError(
                f"{place}: has md5 {found}, not {archive.md5}: another file or a part of the archive; remove it"
            )
        return Known(_store(archive, _read_archive(archive, place), cache))

    return cache.known(key_of("archive", archive.md5), make).content


def recall(archive: Archive, spec: DataSpec) -> str:
    """The content of an archive if it was read here before; "" otherwise. Raises DataError for a root that is not
    there.
    """
    known = Cache(_find_root(archive, spec)).recall(key_of("archive", archive.md5))
    return known.content if known else ""


def _find_root(archive: Archive, spec: DataSpec, *, theirs: bool = False) -> Path | None:
    """data.root as a path. Raises DataError where it is not there."""
    root = at_home(spec.root) if spec.root else None
    if root is not None and not root.exists():
        if theirs:
            raise absence_error(str(root / archive.file), spec)
        raise DataError(f"{show_root(root)}: no such folder; make it, or leave data.root out to use {user_cache()}")
    return root


def _find_place(archive: Archive, root: Path) -> Path:
    """The archive, or the folder of its members, in or at the root; else where the archive would be.

    Raises DataError for another dataset or another form of it.
    """
    whole, unpacked = root / archive.file, root / archive.folder
    if not root.is_dir():
        return root  # the archive itself, under any name: its checksum tells
    if os.path.lexists(whole):
        return whole
    if root.name == archive.folder or all((root / member).is_file() for member in archive.members):
        return root
    if unpacked.is_dir():
        return unpacked
    for name in [root.name, *sorted(entry.name for entry in os.scandir(root))]:
        kind = next((kind for part, kind in _OTHERS.items() if name.startswith("cifar-") and part in name), None)
        if kind:
            raise DataError(f"{show_root(root)}: {name!r} is the {kind} form; degrade reads {archive.file}")
        if name == archive.file.removesuffix(".gz"):
            raise DataError(f"{show_root(root)}: {name!r} has lost its compression; unpack it, or get {archive.file}")
    other = CIFAR100 if archive.folder == CIFAR10.folder else CIFAR10
    if all((root / member).is_file() for member in other.members):
        said = "cifar100" if other is CIFAR100 else "cifar10"
        raise DataError(f"{show_root(root)}: is unpacked from {other.file}; say data={said}, or name another root")
    return whole


def _read_unpacked(archive: Archive, folder: Path, note: Note) -> Tables:
    """The tables of an unpacked archive. Raises DataError if a file is missing or has another checksum."""
    note(f"reads what was unpacked to {folder}, file by file", 0, 0)
    for member, md5 in archive.members.items():
        if not (folder / member).is_file():
            raise DataError(f"{folder}: lacks {member}; unpack {archive.file} again, or name the archive itself")
        if (found := checksum(folder / member)) != md5:
            raise DataError(
                f"{folder / member}: has md5 {found}, not {md5}: damaged or changed; unpack the archive again"
            )
    return {member: _unpickle((folder / member).read_bytes()) for member in archive.members}


def _read_archive(archive: Archive, path: Path) -> Tables:
    """The tables of an archive with the right checksum."""
    tables = read_members(path, {f"{archive.folder}/{member}" for member in archive.members})
    return {name.removeprefix(f"{archive.folder}/"): table for name, table in tables.items()}


def _store(archive: Archive, parts: Tables, cache: Cache) -> str:
    """Writes the tables of an archive into the cache; returns the content."""
    labels: dict[str, NDArray[np.int64]] = {}
    with cache.draft() as draft:
        for split, names in (("train", archive.train), ("test", archive.test)):
            draft.add(split, (row.reshape(3, 32, 32) for name in names for row in parts[name]["data"]))
            labels[split] = np.concatenate([parts[name][archive.labels] for name in names]).astype(np.int64)
        (meta,) = archive.meta
        return draft.publish(labels, tuple(parts[meta][archive.names]))


def read_members(path: Path, wanted: set[str]) -> Tables:
    """The pickled tables of an archive by the name of the member, in one pass.

    Raises DataError if a member is missing or asks to run something.
    """
    found: Tables = {}
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() and member.name in wanted else None
            if file is not None:
                found[member.name] = _unpickle(file.read())
    if missing := wanted - {*found}:
        raise DataError(f"{path}: lacks {', '.join(sorted(missing))}; remove it to download it again")
    return found


def _make_dtype(kind: str, align: object, copy: object) -> np.dtype[Any]:
    """numpy.dtype for pickles of 2009, which call it with 0 and 1. numpy now warns of those."""
    return np.dtype(kind, align=bool(align), copy=bool(copy))


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy pickles an array by it; numpy 2 renamed its module
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _make_dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}


def _unpickle(content: bytes) -> dict[str, Any]:
    """The table of a member. Raises DataError if it asks to run something."""
    return _SafeUnpickler(BytesIO(content), encoding="latin1").load()


class _SafeUnpickler(pickle.Unpickler):
    """Builds arrays and plain values, and refuses anything else that a pickle names."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise DataError(f"the archive asks to run {module_name}.{global_name}, which no picture needs; remove it")
        return _ADMITTED[module_name, global_name]
