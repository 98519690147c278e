"""Where parameters, momentum and running statistics lie in memory, for the kernels and for torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tiling:
    """How the kernels were built, and the batch that they work on."""

    lanes: int  # float32 numbers in a register
    images: int  # of a block
    chunk: int  # blocks
    batch: int
    real: torch.dtype  # of activations

    @property
    def blocks(self) -> int:
        return -(-self.batch // self.images)

    @property
    def chunks(self) -> int:
        return -(-self.blocks // self.chunk)

    def padded(self, channels: int) -> int:
        """The number of channels with padding. Padding channels hold zeros, and every step leaves them zeros."""
        unit = max(self.lanes, 8)
        return -(-channels // unit) * unit

    def padded_pictures(self, channels: int) -> int:
        """The same for pictures: no kernel writes whole registers of them."""
        return -(-channels // 4) * 4


@dataclass(frozen=True)
class _Place:
    """The place of one tensor of a net inside a flat vector."""

    start: int
    padded: tuple[int, ...]  # its shape there
    seen: Callable[[Tensor], Tensor]  # a view of that shape -> a view in torch's shape

    @property
    def size(self) -> int:
        return torch.Size(self.padded).numel()

    def within(self, flat: Tensor) -> Tensor:
        """A view of `flat` in the padded shape."""
        return flat[self.start : self.start + self.size].view(self.padded)


class Storage:
    """Flat float32 vectors of all parameters, their momentum, and of all running statistics.

    A kernel (cout, cin, k, k) lies as [k, k, cin, cout] with cin and cout padded. Vectors are padded, and so are the
    rows of the last layer's weight (classes, cin).
    """

    def __init__(self, net: nn.Module, tiling: Tiling) -> None:
        self.tiling = tiling
        self.parameters = _place_tensors(net.named_parameters(), tiling)
        self.statistics = _place_tensors(((k, b) for k, b in net.named_buffers() if b.is_floating_point()), tiling)
        total = sum(place.size for place in self.parameters.values())
        self.values, self.momentum = (torch.zeros(total) for _ in range(2))
        self.running = torch.zeros(sum(place.size for place in self.statistics.values()))

    def views(self, flat: Tensor, places: dict[str, _Place]) -> dict[str, Tensor]:
        """Views of the tensors inside `flat`, in torch's shapes."""
        return {name: place.seen(place.within(flat)) for name, place in places.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Views of all parameters and running statistics by their names in the net's state_dict."""
        return {**self.views(self.values, self.parameters), **self.views(self.running, self.statistics)}


def _place_tensors(tensors: Iterable[tuple[str, Tensor]], tiling: Tiling) -> dict[str, _Place]:
    """Gives each tensor a place, one after the other."""
    places, start = dict[str, _Place](), 0
    for name, tensor in tensors:
        places[name] = _Place(start, *_padded_shape(name, tensor, tiling))
        start += places[name].size
    return places


def _padded_shape(name: str, tensor: Tensor, tiling: Tiling) -> tuple[tuple[int, ...], Callable[[Tensor], Tensor]]:
    """The padded shape of a tensor, and the view of torch's shape in it."""
    shape = tensor.shape
    if tensor.ndim == 4:
        cout, cin, *sides = shape
        inner = tiling.padded_pictures(cin) if name.startswith(_STEM) else tiling.padded(cin)
        return (*sides, inner, tiling.padded(cout)), lambda view: view[:, :, :cin, :cout].permute(3, 2, 0, 1)
    return (*shape[:-1], tiling.padded(shape[-1])), lambda view: view[..., : shape[-1]]


_STEM = "stem."  # the first layer of degrade.nets.stacks.CifarNet
