"""A net of the CIFAR family as the kernels see it: its layers, and the memory that they work on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from degrade.nets.blocks import Residual
from degrade.nets.shortcuts import Projection, ZeroPad
from degrade.train.backends.native.storage import Storage
from degrade.train.backends.native.structs import Head, Kernel, Map, Norm, taps


@dataclass(eq=False)
class TapeLayer:
    """A convolution and its normalisation."""

    kernel: Kernel
    norm: Norm
    stride: int
    x: Map  # what comes in
    y: Map  # before normalisation

    @property
    def side(self) -> int:
        """Of its kernel: 3 or 1."""
        return 3 if self.kernel.taps == 9 else 1

    def tables(self, *, backward: bool = False) -> dict[str, Any]:
        """Which rows and columns meet which taps (structs.taps)."""
        rows, columns = (taps(n, self.side, self.stride, backward=backward) for n in (self.x.height, self.x.width))
        return {"rows": rows, "columns": columns}


@dataclass(eq=False)
class TapeBlock:
    """A block: x -> first -> middle -> second (+ shortcut) -> out."""

    x: Map
    first: TapeLayer
    middle: Map
    second: TapeLayer
    out: Map
    stage: int
    residual: bool
    padding: dict[str, Any]  # of option A, where it pads: stride, offset and number of the channels kept
    projection: TapeLayer | None


class Tape:
    """All that the phases of a step read and write."""

    def __init__(self, net: nn.Module, storage: Storage, picture: Sequence[int], groups: int) -> None:
        """`picture`: channels, height, width. `groups`: over how many sub-batches BN takes statistics, at most."""
        self.storage, self.layout, self.groups = storage, storage.layout, groups
        self.kept: list[Any] = []  # what C holds pointers to
        self.spare: dict[tuple[str, int], Map] = {}
        self.modules, names = dict(net.named_modules()), {module: name for name, module in net.named_modules()}
        channels, height, width = picture
        self.pictures = self.map(height, width, self.layout.padded_pictures(channels))
        self.stem = self.layer("stem", self.pictures)
        out = self.map(self.stem.y.height, self.stem.y.width, self.stem.y.channels)
        self.begin, self.blocks = out, list[TapeBlock]()
        for stage, modules in enumerate(net.get_submodule("stages").children(), 1):
            for module in modules.children():
                self.blocks.append(self.block(names[module], module, stage, out))
                out = self.blocks[-1].out
        self.head = self.last_layer(out)
        self.share_partials()

    def tensor(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        made = torch.zeros(*shape, dtype=dtype)
        self.kept.append(made)
        return made

    def map(self, height: int, width: int, channels: int) -> Map:
        size = self.layout.blocks * self.layout.images * height * width * channels
        return Map(self.tensor(size, dtype=self.layout.real).data_ptr(), height, width, channels)

    def shared(self, name: str, stage: int, like: Map) -> Map:
        """Memory that is free again when the block is over: one for each name and stage."""
        key = (name, stage)
        if key not in self.spare:
            self.spare[key] = self.map(like.height, like.width, like.channels)
        return self.spare[key]

    def layer(self, name: str, x: Map) -> TapeLayer:
        conv = cast(nn.Conv2d, self.modules[f"{name}.0"])
        weight = self.storage.parameters[f"{name}.0.weight"]
        side, _, cin, cout = weight.padded
        unit = torch.float32 if self.layout.real == torch.float32 else torch.int32  # one number, or two halves
        size = weight.size * self.layout.real.itemsize // 4
        own = weight.within(self.storage.values).data_ptr()
        kernel = Kernel(
            weight=own,
            momentum=weight.within(self.storage.momentum).data_ptr(),
            forward=own if unit == torch.float32 else self.tensor(size, dtype=unit).data_ptr(),
            backward=self.tensor(size, dtype=unit).data_ptr(),
            taps=side * side,
            cin=cin,
            cout=cout,
        )
        self.kept.append(kernel)
        stride = conv.stride[0]
        y = self.map(-(-x.height // stride), -(-x.width // stride), cout)
        return TapeLayer(kernel, self.norm(f"{name}.1", cout), stride, x, y)

    def norm(self, name: str, channels: int) -> Norm:
        def at(which: str, flat: Tensor) -> int:
            places = self.storage.parameters if flat is not self.storage.running else self.storage.statistics
            return places[f"{name}.{which}"].within(flat).data_ptr()

        storage = self.storage
        by_group = ("scale", "shift", "centre", "inverse", "first", "second")
        made = Norm(
            gamma=at("weight", storage.values),
            beta=at("bias", storage.values),
            vgamma=at("weight", storage.momentum),
            vbeta=at("bias", storage.momentum),
            mean=at("running_mean", storage.running),
            variance=at("running_var", storage.running),
            gradient=self.tensor(2, channels).data_ptr(),
            sums=self.tensor(self.layout.chunks, 2, channels, dtype=torch.float64).data_ptr(),
            channels=channels,
            **{each: self.tensor(self.groups, channels).data_ptr() for each in by_group},
        )
        self.kept.append(made)
        return made

    def block(self, name: str, module: nn.Module, stage: int, x: Map) -> TapeBlock:
        first = self.layer(f"{name}.first", x)
        middle = self.map(first.y.height, first.y.width, first.y.channels)
        second = self.layer(f"{name}.second", middle)
        out = self.map(second.y.height, second.y.width, second.y.channels)
        made = TapeBlock(x, first, middle, second, out, stage, isinstance(module, Residual), {}, None)
        shortcut = module.get_submodule("shortcut") if made.residual else None
        if isinstance(shortcut, ZeroPad):
            cin = cast(nn.Conv2d, self.modules[f"{name}.first.0"]).in_channels
            made.padding = {"stride": shortcut.stride, "offset": shortcut.channels[0], "kept": cin}
        elif isinstance(shortcut, Projection):
            made.projection = self.layer(f"{name}.shortcut", x)
        return made

    def last_layer(self, x: Map) -> Head:
        storage, places = self.storage, self.storage.parameters
        weight, bias = places["head.weight"], places["head.bias"]
        classes, channels = weight.padded
        made = Head(
            weight=weight.within(storage.values).data_ptr(),
            bias=bias.within(storage.values).data_ptr(),
            momentum=weight.within(storage.momentum).data_ptr(),
            bias_momentum=bias.within(storage.momentum).data_ptr(),
            gradient=self.tensor(weight.size + bias.size).data_ptr(),
            pooled=self.tensor(self.layout.blocks * self.layout.images, x.channels).data_ptr(),
            logits=self.tensor(classes).data_ptr(),
            classes=classes,
            channels=channels,
        )
        self.kept.append(made)
        return made

    def layers(self) -> list[TapeLayer]:
        blocks = [(b.first, b.second, b.projection) for b in self.blocks]
        return [self.stem, *(layer for block in blocks for layer in block if layer)]

    def share_partials(self) -> None:
        """One place for the sums of a layer's gradient by chunks, and one for a projection's, which is beside it."""
        projections = [block.projection for block in self.blocks if block.projection]
        main = [layer for layer in self.layers() if layer not in projections]
        for layers in (main, projections):
            sizes = [layer.kernel.taps * layer.kernel.cin * layer.kernel.cout for layer in layers]
            partial = self.tensor(self.layout.chunks, max(sizes, default=0))
            for layer in layers:
                layer.kernel.partial = partial.data_ptr()
