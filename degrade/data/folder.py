"""Pictures of one's own: a tree of files (degrade.data.tree), decoded once, in threads, into the cache.

A tree is known again by the names, sizes and times of its files; where those have changed, by the bytes: what was
copied or touched is not decoded again.
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

from degrade.data.cache import Cache, Known, absent
from degrade.data.images import Note
from degrade.data.pictures import Unreadable, decode, strictly
from degrade.data.tree import FORM, NAMED, Picture, Tree, at, scanned
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec
from degrade.store.files import at_home

CHUNK = 64  # pictures that a thread takes at once: one alone is a tenth of a millisecond
THREADS = min(16, os.cpu_count() or 1)  # Pillow decodes and resizes without the interpreter's lock
A = TypeVar("A")
B = TypeVar("B")


def prepare(spec: DataSpec, note: Note, theirs: bool = False) -> str:
    """The content of the tree at data.root, decoded unless it is known already.

    `theirs`: nothing is written beside a tree that only a run names.
    Raises SpecError where no root is given, DataError for a tree of another form and for unreadable pictures.
    """
    if spec.root is None:
        raise SpecError(f"data.root=null: data={spec.name} needs a folder of pictures; name one with {FORM}")
    root = at_home(spec.root)
    if theirs and not root.is_dir():
        raise absent(at(root), spec)
    tree, cache = scanned(root), Cache(root, theirs=theirs)
    found = cache.known(tree.quick_key(spec.size), lambda: look(tree, spec, cache, note), partial=spec.skip_bad)
    if found.bad:
        note(f"data.skip_bad=true: left out {several(found.bad)}", 0, 0)
    return found.content


def look(tree: Tree, spec: DataSpec, cache: Cache, note: Note) -> Known:
    """What a tree holds whose files have not been seen with these times: known by their bytes, or decoded now."""
    if not cache.empty:
        digests = {split: digested(tree.root, some, note) for split, some in tree.splits.items()}
        known = cache.recall(tree.bytes_key(spec.size, digests), partial=spec.skip_bad)
        if known:
            return known
    decoder = Decoder(tree, spec.size, note)
    with cache.draft() as draft:
        with strictly():
            for split in tree.splits:
                draft.add(split, decoder.pixels(split))
        if decoder.bad and not spec.skip_bad:
            raise DataError(f"{tree}: {several(decoder.bad)}; mend or remove them, or skip them: data.skip_bad=true")
        known = Known(draft.publish(decoder.kept(), tree.classes), tuple(decoder.bad))
    cache.remember(tree.bytes_key(spec.size, decoder.digests), known)
    return known


class Seen(NamedTuple):
    """What became of one file."""

    digest: bytes  # SHA-256 of its bytes; empty where there are none to be had
    pixels: NDArray[np.uint8] | None  # (3, H, W)
    reason: str = ""  # why there are no pixels


class Decoder:
    """Turns the files of a tree into pixels, and keeps the account: labels, digests, what was bad."""

    def __init__(self, tree: Tree, size: int | None, note: Note) -> None:
        self.tree, self.size, self.note = tree, size, note
        self.labels: dict[str, list[int]] = {split: [] for split in tree.splits}
        self.digests: dict[str, list[bytes]] = {split: [] for split in tree.splits}
        self.bad: list[str] = []  # 'name' (reason)
        self.first: tuple[str, tuple[int, ...]] | None = None  # whose shape the others must have

    def pixels(self, split: str) -> Iterator[NDArray[np.uint8]]:
        """(3, H, W) of each readable picture of a split, in order. Raises DataError where sizes differ."""
        some = self.tree.splits[split]
        seen = in_order(lambda chunk: [self._see(picture) for picture in chunk], chunks(some))
        for done, (picture, (digest, pixels, reason)) in enumerate(zip(some, flat(seen), strict=True), 1):
            self.digests[split].append(digest)
            if pixels is None:
                self.bad.append(f"{picture.name!r} ({reason})")
            else:
                self._check(picture, pixels)
                self.labels[split].append(picture.label)
                yield pixels
            if done % CHUNK == 0 or done == len(some):
                self.note(f"decoding {split} pictures", done, len(some))

    def _see(self, picture: Picture) -> Seen:
        try:
            content = content_of(self.tree.root, picture)
        except Unreadable as error:
            return Seen(b"", None, str(error))
        digest = hashlib.sha256(content).digest()
        try:
            return Seen(digest, decode(content, self.size))
        except Unreadable as error:
            return Seen(digest, None, str(error))

    def _check(self, picture: Picture, pixels: NDArray[np.uint8]) -> None:
        self.first = self.first or (picture.name, pixels.shape)
        name, shape = self.first
        if pixels.shape != shape:
            sizes = [f"{width}x{height}" for _, height, width in (shape, pixels.shape)]
            raise DataError(
                f"data.size=null: {name!r} has {sizes[0]} pixels and {picture.name!r} {sizes[1]}; "
                f"bring all to one size, as in data.size=32"
            )

    def kept(self) -> dict[str, NDArray[np.int64]]:
        """The labels of what could be read. Raises DataError where a class lost all its pictures."""
        for split, labels in self.labels.items():
            for label in {*range(len(self.tree.classes))} - {*labels}:
                name = self.tree.classes[label]
                raise DataError(f"{self.tree}: no {split} picture of class {name!r} can be read; mend them")
        return {split: np.array(labels, np.int64) for split, labels in self.labels.items()}


def several(bad: Sequence[str]) -> str:
    rest = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return f"{len(bad)} unreadable picture{'s' * (len(bad) > 1)}: {', '.join(bad[:NAMED])}{rest}"


def content_of(root: Path, picture: Picture) -> bytes:
    if picture.size < 0:  # a pipe would be waited for
        raise Unreadable("not a file")
    try:
        return (root / picture.name).read_bytes()
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from None


def digested(root: Path, some: Sequence[Picture], note: Note) -> list[bytes]:
    """SHA-256 of each file, as the Decoder takes it."""

    def digest(picture: Picture) -> bytes:
        try:
            return hashlib.sha256(content_of(root, picture)).digest()
        except Unreadable:
            return b""

    found: list[bytes] = []
    for part in in_order(lambda chunk: [digest(picture) for picture in chunk], chunks(some)):
        found += part
        note("comparing pictures with those decoded before", len(found), len(some))
    return found


def chunks(some: Sequence[A]) -> Iterator[Sequence[A]]:
    return (some[start : start + CHUNK] for start in range(0, len(some), CHUNK))


def flat(parts: Iterable[Sequence[A]]) -> Iterator[A]:
    return (one for part in parts for one in part)


def in_order(work: Callable[[A], B], items: Iterable[A]) -> Generator[B]:
    """work(item) of each, in order; threads begin no more than is soon asked for, and nothing after a failure."""
    pool = ThreadPoolExecutor(THREADS)
    pending: deque[Future[B]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
