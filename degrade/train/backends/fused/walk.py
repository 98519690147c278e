"""The net of a training step with fused batch norm, addition and ReLU. Needs Triton."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from degrade.nets.blocks import Highway, Plain, Residual
from degrade.nets.layers import blocks
from degrade.nets.norms import SubBatchNorm, split_batch
from degrade.train.backends.fused.norm import norm

_NORMS = (nn.BatchNorm2d, SubBatchNorm)


def fuse(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """The net in training, (N, channels, H, W) -> (N, classes), for a net that `find_unfused` lets pass."""
    return partial(net, through=_through, begin=_pair)


def find_unfused(net: nn.Module) -> str:
    """Why there is no fused step of a net; "" where there is one."""
    others = {type(block.module).__name__ for block in blocks(net) if type(block.module) not in _BLOCKS}
    if others:
        return f"there is none of {', '.join(sorted(others))} blocks"
    pairs = [each for each in net.modules() if isinstance(each, nn.Sequential) and isinstance(each[0], nn.Conv2d)]
    if any(type(pair[1]) not in _NORMS for pair in pairs):
        return "it needs batch norm after each convolution (recipe.norm=batch)"
    return ""


def _through(block: nn.Module, x: Tensor) -> Tensor:
    return _BLOCKS[type(block)](block, x)


def _pair(pair: nn.Module, x: Tensor, add: Tensor | None = None, *, relu: bool = True) -> Tensor:
    """relu(BN(conv(x)) + add). BN may be over sub-batches."""
    conv, layer = cast(nn.Sequential, pair)
    x = conv(x)
    if not isinstance(layer, SubBatchNorm):
        return norm(x, cast(nn.BatchNorm2d, layer), add, relu=relu)
    parts = split_batch(x, layer.group)
    adds = [None] * len(parts) if add is None else split_batch(add, layer.group)
    return torch.cat([norm(part, layer, its, relu=relu) for part, its in zip(parts, adds, strict=True)])


def _shortcut(shortcut: nn.Module, x: Tensor) -> Tensor:
    return _pair(shortcut, x, relu=False) if isinstance(shortcut, nn.Sequential) else shortcut(x)


def _plain(block: nn.Module, x: Tensor) -> Tensor:
    block = cast(Plain, block)
    return _pair(block.second, _pair(block.first, x))


def _residual(block: nn.Module, x: Tensor) -> Tensor:
    block = cast(Residual, block)
    return _pair(block.second, _pair(block.first, x), _shortcut(block.shortcut, x))


def _highway(block: nn.Module, x: Tensor) -> Tensor:
    block = cast(Highway, block)
    opening = block.gate(x)
    return opening * _pair(block.second, _pair(block.first, x)) + (1 - opening) * _shortcut(block.shortcut, x)


_BLOCKS: dict[type[nn.Module], Callable[[nn.Module, Tensor], Tensor]] = {
    Plain: _plain,
    Residual: _residual,
    Highway: _highway,
}
