"""Pictures of one's own: a tree of files (degrade.data.tree), decoded once, in threads, into the cache.

A tree is known again by the names, sizes, places and times of its files, where these prove that nothing has changed
(degrade.data.mounts). Else it is known by the bytes, so that copied or touched pictures are not decoded again.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from degrade.data.cache import Cache, Known, absence_error
from degrade.data.hints import FORM, show_root
from degrade.data.images import Note
from degrade.data.pictures import Unreadable, decode, strictly
from degrade.data.tree import MAX_NAMES, Picture, Tree, scan, stands_alone
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec
from degrade.store.files import at_home

_CHUNK = 64  # pictures that a thread takes at once, since one alone is a tenth of a millisecond
_THREADS = min(16, os.cpu_count() or 1)  # Pillow decodes and resizes without the interpreter's lock
_A = TypeVar("_A")
_B = TypeVar("_B")


def prepare(spec: DataSpec, note: Note, theirs: bool = False, *, test_only: bool = False) -> str:
    """The content of the tree at data.root. Decodes the tree unless its content is known.

    `theirs`: only a run names the root. Then nothing is written beside the tree. `test_only`: as for `scan`. A spec
    that has a content belongs to a run. Where the tree has that content with its classes in the order of text, which
    older releases gave to numbers too, it is the run's tree.
    Raises SpecError without a root, DataError for a tree of another form or unreadable pictures.
    """
    root = _demand_root(spec)
    if theirs and not root.is_dir():
        raise absence_error(show_root(root), spec)
    cache, tree = Cache(root, theirs=theirs), scan(root, spec.test, test_only=test_only)
    content = _prepare_tree(tree, spec, cache, note)
    if spec.content not in ("", content) and tree.classes != tuple(sorted(tree.classes)):
        older = _prepare_tree(scan(root, spec.test, test_only=test_only, as_text=True), spec, cache, note)
        return older if older == spec.content else content
    return content


def recall(spec: DataSpec) -> str:
    """The content of the tree at data.root, if the times of its files prove that it was decoded before; else "".

    Raises as `prepare` does, for a root or a tree that cannot be.
    """
    root = _demand_root(spec)
    key = scan(root, spec.test).quick_key(spec.size)
    known = Cache(root).recall(key, partial=spec.skip_bad) if key else None
    return known.content if known else ""


def _demand_root(spec: DataSpec) -> Path:
    """data.root as a path. Raises SpecError without one."""
    if spec.root is None:
        raise SpecError(f"data.root=null: data={spec.name} needs a folder of pictures; name one with {FORM}")
    return at_home(spec.root)


def has_train(spec: DataSpec) -> bool:
    """Whether the tree of a prepared spec has training pictures."""
    return spec.root is None or not stands_alone(at_home(spec.root))


def _prepare_tree(tree: Tree, spec: DataSpec, cache: Cache, note: Note) -> str:
    """The content of a tree. Says which pictures are left out."""
    found = cache.known(
        tree.quick_key(spec.size), lambda: _find_content(tree, spec, cache, note), partial=spec.skip_bad
    )
    if len(tree.classes) == 1:
        note(f"{tree}: has one class, so there is nothing to tell apart", 0, 0)
    if tree.left_out:
        note(f"{tree}: left out {tree.left_out}", 0, 0)
    if found.bad:
        note(f"data.skip_bad=true: left out {_list_bad(found.bad)}", 0, 0)
    return found.content


def _find_content(tree: Tree, spec: DataSpec, cache: Cache, note: Note) -> Known:
    """The content of a tree that is not known by the times of its files: known by their bytes, or decoded now."""
    if not cache.empty:
        digests = {split: _digest_files(tree.root, some, note) for split, some in tree.splits.items()}
        known = cache.recall(tree.bytes_key(spec.size, digests), partial=spec.skip_bad)
        if known:
            return known._replace(lasting=_all_read(digests))
    decoder = _Decoder(tree, spec.size, note)
    with cache.draft() as draft:
        with strictly():
            for split in tree.splits:
                draft.add(split, decoder.pixels(split))
        if decoder.bad and not spec.skip_bad:
            raise DataError(f"{tree}: {_list_bad(decoder.bad)}; mend or remove them, or skip them: data.skip_bad=true")
        known = Known(draft.publish(decoder.readable_labels(), tree.classes), tuple(decoder.bad))
    cache.remember(tree.bytes_key(spec.size, decoder.digests), known)
    return known._replace(lasting=_all_read(decoder.digests))


def _all_read(digests: dict[str, list[bytes]]) -> bool:
    """Whether the disk gave every file. Another time it may give more, and no date would show it."""
    return all(digest for some in digests.values() for digest in some)


class _Decoded(NamedTuple):
    """The result of decoding one file."""

    digest: bytes  # SHA-256 of its bytes; empty if they cannot be read
    pixels: NDArray[np.uint8] | None  # (3, H, W)
    reason: str = ""  # why there are no pixels


class _Decoder:
    """Turns the files of a tree into pixels, and records labels, digests and bad pictures."""

    def __init__(self, tree: Tree, size: int | None, note: Note) -> None:
        self.tree, self.size, self.note = tree, size, note
        self.labels: dict[str, list[int]] = {split: [] for split in tree.splits}
        self.digests: dict[str, list[bytes]] = {split: [] for split in tree.splits}
        self.bad: list[str] = []  # 'name' (reason)
        self.first: tuple[str, tuple[int, ...]] | None = (
            None  # (name, shape) of the first picture; the others must have its shape
        )

    def pixels(self, split: str) -> Iterator[NDArray[np.uint8]]:
        """(3, H, W) of each readable picture of a split, in order. Raises DataError if sizes differ."""
        some = self.tree.splits[split]
        decoded = map_in_order(lambda chunk: [self._decode(picture) for picture in chunk], _chunk(some))
        for done, (picture, (digest, pixels, reason)) in enumerate(zip(some, _flatten(decoded), strict=True), 1):
            self.digests[split].append(digest)
            if pixels is None:
                self.bad.append(f"{picture.name!r} ({reason})")
            else:
                self._check_shape(picture, pixels)
                self.labels[split].append(picture.label)
                yield pixels
            if done % _CHUNK == 0 or done == len(some):
                self.note(f"decoding {split} pictures", done, len(some))

    def _decode(self, picture: Picture) -> _Decoded:
        try:
            content = _read_bytes(self.tree.root, picture)
        except Unreadable as error:
            return _Decoded(b"", None, str(error))
        digest = hashlib.sha256(content).digest()
        try:
            return _Decoded(digest, decode(content, self.size))
        except Unreadable as error:
            return _Decoded(digest, None, str(error))

    def _check_shape(self, picture: Picture, pixels: NDArray[np.uint8]) -> None:
        self.first = self.first or (picture.name, pixels.shape)
        name, shape = self.first
        if pixels.shape != shape:
            sizes = [f"{width}x{height}" for _, height, width in (shape, pixels.shape)]
            raise DataError(
                f"data.size=null: {name!r} has {sizes[0]} pixels and {picture.name!r} {sizes[1]}; "
                f"bring all to one size, as in data.size=32"
            )

    def readable_labels(self) -> dict[str, NDArray[np.int64]]:
        """The labels of the readable pictures. Raises DataError if a class has lost all its pictures."""
        for split, labels in self.labels.items():
            for label in {*range(len(self.tree.classes))} - {*labels}:
                name = self.tree.classes[label]
                raise DataError(f"{self.tree}: no {split} picture of class {name!r} can be read; mend them")
        return {split: np.array(labels, np.int64) for split, labels in self.labels.items()}


def _list_bad(bad: Sequence[str]) -> str:
    """5 unreadable pictures: ..., with the first names and the count of the rest."""
    rest = f" and {len(bad) - MAX_NAMES} more" if len(bad) > MAX_NAMES else ""
    return f"{len(bad)} unreadable picture{'s' * (len(bad) > 1)}: {', '.join(bad[:MAX_NAMES])}{rest}"


def _read_bytes(root: Path, picture: Picture) -> bytes:
    """The bytes of a picture file. Raises Unreadable."""
    if picture.size < 0:  # reading would wait for a pipe
        raise Unreadable("not a file")
    try:
        return (root / picture.name).read_bytes()
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from None


def _digest_files(root: Path, some: Sequence[Picture], note: Note) -> list[bytes]:
    """SHA-256 of each file, empty for an unreadable file, as _Decoder records them."""

    def digest(picture: Picture) -> bytes:
        try:
            return hashlib.sha256(_read_bytes(root, picture)).digest()
        except Unreadable:
            return b""

    digests: list[bytes] = []
    for part in map_in_order(lambda chunk: [digest(picture) for picture in chunk], _chunk(some)):
        digests += part
        note("comparing pictures with those decoded before", len(digests), len(some))
    return digests


def _chunk(some: Sequence[_A]) -> Iterator[Sequence[_A]]:
    return (some[start : start + _CHUNK] for start in range(0, len(some), _CHUNK))


def _flatten(parts: Iterable[Sequence[_A]]) -> Iterator[_A]:
    return (one for part in parts for one in part)


def map_in_order(work: Callable[[_A], _B], items: Iterable[_A]) -> Generator[_B]:
    """work(item) of each item, in order. Threads begin only items that are soon asked for, and none after a failure."""
    pool = ThreadPoolExecutor(_THREADS)
    pending: deque[Future[_B]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * _THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
