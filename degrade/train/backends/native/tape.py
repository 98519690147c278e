"""A net of the CIFAR family as the kernels see it: its layers, and the memory that they work in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from degrade.nets.blocks import Residual
from degrade.nets.shortcuts import Projection, ZeroPad
from degrade.train.backends.native.storage import Storage
from degrade.train.backends.native.structs import Head, Kernel, Map, Norm, taps


class Tables(NamedTuple):
    """For each row and for each column of a destination: arrays of Taps, as structs.taps makes them."""

    rows: Any
    columns: Any


class Padding(NamedTuple):
    """The shortcut of option A where it pads."""

    stride: int
    offset: int  # of the first channel that is kept
    kept: int  # channels


@dataclass(eq=False)
class TapeLayer:
    """A convolution and its normalisation."""

    kernel: Kernel
    norm: Norm
    stride: int
    x: Map  # input
    y: Map  # output, before normalisation

    @property
    def side(self) -> int:
        """The side of its kernel: 3 or 1."""
        return 3 if self.kernel.taps == 9 else 1

    def tables(self, *, backward: bool = False) -> Tables:
        """The rows and columns that meet the taps of the kernel."""
        rows, columns = (taps(n, self.side, self.stride, backward=backward) for n in (self.x.height, self.x.width))
        return Tables(rows, columns)


@dataclass(eq=False)
class TapeBlock:
    """x -> first -> middle -> second (+ shortcut) -> out."""

    x: Map
    first: TapeLayer
    middle: Map
    second: TapeLayer
    out: Map
    stage: int
    residual: bool
    padding: Padding | None = None
    projection: TapeLayer | None = None


class Tape:
    """The memory that the phases of a step read and write."""

    def __init__(self, net: nn.Module, storage: Storage, picture: Sequence[int], groups: int) -> None:
        """`picture`: channels, height, width. `groups`: the most sub-batches over which BN takes statistics."""
        self.storage, self.tiling, self.groups = storage, storage.tiling, groups
        self._kept: list[Any] = []  # C holds pointers to these
        self._spare: dict[tuple[str, int], Map] = {}
        self._modules, names = dict(net.named_modules()), {module: name for name, module in net.named_modules()}
        channels, height, width = picture
        self.pictures = self._map(height, width, self.tiling.padded_pictures(channels))
        self.stem = self._layer("stem", self.pictures)
        out = self._map(self.stem.y.height, self.stem.y.width, self.stem.y.channels)
        self.begin, self.blocks = out, list[TapeBlock]()
        for stage, modules in enumerate(net.get_submodule("stages").children(), 1):
            for module in modules.children():
                self.blocks.append(self._block(names[module], module, stage, out))
                out = self.blocks[-1].out
        self.head = self._last_layer(out)
        self._share_partials()

    def _tensor(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        made = torch.zeros(*shape, dtype=dtype)
        self._kept.append(made)
        return made

    def _map(self, height: int, width: int, channels: int) -> Map:
        size = self.tiling.blocks * self.tiling.images * height * width * channels
        return Map(self._tensor(size, dtype=self.tiling.real).data_ptr(), height, width, channels)

    def share(self, name: str, stage: int, like: Map) -> Map:
        """Shares memory that is free again after the block: one map for each name and stage."""
        key = (name, stage)
        if key not in self._spare:
            self._spare[key] = self._map(like.height, like.width, like.channels)
        return self._spare[key]

    def _layer(self, name: str, x: Map) -> TapeLayer:
        conv = cast(nn.Conv2d, self._modules[f"{name}.0"])
        weight = self.storage.parameters[f"{name}.0.weight"]
        side, _, cin, cout = weight.padded
        # one float32 number, or two bfloat16
        unit = torch.float32 if self.tiling.real == torch.float32 else torch.int32
        size = weight.size * self.tiling.real.itemsize // 4
        own = weight.within(self.storage.values).data_ptr()
        kernel = Kernel(
            weight=own,
            momentum=weight.within(self.storage.momentum).data_ptr(),
            forward=own if unit == torch.float32 else self._tensor(size, dtype=unit).data_ptr(),
            backward=self._tensor(size, dtype=unit).data_ptr(),
            taps=side * side,
            cin=cin,
            cout=cout,
        )
        self._kept.append(kernel)
        stride = conv.stride[0]
        y = self._map(-(-x.height // stride), -(-x.width // stride), cout)
        return TapeLayer(kernel, self._norm(f"{name}.1", cout), stride, x, y)

    def _norm(self, name: str, channels: int) -> Norm:
        def at(which: str, flat: Tensor) -> int:
            places = self.storage.parameters if flat is not self.storage.running else self.storage.statistics
            return places[f"{name}.{which}"].within(flat).data_ptr()

        def by_group() -> int:
            return self._tensor(self.groups, channels).data_ptr()

        storage = self.storage
        made = Norm(
            gamma=at("weight", storage.values),
            beta=at("bias", storage.values),
            vgamma=at("weight", storage.momentum),
            vbeta=at("bias", storage.momentum),
            mean=at("running_mean", storage.running),
            variance=at("running_var", storage.running),
            gradient=self._tensor(2, channels).data_ptr(),
            sums=self._tensor(self.tiling.chunks, 2, channels, dtype=torch.float64).data_ptr(),
            channels=channels,
            scale=by_group(),
            shift=by_group(),
            centre=by_group(),
            inverse=by_group(),
            first=by_group(),
            second=by_group(),
        )
        self._kept.append(made)
        return made

    def _block(self, name: str, module: nn.Module, stage: int, x: Map) -> TapeBlock:
        first = self._layer(f"{name}.first", x)
        middle = self._map(first.y.height, first.y.width, first.y.channels)
        second = self._layer(f"{name}.second", middle)
        out = self._map(second.y.height, second.y.width, second.y.channels)
        made = TapeBlock(x, first, middle, second, out, stage, isinstance(module, Residual))
        shortcut = module.get_submodule("shortcut") if made.residual else None
        if isinstance(shortcut, ZeroPad):
            cin = cast(nn.Conv2d, self._modules[f"{name}.first.0"]).in_channels
            made.padding = Padding(shortcut.stride, shortcut.channels[0], cin)
        elif isinstance(shortcut, Projection):
            made.projection = self._layer(f"{name}.shortcut", x)
        return made

    def _last_layer(self, x: Map) -> Head:
        storage, places = self.storage, self.storage.parameters
        weight, bias = places["head.weight"], places["head.bias"]
        classes, channels = weight.padded
        made = Head(
            weight=weight.within(storage.values).data_ptr(),
            bias=bias.within(storage.values).data_ptr(),
            momentum=weight.within(storage.momentum).data_ptr(),
            bias_momentum=bias.within(storage.momentum).data_ptr(),
            gradient=self._tensor(weight.size + bias.size).data_ptr(),
            pooled=self._tensor(self.tiling.blocks * self.tiling.images, x.channels).data_ptr(),
            logits=self._tensor(classes).data_ptr(),
            classes=classes,
            channels=channels,
        )
        self._kept.append(made)
        return made

    def layers(self) -> list[TapeLayer]:
        blocks = [(b.first, b.second, b.projection) for b in self.blocks]
        return [self.stem, *(layer for block in blocks for layer in block if layer)]

    def _share_partials(self) -> None:
        """Gives main layers one place for the sums of a gradient by chunks; projections, beside them, have another."""
        projections = [block.projection for block in self.blocks if block.projection]
        main = [layer for layer in self.layers() if layer not in projections]
        for layers in (main, projections):
            sizes = [layer.kernel.taps * layer.kernel.cin * layer.kernel.cout for layer in layers]
            partial = self._tensor(self.tiling.chunks, max(sizes, default=0))
            for layer in layers:
                layer.kernel.partial = partial.data_ptr()
