"""Images: one split of a dataset as bytes, before it goes to the device."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from degrade.errors import DataError, SpecError


@dataclass(frozen=True, eq=False)
class Images:
    """pixels (N, C, H, W) uint8, labels (N,) int64 into `classes`."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.pixels.ndim == 4
        assert self.pixels.dtype == np.uint8
        assert self.labels.shape == self.pixels.shape[:1]
        if not len(self):
            raise DataError("data: a split has no images; both training and test images are needed")

    def __len__(self) -> int:
        return len(self.labels)

    def limit(self, limit: int | None) -> "Images":
        """`limit` images, as even over the classes as can be: the first in an order that takes the classes in turn."""
        if limit is None or limit >= len(self):
            return self
        return self._select(np.sort(self._order_in_turn()[:limit]))

    def check_spare(self, count: int) -> None:
        """Raises SpecError if `count` validation images would leave nothing to train on."""
        if count >= len(self):
            raise SpecError(f"data.validation={count}: must leave training images; there are {len(self):,}")

    def hold_out(self, count: int) -> tuple["Images", "Images"]:
        """(the rest, `count` images held out). Holds out the last ones in turn over the classes.

        Raises as `check_spare` does.
        """
        self.check_spare(count)
        turns = self._order_in_turn(from_end=True)
        return self._select(np.sort(turns[count:])), self._select(np.sort(turns[:count]))

    def _order_in_turn(self, *, from_end: bool = False) -> NDArray[np.intp]:
        """All indices, the classes in turn: the first of each, then the second of each. `from_end`: the last first."""
        order = np.argsort(self.labels, kind="stable")
        counts = np.bincount(self.labels, minlength=len(self.classes))
        place = np.empty(len(self), np.int64)  # images of the same class before each image
        place[order] = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        if from_end:
            place = counts[self.labels] - 1 - place
        return np.lexsort((self.labels, place))

    def _select(self, index: NDArray[np.intp]) -> "Images":
        return Images(self.pixels[index], self.labels[index], self.classes)


Pair: TypeAlias = tuple[Images, Images]  # train, test
Note: TypeAlias = Callable[[str, int, int], None]  # (what, done, total) of a progress; total 0: a remark


class Splits(NamedTuple):
    """The images that a run trains on and is measured on."""

    train: Images
    test: Images
    val: Images | None  # held out of the training images; None if data.validation is 0


def fingerprint(*splits: Images) -> str:
    """16 hexadecimal digits of the SHA-256 of pixels, labels and class names."""
    total = hashlib.sha256()
    for split in splits:
        total.update(repr((split.pixels.shape, split.classes)).encode())
        total.update(np.ascontiguousarray(split.pixels).data)
        total.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return total.hexdigest()[:16]
