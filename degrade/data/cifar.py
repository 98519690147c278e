"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 pictures of 32x32 pixels.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), Sec. 3. The archive holds pickles, which
can name any function to be called. So its checksum is verified first. It is read as a stream: nothing is extracted, and
no path can lead elsewhere. Its pickles may build arrays and plain values, nothing else.
"""

import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from degrade.data.cache import Cache, Known, absence_error, key_of
from degrade.data.download import checksum, fetch
from degrade.data.images import Note
from degrade.errors import DataError
from degrade.spec import DataSpec
from degrade.store.files import at_home, user_cache


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A dataset as its author publishes it."""

    file: str
    md5: str
    address: Callable[[], str]
    train: tuple[str, ...]  # members of the archive, in this order
    test: tuple[str, ...]
    labels: str  # the key of the labels in a member
    meta: str  # the member that names the classes, by the key `names`
    names: str


def _find_address(name: str) -> str:
    """The address from which torchvision gets a dataset. Its releases follow an archive that moves."""
    from torchvision import datasets  # loads torch, but only for a download, so never in a worker

    return getattr(datasets, name).url


CIFAR10 = Archive(
    file="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    address=partial(_find_address, "CIFAR10"),
    train=tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
    test=("cifar-10-batches-py/test_batch",),
    labels="labels",
    meta="cifar-10-batches-py/batches.meta",
    names="label_names",
)
CIFAR100 = Archive(
    file="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    address=partial(_find_address, "CIFAR100"),
    train=("cifar-100-python/train",),
    test=("cifar-100-python/test",),
    labels="fine_labels",
    meta="cifar-100-python/meta",
    names="fine_label_names",
)


def prepare(archive: Archive, spec: DataSpec, note: Note, theirs: bool = False) -> str:
    """The content of an archive: known, else read from data.root (or the user's cache folder), else downloaded there.

    `theirs`: only a run names the root. Then the root is read, and nothing is downloaded.
    Raises DataError, which says what to do, if the archive cannot be had.
    """
    root = at_home(spec.root) if spec.root else None
    cache = Cache(root, theirs=theirs)

    def make() -> Known:
        path = (root or user_cache()) / archive.file
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no file; put the archive there, or name another data.root")
        if theirs and not path.exists():
            raise absence_error(str(path), spec)
        if not path.exists():
            fetch(archive.address, path, archive.md5, note)
        elif (found := checksum(path)) != archive.md5:
            raise DataError(
                f"{path}: has md5 {found}, not {archive.md5}: another file or a part of the archive; remove it"
            )
        return Known(_store(archive, path, cache))

    return cache.known(key_of("archive", archive.md5), make).content


def _store(archive: Archive, path: Path, cache: Cache) -> str:
    """Reads an archive with the right checksum into the cache; returns its content."""
    parts = read_members(path, {*archive.train, *archive.test, archive.meta})
    labels: dict[str, NDArray[np.int64]] = {}
    with cache.draft() as draft:
        for split, names in (("train", archive.train), ("test", archive.test)):
            draft.add(split, (row.reshape(3, 32, 32) for name in names for row in parts[name]["data"]))
            labels[split] = np.concatenate([parts[name][archive.labels] for name in names]).astype(np.int64)
        return draft.publish(labels, tuple(parts[archive.meta][archive.names]))


def read_members(path: Path, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The pickled tables of an archive by the name of the member, in one pass.

    Raises DataError if a member is missing or asks to run something.
    """
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() and member.name in wanted else None
            if file is not None:
                found[member.name] = _SafeUnpickler(BytesIO(file.read()), encoding="latin1").load()
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


class _SafeUnpickler(pickle.Unpickler):
    """Builds arrays and plain values, and refuses anything else that a pickle names."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise DataError(f"the archive asks to run {module_name}.{global_name}, which no picture needs; remove it")
        return _ADMITTED[module_name, global_name]
