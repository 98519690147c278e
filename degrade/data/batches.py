"""Batches on the device, full across epoch borders. Tensor operations normalise, pad, crop and flip them.

Every draw is a function of (seed, iteration, place) through a counter-based hash. So there is nothing to save or to
restore, and draws are the same on every device.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from degrade.data.images import Images

_MASK = 0xFFFFFFFF
_Word = TypeVar("_Word", int, Tensor)


def mix(x: _Word) -> _Word:
    """A bijection of 32-bit words, for integers and int64 tensors (`lowbias32` of C. Wellons' hash prospector)."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def key(seed: int, purpose: int, count: _Word) -> _Word:
    """A 32-bit word for each (seed, purpose, count); `count` may be a tensor on the device."""
    base = mix(mix(seed & _MASK) + mix((seed >> 32) ^ purpose))
    return mix(mix(count) + base)


_ORDER, _SHIFT = 0x9E3779B9, 0x85EBCA6B  # purposes: one seed gives unrelated draws for each


def epoch_order(seed: int, epoch: int, n: int, device: torch.device) -> Tensor:
    """The order in which pass `epoch` sees the images, (n,) int64. No ties, since `mix` is a bijection."""
    word = key(seed, _ORDER, epoch)
    return mix(mix(torch.arange(n, device=device) ^ word) + word).argsort()


EVALUATION_BATCH = 250  # images; a training looks between two batches whether it is to stop


class Scale(NamedTuple):
    """Subtracted from pixels, then their divisor, in units of full scale. Deviation None: no division."""

    mean: Tensor  # (C, H, W) or (C, 1, 1)
    deviation: Tensor | None  # (C, 1, 1)


class Resident:
    """One split on the device as bytes. Images are scaled when they are taken."""

    def __init__(self, images: Images, scale: Scale, device: torch.device) -> None:
        self.pixels = torch.from_numpy(images.pixels).to(device)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.mean = scale.mean.to(device)
        self.deviation = None if scale.deviation is None else scale.deviation.to(device)
        # on the device: a GPU multiplies by 1/255 instead of dividing by a number, which rounds otherwise
        self.full_scale = torch.tensor(255.0, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def clean(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Scaled images without augmentation: x (N, C, H, W) float32, y (N,)."""
        x = self.pixels[index].float().div_(self.full_scale).sub_(self.mean)
        return (x if self.deviation is None else x.div_(self.deviation)), self.labels[index]

    def spans(self, images: int | None = None) -> Iterator[tuple[int, int]]:
        """(start, stop) of each evaluation batch, in order; of the first so many images where a number is given."""
        last = len(self) if images is None else images
        for start in range(0, last, EVALUATION_BATCH):
            yield start, min(start + EVALUATION_BATCH, last)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All images as they are, in evaluation batches: x (N, C, H, W) float32, y (N,)."""
        return (self.clean(slice(start, stop)) for start, stop in self.spans())


def scale_of(images: Images, normalize: str | tuple[float, ...]) -> Scale:
    """The scale that data.normalize asks for: computed over a training set, or given as numbers."""
    if isinstance(normalize, str):
        mean = average(images, 1)
        if normalize == "pixel":
            return Scale(torch.from_numpy(mean.astype(np.float32)), None)
        channel = mean.mean((1, 2), keepdims=True)
        deviation = np.sqrt(average(images, 2).mean((1, 2), keepdims=True) - channel**2)
        deviation[deviation == 0] = 1.0  # a channel that is the same everywhere
        return Scale(*(torch.from_numpy(each.astype(np.float32)) for each in (channel, deviation)))
    given = torch.tensor(normalize).view(2, images.pixels.shape[1], 1, 1)  # data.prepare has checked the count
    return Scale(given[0], given[1])


def average(images: Images, power: int) -> NDArray[np.float64]:
    """Mean over the images of each pixel, or of its square (power 2), (C, H, W) in units of full scale."""
    total = np.zeros(images.pixels.shape[1:], np.int64)
    for start in range(0, len(images), 4096):  # the sum of 4096 squares is below 2**32
        part = images.pixels[start : start + 4096]
        total += (part if power == 1 else np.square(part, dtype=np.uint32)).sum(0, dtype=np.uint32)
    return total / (255**power * len(images))


class Batches:
    """Endless batches of a split. Step i trains on `at(i)`, whatever was asked before."""

    def __init__(self, images: Resident, *, batch: int, seed: int, augment: str) -> None:
        self.images, self.batch, self.seed = images, batch, seed
        self.pad = images.pixels.shape[-1] // 8 if augment != "none" else 0
        self.flip = augment == "crop_flip"
        self._orders: dict[int, Tensor] = {}

    def at(self, iteration: int) -> tuple[Tensor, Tensor]:
        """x (batch, C, H, W) float32, y (batch,) of step `iteration` (from 0)."""
        x, y = self.images.clean(self.index(iteration))
        return self.augment(x, self.crops(iteration)), y

    def index(self, iteration: int) -> Tensor:
        """The images of a step, (batch,) int64: the next `batch` of an endless row of shuffled epochs."""
        n, start = len(self.images), iteration * self.batch
        first, last = start // n, (start + self.batch - 1) // n
        self._orders = {e: self._orders[e] if e in self._orders else self.order(e) for e in range(first, last + 1)}
        row = torch.cat([self._orders[e] for e in range(first, last + 1)])
        return row[start - first * n :][: self.batch]

    def order(self, epoch: int) -> Tensor:
        """The order of pass `epoch`, (images,) int64."""
        return epoch_order(self.seed, epoch, len(self.images), self.images.labels.device)

    def crops(self, iteration: _Word) -> "Crops":
        """Where each image of a batch is cropped. `iteration` may be a tensor () int64 on the device.

        One round of `mix` separates the places of a batch, and leaves a weak dependence between the rows of two places.
        It is greatest at places three apart: over 8 million pairs (seed 0, pad 4) chi-squared is 625 at 64 degrees of
        freedom, and each of the 81 pairs of rows is as frequent as independent draws would have it to 3 %. A second
        round would remove it, and would change every run, so the round stays one. tests/data/test_batches.py holds it.
        """
        words = torch.arange(self.batch, device=self.images.labels.device)
        draws, reach = mix(words ^ key(self.seed, _SHIFT, iteration)), 2 * self.pad + 1
        down, right = ((draws & 0xFFFF) * reach) >> 16, (((draws >> 16) & 0x7FFF) * reach) >> 15
        return Crops(down, right, draws >> 31 if self.flip else torch.zeros_like(draws))

    def augment(self, x: Tensor, crops: "Crops") -> Tensor:
        """Pads x, whose mean is subtracted, with zeros and crops it, or its flip, at random.

        (N, C, H, W) -> the same.
        """
        if not self.pad and not self.flip:
            return x
        (n, c, h, w), pad = x.shape, self.pad
        rows = crops.down[:, None] + torch.arange(h, device=x.device)
        columns = torch.arange(w, device=x.device).expand(n, w)
        if self.flip:
            columns = torch.where(crops.flip.bool()[:, None], columns.flip(1), columns)
        columns = columns + crops.right[:, None]
        wide = w + 2 * pad
        place = (rows[:, None, :, None] * wide + columns[:, None, None, :]).expand(n, c, h, w)
        padded = F.pad(x, (pad, pad, pad, pad)).flatten(2)
        return padded.gather(2, place.flatten(2)).view(n, c, h, w)


class Window:
    """The batches of a `Batches` by a number on the device, so that a captured graph can take any of them.

    `table` holds the draws of all batches that begin in one pass over the images, from batch `begin` on. `reach` brings
    it up to date for a step, outside of any graph and without waiting for the device.
    """

    def __init__(self, batches: Batches) -> None:
        n, device = len(batches.images), batches.images.labels.device
        self.batches, self.first = batches, -1
        self.passes = 1 + -(-(batches.batch - 1) // n)  # a batch can begin at the last image of a pass
        self.places = torch.arange(batches.batch, device=device)
        self.rows = torch.arange(-(-n // batches.batch), device=device)  # of the table: a batch each
        self.begin = torch.zeros((), dtype=torch.int64, device=device)
        # images, then a tensor of Crops each
        self.table = torch.zeros((len(self.rows), 4, batches.batch), dtype=torch.int64, device=device)

    def reach(self, iteration: int) -> None:
        """Brings the table up to date for the batch of `iteration`."""
        n, batch = len(self.batches.images), self.batches.batch
        first = iteration * batch // n
        if first == self.first:
            return
        begin = -(-first * n // batch)
        order = torch.cat([self.batches.order(first + i) for i in range(self.passes)])
        starts = (self.rows * batch + (begin * batch - first * n)).clamp_(max=n - 1)  # the last row may go unused
        self.table[:, 0] = order[starts[:, None] + self.places]
        for column, draws in enumerate(self.batches.crops((self.rows + begin)[:, None]), 1):
            self.table[:, column] = draws
        self.begin.fill_(begin)
        self.first = first

    def row(self, iteration: Tensor) -> tuple[Tensor, "Crops"]:
        """The images and the crops of a batch, for `iteration` () int64. The table must be up to date."""
        at = (iteration - self.begin).clamp_(max=len(self.rows) - 1)  # before a capture, steps go beyond the table
        # index_select does not wait for the device, as an index () would
        images, *crops = self.table.index_select(0, at.view(1))[0].unbind()
        return images, Crops(*crops)

    def index(self, iteration: Tensor) -> Tensor:
        """As Batches.index, for `iteration` () int64. The table must be up to date."""
        return self.row(iteration)[0]

    def at(self, iteration: Tensor) -> tuple[Tensor, Tensor]:
        """As Batches.at, for `iteration` () int64. The table must be up to date."""
        images, crops = self.row(iteration)
        x, y = self.batches.images.clean(images)
        return self.batches.augment(x, crops), y


class Crops(NamedTuple):
    """Where each image of a batch is cut out of its padded picture. Each (batch,) int64."""

    down: Tensor  # rows, 0 to 2 pad
    right: Tensor  # columns, 0 to 2 pad
    flip: Tensor  # 1: mirrored first
