"""Batch norm, addition and ReLU of a training step as one operator with a gradient."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from degrade.errors import UnavailableError
from degrade.train.backends.fused import kernels

_PROGRAMS = 128  # that share the rows of a tensor: a constant, so that sums are added up in one order on every device
_TILE, _WARPS = 4096, 8  # values of a block; warps that share it


def norm(x: Tensor, layer: nn.BatchNorm2d, add: Tensor | None = None, *, relu: bool = True) -> Tensor:
    """relu(layer(x) + add) of a layer in training, (N, C, H, W) -> the same, in the layout and dtype of x.

    The running averages move and the batch is counted, as in torch. Raises ValueError where a channel has one value,
    which has no variance.
    """
    n = x.numel() // x.shape[1]
    if n < 2:
        raise ValueError(f"batch norm needs more than one value a channel, and a batch of {tuple(x.shape)} has {n}")
    if x.numel() + _PROGRAMS * _TILE >= 1 << 31:
        raise UnavailableError(f"a layer of {x.numel():,} values is beyond the 31 bits by which it counts them")
    cast(Tensor, layer.num_batches_tracked).add_(1)
    return _Norm.apply(x, layer.weight, layer.bias, add, layer.running_mean, layer.running_var, layer.momentum,
                       layer.eps, relu)  # fmt: skip


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        add: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        relu: bool,
    ) -> Tensor:
        x = _dense(x)
        add = None if add is None else _like(add, x)
        y = torch.empty_like(x)
        grid, places, tile = _divide(x)
        parts, found = _make_sums(x, grid[0])
        _launch(kernels.moments, grid, x, *parts, *places, **tile)
        taken = (x, x if add is None else add, y, *parts, weight, bias, *found, running_mean, running_var)
        how = {"programs": _PROGRAMS, "adds": add is not None, "relu": relu}
        _launch(kernels.normalise, grid, *taken, *places, eps, momentum, **how, **tile)
        ctx.save_for_backward(x, y, weight, found)
        ctx.relu, ctx.adds = relu, add is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, weight, found = ctx.saved_tensors
        dy, dx = _like(dy, x), torch.empty_like(x)
        dadd = torch.empty_like(x) if ctx.adds else None
        grid, places, tile = _divide(x)
        parts, gradients = _make_sums(x, grid[0])
        _launch(kernels.slopes, grid, dy, y, x, *found, *parts, *places, relu=ctx.relu, **tile)
        taken = (dy, y, x, *found, *parts, weight, dx, dx if dadd is None else dadd, *gradients)
        how = {"programs": _PROGRAMS, "adds": ctx.adds, "relu": ctx.relu}
        _launch(kernels.differentiate, grid, *taken, *places, **how, **tile)
        return dx, *gradients, dadd, None, None, None, None, None


def _make_sums(x: Tensor, programs: int) -> tuple[Tensor, Tensor]:
    """Room for two sums of each channel: of every program, (2, P, C), and of all, (2, C)."""
    shapes = ((2, programs, x.shape[1]), (2, x.shape[1]))
    return torch.empty(shapes[0], device=x.device), torch.empty(shapes[1], device=x.device)


def _launch(kernel: Any, grid: tuple[int, int], *values: object, **constants: object) -> None:
    with torch.cuda.device_of(values[0]):  # Triton starts kernels on the current device
        # what Triton fuses by itself depends on its version
        kernel[grid](*values, num_warps=_WARPS, enable_fp_fusion=False, **constants)


def _dense(x: Tensor) -> Tensor:
    """x, if its pixels have one stride: contiguous or channels last; else a contiguous copy."""
    return x if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _like(value: Tensor, x: Tensor) -> Tensor:
    """`value` in the layout and dtype of x."""
    if value.stride() == x.stride() and value.dtype == x.dtype:
        return value
    return torch.empty_like(x).copy_(value)


def _divide(x: Tensor) -> tuple[tuple[int, int], tuple[int, int, int], dict[str, int]]:
    """The grid of programs; rows, channels and pixels of an image; and the tile of a program with the strides of x."""
    images, c, height, width = x.shape
    n, pixels = images * height * width, height * width
    wide = min(64, 1 << (c - 1).bit_length())
    block = _TILE // wide
    programs = min(_PROGRAMS, -(-n // block))
    # the stride of a side of one pixel may be anything
    strides = {"sn": x.stride(0), "sc": x.stride(1), "sp": x.stride(3 if width > 1 else 2)}
    return (programs, -(-c // wide)), (n, c, pixels), {"block": block, "wide": wide, **strides}
