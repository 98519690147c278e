"""Variations on batch normalisation. They replace layers of a net that is built, so that blocks need not know."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn


class SubBatchNorm(nn.BatchNorm2d):
    """BN over sub-batches of `group` images, as on several GPUs. (N, C, H, W) -> the same.

    N need not be a multiple of `group`. Each sub-batch in turn moves the running averages, so that these follow `group`
    images at a time.
    """

    def __init__(self, channels: int, group: int) -> None:
        super().__init__(channels)
        self.group = group

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        return torch.cat([super(SubBatchNorm, self).forward(part) for part in split_batch(input, self.group)])


def split_batch(x: Tensor, size: int) -> list[Tensor]:
    """Splits x (N, ...) into pieces of `size`. A last piece of 1 has no variance: it joins the piece before."""
    pieces = list(x.split(size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


def exchange(net: nn.Module, norm: str, group: int | None) -> nn.Module:
    """Gives the net the normalisation of the recipe; `norm` none puts biases in its place."""
    for pair in net.modules():
        last = pair[-1] if isinstance(pair, nn.Sequential) and len(pair) == 2 else None
        if isinstance(pair, nn.Sequential) and isinstance(last, nn.BatchNorm2d):
            if norm == "none":
                pair[0], pair[1] = _add_bias(cast(nn.Conv2d, pair[0])), nn.Identity()
            elif group is not None:
                pair[1] = SubBatchNorm(last.num_features, group)
    return net


def _add_bias(conv: nn.Conv2d) -> nn.Conv2d:
    """Makes a convolution like `conv`, with a bias and new weights."""
    shape = (conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.kernel_size[0] // 2)
    return nn.Conv2d(*shape, bias=True)


def average_statistics(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Sets BN's running statistics to their averages over x (N, C, H, W), each batch weighted by its images.

    BN sees a batch at once, so a batch should be no larger than a sub-batch, where there are any.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [(layer.momentum, cast(Tensor, layer.num_batches_tracked).clone()) for layer in layers]
    seen = 0
    with torch.no_grad():
        for x in batches:
            seen += len(x)
            for layer in layers:
                layer.momentum = len(x) / seen  # the first batch replaces what was there
            net(x)
    for layer, (momentum, tracked) in zip(layers, before, strict=True):
        layer.momentum = momentum
        cast(Tensor, layer.num_batches_tracked).copy_(tracked)  # these were no steps, so the count stays
