"""Images: one split of a dataset, as bytes, before it goes to the device."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from degrade.errors import DataError


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

    def limited(self, limit: int | None) -> "Images":
        """The first `limit` images in an order that takes the classes in turn, so as even over them as can be."""
        if limit is None or limit >= len(self):
            return self
        order = np.argsort(self.labels, kind="stable")
        counts = np.bincount(self.labels, minlength=len(self.classes))
        place = np.empty(len(self), np.int64)  # how many of its own class come before each image
        place[order] = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = np.sort(np.lexsort((self.labels, place))[:limit])
        return Images(self.pixels[kept], self.labels[kept], self.classes)


def fingerprint(*splits: Images) -> str:
    """16 hexadecimal digits of the SHA-256 of pixels, labels and class names."""
    total = hashlib.sha256()
    for split in splits:
        total.update(repr((split.pixels.shape, split.classes)).encode())
        total.update(np.ascontiguousarray(split.pixels).data)
        total.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return total.hexdigest()[:16]
