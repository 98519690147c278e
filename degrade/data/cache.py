"""Decoded pictures on disk: made once, checked, and memory-mapped, so that all workers of a machine share the pages.

<data.root>/.degrade/            if that cannot be written, the user's own cache folder
    <content>/about.json         classes and shapes; written last
              train-pixels.npy   (N, C, H, W) uint8
              train-labels.npy   (N,) int64; the same for test
    keys/<key>.json              the content of a source
    draft/                       a folder in the making
    .lock                        held while something is made

The name of a folder is the fingerprint of its content. So its check needs no second record, and a worker gets the
content that its run is named after, even if the source has changed since.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from degrade.data.images import Images, Pair, fingerprint
from degrade.errors import DataError, NewerError
from degrade.spec import DataSpec
from degrade.store import seal
from degrade.store.files import read as read_file
from degrade.store.files import user_cache, write

_CACHE_FORMAT = 1  # of the folders and of the decoding; part of every key
_STORED_SPLITS = ("train", "test")
# name in a cache folder -> the kind it must have
_KINDS = {"": stat.S_ISDIR, "keys": stat.S_ISDIR, "draft": stat.S_ISDIR, ".lock": stat.S_ISREG}


class Known(NamedTuple):
    """The content of a source."""

    content: str  # its fingerprint
    bad: tuple[str, ...] = ()  # pictures left out because they cannot be read


def key_of(*parts: object) -> str:
    """A name for a source: 32 hexadecimal digits of the SHA-256 of all parts."""
    total = hashlib.sha256(f"{_CACHE_FORMAT}".encode())
    for part in parts:
        total.update(repr(part).encode() + b"\0")
    return total.hexdigest()[:32]


class Cache:
    """The cache folders of one root. Reads from all of them; writes to the first that takes files.

    `theirs`: only a run names the root, and the run may be a stranger's. Then only the user's own folder is written to.
    """

    def __init__(self, root: Path | None, *, theirs: bool = False) -> None:
        self.folders = [*([root / ".degrade"] if root else []), user_cache()]
        self._written = self.folders[-1:] if theirs else self.folders

    @cached_property
    def home(self) -> Path:
        """The folder to write to. Raises DataError if no folder takes files."""
        for folder in (folder for folder in self._written if not self._leads_away(folder)):
            try:
                (folder / "keys").mkdir(parents=True, exist_ok=True)
                (folder / ".lock").open("ab").close()  # in a shared folder the lock may be another user's
                with tempfile.TemporaryFile(dir=folder), tempfile.TemporaryFile(dir=folder / "keys"):
                    return folder
            except OSError:
                continue
        places = " or ".join(map(str, self._written))
        raise DataError(f"data.root: cannot write into {places}; set XDG_CACHE_HOME to a folder that you may write to")

    def _leads_away(self, folder: Path) -> bool:
        """Whether a cache in a folder of pictures has links, or pipes in place of its lock or folders.

        The pictures may be somebody's gift. So no link is written through, no draft behind a link is removed, and no
        pipe is waited for. The user's own cache folder may be a link.
        """
        return folder != user_cache() and any(_has_other_kind(folder / name, kind) for name, kind in _KINDS.items())

    def known(self, key: str, make: Callable[[], Known], *, partial: bool = False) -> Known:
        """The content that `key` stands for. If it is not known, `make` finds it, alone in this cache.

        `partial`: content with pictures left out will do. Damaged content does not count as known.
        """
        if (known := self.recall(key, partial=partial)) is not None:
            return known
        with self._lock():
            known = self.recall(key, partial=partial) or make()  # another process may have made it while we waited
            self.remember(key, known)
        return known

    def remember(self, key: str, known: Known) -> None:
        """Writes down what `key` stands for, whole or not at all. Call it only under the lock of `known`.

        Raises DataError if the disk refuses.
        """
        path = self.home / "keys" / f"{key}.json"
        with self._report_refusals():
            write(path, seal.to_json(known._asdict()))

    def recall(self, key: str, *, partial: bool = False) -> Known | None:
        """The content that `key` stands for, if it is here and every byte is as it was; else None."""
        for folder in self.folders:
            try:
                values = seal.of_json(read_file(folder / "keys" / f"{key}.json"))
                known = Known(_require_text(values["content"]), tuple(_require_text(name) for name in values["bad"]))
            except (OSError, ValueError, KeyError, TypeError, NewerError):
                continue
            if (partial or not known.bad) and self._is_whole(known.content):
                return known
        return None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever made here, so that a search is not worth its time."""
        return not any(True for folder in self.folders for _ in folder.glob("keys/*.json"))

    def _is_whole(self, content: str) -> bool:
        """Whether the images of `content` still have that fingerprint. Reads all of them."""
        try:
            return fingerprint(*self.load(content)) == content
        except DataError:
            return False

    def load(self, content: str) -> Pair:
        """(train, test) with pixels mapped into memory. Checks names and shapes, not every byte.

        Raises DataError if the images are not there or damaged.
        """
        reason = "not here"
        for folder in (folder / content for folder in self.folders):
            try:
                about = json.loads(read_file(folder / "about.json"))
                if about["format"] != _CACHE_FORMAT:
                    raise ValueError(f"format {about['format']}, but this degrade has {_CACHE_FORMAT}")
                train, test = (_read_split(folder, split, about) for split in _STORED_SPLITS)
                return train, test
            except FileNotFoundError:
                continue
            except Exception as error:  # numpy's errors have no common type; even a SyntaxError occurs
                reason = f"damaged in {folder} ({str(error).partition(chr(10))[0]})"
        raise DataError(f"data.content={content}: {reason}; start the sweep again, which prepares it")

    @contextmanager
    def draft(self) -> Generator["Draft"]:
        """A folder to write into. Removes it if it was not published. Call it only inside the `make` of `known`.

        Raises DataError if the disk refuses.
        """
        path = self.home / "draft"
        shutil.rmtree(path, ignore_errors=True)  # of a process that died, since we hold the lock
        try:
            with self._report_refusals():
                path.mkdir()
                yield Draft(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _report_refusals(self) -> Generator[None]:
        """Turns an error of the disk into a DataError of one line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"{self.home}: cannot be written ({reason}); make room, or name another data.root"
            ) from None

    @contextmanager
    def _lock(self) -> Generator[None]:
        """Holds this cache alone. Raises DataError if the disk refuses."""
        lock = FileLock(self.home / ".lock")
        with self._report_refusals():
            lock.acquire()
        try:
            with self._report_refusals():
                for left in (self.home / "keys").glob(".*.tmp"):  # a process died while writing
                    left.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def _has_other_kind(place: Path, kind: Callable[[int], bool]) -> bool:
    """Whether something of another kind than `kind` is there. A link is of another kind."""
    try:
        return not kind(os.lstat(place).st_mode)
    except OSError:  # nothing is there, or writing will find out
        return False


def absence_error(what: str, spec: DataSpec) -> DataError:
    """An error that says that the pictures of a run are not here, and what to do. With `theirs` nothing is fetched."""
    return DataError(
        f"{what}: not here, and nothing is fetched that only a run names; say data={spec.name} and where, by "
        "data.root=..., on the command line, or sweep them first"
    )


def _require_text(value: Any) -> str:
    """The value, which must be text. Raises TypeError if it is not."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _read_split(folder: Path, split: str, about: Mapping[str, Any]) -> Images:
    """One split, as about.json describes it.

    Raises what numpy raises, OSError for a path that is no file, or ValueError if shapes or labels do not fit.
    """
    # copy on write, since torch warns of arrays that may not be written to; a stray write stays in its process
    pixels: NDArray[np.uint8] = np.asarray(
        np.load(_require_file(folder / f"{split}-pixels.npy"), mmap_mode="c", allow_pickle=False)
    )
    labels: NDArray[np.int64] = np.load(_require_file(folder / f"{split}-labels.npy"), allow_pickle=False)
    classes = tuple(about["classes"])
    if [list(pixels.shape), str(pixels.dtype)] != [about[split], "uint8"] or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{split} is not of shape {about[split]}")
    if labels.dtype != np.int64 or not ((labels >= 0) & (labels < len(classes))).all():
        raise ValueError(f"{split} has labels beyond its {len(classes)} classes")
    return Images(pixels, labels, classes)


def _require_file(path: Path) -> Path:
    """The path, which must be a file. Raises OSError for a pipe, which would be waited for, or an endless device."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path.name} is no file")
    return path


class Draft:
    """A folder in the making, under a name that no reader looks for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, split: str, pictures: Iterable[NDArray[np.uint8]]) -> tuple[int, ...]:
        """Writes pictures (C, H, W) of one shape as they come, so that they need not fit into memory.

        Returns the shape of all pictures together, (0,) without pictures.
        """
        shape: tuple[int, ...] = (0,)
        with (self.path / f"{split}-pixels.npy").open("wb") as file:
            for picture in pictures:
                if shape == (0,):
                    shape = (0, *picture.shape)
                    _write_header(file, shape)
                assert shape[1:] == picture.shape
                file.write(np.ascontiguousarray(picture).data)
                shape = (shape[0] + 1, *shape[1:])
            begun = file.tell() - int(np.prod(shape))
            file.seek(0)
            _write_header(file, shape)  # numpy leaves room in a header for a first axis that grows
            assert file.tell() == begun or shape == (0,)
            _sync(file)
        return shape

    def publish(self, labels: dict[str, NDArray[np.int64]], classes: tuple[str, ...]) -> str:
        """Gives the folder its name, the content, and returns it. From then on readers find it, whole.

        Replaces a damaged folder of that name.
        """
        about: dict[str, Any] = {"format": _CACHE_FORMAT, "classes": classes}
        for split in _STORED_SPLITS:
            with (self.path / f"{split}-labels.npy").open("wb") as file:
                np.save(file, labels[split])
                _sync(file)
            about[split] = list(np.load(self.path / f"{split}-pixels.npy", mmap_mode="r").shape)
        with (self.path / "about.json").open("wb") as file:
            file.write(json.dumps(about).encode())
            _sync(file)
        content = fingerprint(*(_read_split(self.path, split, about) for split in _STORED_SPLITS))
        final = self.path.parent / content
        shutil.rmtree(final, ignore_errors=True)
        self.path.replace(final)
        return content


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Writes the header of a .npy file of uint8."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _sync(file: BinaryIO) -> None:
    """Brings a file to disk."""
    file.flush()
    os.fsync(file.fileno())
