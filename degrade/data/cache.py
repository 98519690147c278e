"""Decoded pictures on disk: made once, checked, and memory-mapped, so that all workers of a machine share the pages.

<data.root>/.degrade/            if that cannot be written, the user's own cache folder
    <content>/about.json         classes and shapes; written last
              train-pixels.npy   (N, C, H, W) uint8
              train-labels.npy   (N,) int64; the same for test
    draft/                       a folder in the making
    .lock                        held while something is made
<the user's own cache folder>/
    keys/<key>.json              the content of a source

The name of a folder is the fingerprint of its content. So its check needs no second record, and a worker gets the
content that its run is named after, even if the source has changed since. Which content a source has is a note of the
user's own: a note that lies beside pictures may have come with them, and nothing but decoding could prove it.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from degrade.data.images import Pair, fingerprint
from degrade.data.stored import CACHE_FORMAT, SPLITS, Draft, read_split
from degrade.errors import DataError, NewerError
from degrade.spec import DataSpec
from degrade.store import seal
from degrade.store.files import read as read_file
from degrade.store.files import user_cache, write
from degrade.store.locks import wait_for

# name in a cache folder -> the kind it must have
_KINDS = {"": stat.S_ISDIR, "draft": stat.S_ISDIR, ".lock": stat.S_ISREG}


class Known(NamedTuple):
    """The content of a source."""

    content: str  # its fingerprint
    bad: tuple[str, ...] = ()  # pictures left out because they cannot be read
    lasting: bool = True  # False: the disk refused a file, and may give it the next time


def key_of(*parts: object) -> str:
    """A name for a source: 32 hexadecimal digits of the SHA-256 of all parts."""
    total = hashlib.sha256(f"{CACHE_FORMAT}".encode())
    for part in parts:
        total.update(repr(part).encode() + b"\0")
    return total.hexdigest()[:32]


class Cache:
    """The cache folders of one root. Reads the user's own first, writes to the root's if it takes files.

    `theirs`: only a run names the root, and the run may be a stranger's. Then only the user's own folder is written to.
    """

    def __init__(self, root: Path | None, *, theirs: bool = False) -> None:
        self.folders = [user_cache(), *([root / ".degrade"] if root else [])]
        self.notes = user_cache() / "keys"
        self._written = self.folders[:1] if theirs else self.folders[::-1]

    @cached_property
    def home(self) -> Path:
        """The folder to write to. Raises DataError if no folder takes files."""
        for folder in (folder for folder in self._written if not self._leads_away(folder)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / ".lock").open("ab").close()  # in a shared folder the lock may be another user's
                with tempfile.TemporaryFile(dir=folder):
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

    def known(self, key: str | None, make: Callable[[], Known], *, partial: bool = False) -> Known:
        """The content that `key` stands for. If it is not known, `make` finds it, alone in this cache.

        `key` None: nothing cheap stands for the source, and `make` looks. `partial`: content with pictures left out
        will do. Damaged content does not count as known.
        """
        if key and (known := self.recall(key, partial=partial)) is not None:
            return known
        with self._lock():
            # another process may have made it while we waited
            known = (self.recall(key, partial=partial) if key else None) or make()
            if not self._is_whole(known.content):  # a damaged folder of the user's own, which is read first, hides it
                shutil.rmtree(self.folders[0] / known.content, ignore_errors=True)
            if key:
                self.remember(key, known)
        return known

    def remember(self, key: str, known: Known) -> None:
        """Writes down what `key` stands for, whole or not at all. Does nothing for what does not last, or where the
        user has no folder for notes: the pictures are then looked at again.

        Raises DataError if the disk refuses.
        """
        if not known.lasting or not _can_hold(self.notes):
            return
        lock = FileLock(self.notes / ".lock")  # of all roots: so not under their lock
        with self._report_refusals(self.notes), _hold(lock, "writes down what it decoded"):
            for left in self.notes.glob(".*.tmp"):  # a process died while writing
                left.unlink(missing_ok=True)
            write(self.notes / f"{key}.json", seal.to_json({"content": known.content, "bad": known.bad}))

    def recall(self, key: str, *, partial: bool = False) -> Known | None:
        """The content that `key` stands for, if it is here and every byte is as it was; else None."""
        try:
            values = seal.of_json(read_file(self.notes / f"{key}.json"))
            known = Known(_require_text(values["content"]), tuple(_require_text(name) for name in values["bad"]))
        except (OSError, ValueError, KeyError, TypeError, NewerError):
            return None
        return known if (partial or not known.bad) and self._is_whole(known.content) else None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever made here, so that a search is not worth its time."""
        return not any(True for folder in self.folders for _ in folder.glob("*/about.json"))

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
                if about["format"] != CACHE_FORMAT:
                    raise ValueError(f"format {about['format']}, but this degrade has {CACHE_FORMAT}")
                train, test = (read_split(folder, split, about) for split in SPLITS)
                return train, test
            except FileNotFoundError:
                continue
            except Exception as error:  # numpy's errors have no common type; even a SyntaxError occurs
                reason = f"damaged in {folder} ({str(error).partition(chr(10))[0]})"
        raise DataError(f"data.content={content}: {reason}; start the sweep again, which prepares it")

    @contextmanager
    def draft(self) -> Generator[Draft]:
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
    def _report_refusals(self, place: Path | None = None) -> Generator[None]:
        """Turns an error of the disk into a DataError of one line. `place`: where it is, if not at home."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"{place or self.home}: cannot be written ({reason}); make room, or name another data.root"
            ) from None

    @contextmanager
    def _lock(self) -> Generator[None]:
        """Holds this cache alone. Raises DataError if the disk refuses."""
        lock = FileLock(self.home / ".lock")
        with self._report_refusals():
            wait_for(lock, "prepares these pictures")
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _hold(lock: FileLock, what: str) -> Generator[None]:
    wait_for(lock, what)
    try:
        yield
    finally:
        lock.release()


def _has_other_kind(place: Path, kind: Callable[[int], bool]) -> bool:
    """Whether something of another kind than `kind` is there. A link is of another kind."""
    try:
        return not kind(os.lstat(place).st_mode)
    except OSError:  # nothing is there, or writing will find out
        return False


def _can_hold(folder: Path) -> bool:
    """Makes a folder. Returns whether it takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").open("ab").close()
    except OSError:
        return False
    return True


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
