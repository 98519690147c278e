"""Decoded pictures on disk: made once, checked, memory-mapped, so that all workers of a machine share the pages.

<data.root>/.degrade/            else, where that cannot be written, the user's own cache folder
    <content>/about.json         classes and shapes: there only when all the rest is
              train-pixels.npy   (N, C, H, W) uint8
              train-labels.npy   (N,) int64; the same for test
    keys/<key>.json              which content a source was found to have
    draft/                       what is being made
    .lock                        held meanwhile

A folder is named by the fingerprint of what is in it, so the check of it needs no second record, and a worker gets
what its run is named after even when the source has changed since.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from degrade.data.images import Images, Pair, fingerprint
from degrade.errors import DataError, NewerError
from degrade.spec import DataSpec
from degrade.store import seal
from degrade.store.files import read as read_file
from degrade.store.files import user_cache, write

CACHE_FORMAT = 1  # of the folders, and of how pictures are decoded: part of every key
SPLITS = ("train", "test")
KINDS = {"": stat.S_ISDIR, "keys": stat.S_ISDIR, "draft": stat.S_ISDIR, ".lock": stat.S_ISREG}  # of what lies in it


class Known(NamedTuple):
    """What a source holds."""

    content: str
    bad: tuple[str, ...] = ()  # pictures left out since they cannot be read


def key_of(*parts: object) -> str:
    """A name for a source: 32 hexadecimal digits of the SHA-256 of all parts."""
    total = hashlib.sha256(f"{CACHE_FORMAT}".encode())
    for part in parts:
        total.update(repr(part).encode() + b"\0")
    return total.hexdigest()[:32]


class Cache:
    """The cache folders of one root: read from all of them, written to the first that takes files.

    `theirs`: the root is one that only a run names, which may be a stranger's: written to the user's own alone.
    """

    def __init__(self, root: Path | None, *, theirs: bool = False) -> None:
        self.folders = [*([root / ".degrade"] if root else []), user_cache()]
        self.written = self.folders[-1:] if theirs else self.folders

    @cached_property
    def home(self) -> Path:
        """Raises DataError where no folder takes files."""
        for folder in (folder for folder in self.written if not self._leads_away(folder)):
            try:
                (folder / "keys").mkdir(parents=True, exist_ok=True)
                (folder / ".lock").open("ab").close()  # in a shared folder it may be another user's
                with tempfile.TemporaryFile(dir=folder), tempfile.TemporaryFile(dir=folder / "keys"):
                    return folder
            except OSError:
                continue
        places = " or ".join(map(str, self.written))
        raise DataError(f"data.root: cannot write into {places}; set XDG_CACHE_HOME to a folder that you may write to")

    def _leads_away(self, folder: Path) -> bool:
        """Whether a cache in a folder of pictures, which may be somebody's gift, has links, or pipes for a lock or
        folders: what it leads to is not written to, nor is a draft removed there, nor a pipe waited for. The user's own
        may be a link.
        """
        return folder != user_cache() and any(other(folder / name, kind) for name, kind in KINDS.items())

    def known(self, key: str, make: Callable[[], Known], *, partial: bool = False) -> Known:
        """What `key` stands for, else what `make` finds out while no other process makes anything here.

        `partial`: whether what leaves pictures out will do. Nothing that is damaged is taken for known.
        """
        if (known := self.recall(key, partial=partial)) is not None:
            return known
        with self._locked():
            known = self.recall(key, partial=partial) or make()  # another may have made it while we waited
            self.remember(key, known)
        return known

    def remember(self, key: str, known: Known) -> None:
        """Whole or not at all. To be called while `known` makes something: the lock is held.

        Raises DataError for what the disk refuses.
        """
        path = self.home / "keys" / f"{key}.json"
        with self._refusals():
            write(path, seal.to_json(known._asdict()))

    def recall(self, key: str, *, partial: bool = False) -> Known | None:
        """What is known of `key`, if it is here and every byte is as it was; else None."""
        for folder in self.folders:
            try:
                values = seal.of_json(read_file(folder / "keys" / f"{key}.json"))
                known = Known(word(values["content"]), tuple(word(name) for name in values["bad"]))
            except (OSError, ValueError, KeyError, TypeError, NewerError):
                continue
            if (partial or not known.bad) and self.whole(known.content):
                return known
        return None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever made here: then it is not worth looking for."""
        return not any(True for folder in self.folders for _ in folder.glob("keys/*.json"))

    def whole(self, content: str) -> bool:
        """Whether what is kept of `content` still has that fingerprint: reads all of it."""
        try:
            return fingerprint(*self.load(content)) == content
        except DataError:
            return False

    def load(self, content: str) -> Pair:
        """(train, test) with pixels mapped into memory. Checks names and shapes, not every byte.

        Raises DataError where they are not there, or not what they were.
        """
        reason = "not here"
        for folder in (folder / content for folder in self.folders):
            try:
                about = json.loads(read_file(folder / "about.json"))
                if about["format"] != CACHE_FORMAT:
                    raise ValueError(f"format {about['format']}, where this degrade has {CACHE_FORMAT}")
                train, test = (read(folder, split, about) for split in SPLITS)
                return train, test
            except FileNotFoundError:
                continue
            except Exception as error:  # numpy has no common type for what it refuses: even a SyntaxError
                reason = f"damaged in {folder} ({str(error).partition(chr(10))[0]})"
        raise DataError(f"data.content={content}: {reason}; start the sweep again, which prepares it")

    @contextmanager
    def draft(self) -> Generator["Draft"]:
        """Something to write into, removed if it was not published. To be called while `known` makes something.

        Raises DataError for what the disk refuses.
        """
        path = self.home / "draft"
        shutil.rmtree(path, ignore_errors=True)  # of a process that died: ours is the lock
        try:
            with self._refusals():
                path.mkdir()
                yield Draft(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _refusals(self) -> Generator[None]:
        """What the disk refuses as a DataError of one line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"{self.home}: cannot be written ({reason}); make room, or name another data.root"
            ) from None

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Alone in this cache. Raises DataError for what the disk refuses."""
        lock = FileLock(self.home / ".lock")
        with self._refusals():
            lock.acquire()
        try:
            with self._refusals():
                for left in (self.home / "keys").glob(".*.tmp"):  # of a process that died while writing
                    left.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def other(place: Path, kind: Callable[[int], bool]) -> bool:
    """Whether something of another kind is there, a link too."""
    try:
        return not kind(os.lstat(place).st_mode)
    except OSError:  # nothing, or nothing to be had, which is found out by writing
        return False


def absent(what: str, spec: DataSpec) -> DataError:
    """That the pictures of a run are not here, with what to do: of `Cache.theirs` nothing is fetched."""
    return DataError(
        f"{what}: not here, and nothing is fetched that only a run names; say data={spec.name} and where, by "
        "data.root=..., on the command line, or sweep them first"
    )


def word(value: Any) -> str:
    """Raises TypeError for what is none."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no word")
    return value


def read(folder: Path, split: str, about: dict[str, Any]) -> Images:
    """One split. Raises what numpy raises, OSError for what is no file, or ValueError where shapes or labels are not as
    described.
    """
    # copy on write: torch warns of arrays that may not be written to, and a stray write stays in its process
    pixels: NDArray[np.uint8] = np.asarray(
        np.load(regular(folder / f"{split}-pixels.npy"), mmap_mode="c", allow_pickle=False)
    )
    labels: NDArray[np.int64] = np.load(regular(folder / f"{split}-labels.npy"), allow_pickle=False)
    classes = tuple(about["classes"])
    if [list(pixels.shape), str(pixels.dtype)] != [about[split], "uint8"] or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{split} is not of shape {about[split]}")
    if labels.dtype != np.int64 or not ((labels >= 0) & (labels < len(classes))).all():
        raise ValueError(f"{split} has labels beyond its {len(classes)} classes")
    return Images(pixels, labels, classes)


def regular(path: Path) -> Path:
    """The path of a file. Raises OSError for what is none: a pipe would be waited for, and a device has no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path.name} is no file")
    return path


class Draft:
    """A folder in the making, under a name that nobody looks for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, split: str, pictures: Iterable[NDArray[np.uint8]]) -> tuple[int, ...]:
        """Writes pictures (C, H, W) of one shape as they come, so that they need not fit into memory.

        Returns the shape of all, (0,) where none came.
        """
        shape: tuple[int, ...] = (0,)
        with (self.path / f"{split}-pixels.npy").open("wb") as file:
            for picture in pictures:
                if shape == (0,):
                    shape = (0, *picture.shape)
                    header(file, shape)
                assert shape[1:] == picture.shape
                file.write(np.ascontiguousarray(picture).data)
                shape = (shape[0] + 1, *shape[1:])
            begun = file.tell() - int(np.prod(shape))
            file.seek(0)
            header(file, shape)  # numpy leaves room in it for a first axis that grows
            assert file.tell() == begun or shape == (0,)
            sync(file)
        return shape

    def publish(self, labels: dict[str, NDArray[np.int64]], classes: tuple[str, ...]) -> str:
        """Gives the folder its name, which is returned: from then on it is there, whole. Replaces a damaged one."""
        about: dict[str, Any] = {"format": CACHE_FORMAT, "classes": classes}
        for split in SPLITS:
            with (self.path / f"{split}-labels.npy").open("wb") as file:
                np.save(file, labels[split])
                sync(file)
            about[split] = list(np.load(self.path / f"{split}-pixels.npy", mmap_mode="r").shape)
        with (self.path / "about.json").open("wb") as file:
            file.write(json.dumps(about).encode())
            sync(file)
        content = fingerprint(*(read(self.path, split, about) for split in SPLITS))
        final = self.path.parent / content
        shutil.rmtree(final, ignore_errors=True)
        self.path.replace(final)
        return content


def header(file: Any, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
