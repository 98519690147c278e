"""Batch norm, addition and ReLU as two Triton kernels forward and two backward. Needs Triton.

x is (N, C, H, W) in any layout in which all H W pixels have one stride; the strides are (sn, sc, sp). Rows are the
n = N H W places of a channel. Each of P programs takes every P-th block of rows, and leaves its own sums. The second
kernel adds the sums of all programs up, always in one order, so that equal inputs give equal bits. Sums are float32.
"""

# Triton reads kernels as source. Their arguments have no types that a type checker knows.
# pyright: basic, reportMissingImports=false, reportArgumentType=false

import triton
import triton.language as tl

VERSION: str = triton.__version__


@triton.jit
def _at(rows, channels, pixels, sn: tl.constexpr, sc: tl.constexpr, sp: tl.constexpr):
    """Where (rows, channels) lie."""
    return (rows // pixels * sn + rows % pixels * sp)[:, None] + channels[None, :] * sc


@triton.jit
def moments(
    x, means, squares, n, c, pixels,
    sn: tl.constexpr, sc: tl.constexpr, sp: tl.constexpr, block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """means, squares (P, C): of the rows of each program, the mean and the sum of squared distances from it.

    Blocks are joined as in Chan, Golub and LeVeque 1979, so that nothing is lost where the mean is far from 0.
    """
    own, programs = tl.program_id(0), tl.num_programs(0)
    channels = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = channels < c
    mean, square = tl.zeros((wide,), tl.float32), tl.zeros((wide,), tl.float32)
    seen = 0
    for start in range(own * block, n, programs * block):
        rows = start + tl.arange(0, block)
        real = (rows < n)[:, None] & inside[None, :]
        value = tl.load(x + _at(rows, channels, pixels, sn, sc, sp), mask=real, other=0.0).to(tl.float32)
        count = tl.minimum(n - start, block)
        center = tl.sum(value, 0) / count
        apart = tl.where(real, value - center[None, :], 0.0)
        gap, total = center - mean, seen + count
        square += tl.sum(apart * apart, 0) + gap * gap * (seen * 1.0 * count / total)
        mean += gap * (count * 1.0 / total)
        seen = total
    tl.store(means + own * c + channels, mean, mask=inside)
    tl.store(squares + own * c + channels, square, mask=inside)


@triton.jit
def normalise(
    x, add, y, means, squares, weight, bias, mean_out, scale_out, running_mean, running_var, n, c, pixels,
    eps, momentum, programs: tl.constexpr, sn: tl.constexpr, sc: tl.constexpr, sp: tl.constexpr, block: tl.constexpr,
    wide: tl.constexpr, adds: tl.constexpr, relu: tl.constexpr,
):  # fmt: skip
    """y = relu(weight (x - mean) / sqrt(var + eps) + bias + add), and what follows from the moments of all programs.

    mean_out, scale_out (C,): mean and 1 / sqrt(var + eps), for the way back. The running averages move by `momentum`;
    that of the variance takes n - 1, as torch's does.
    """
    own, many = tl.program_id(0), tl.num_programs(0)
    channels = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = channels < c
    each = tl.arange(0, programs)
    cells, known = each[:, None] * c + channels[None, :], (each[:, None] < many) & inside[None, :]
    blocks = (n + block - 1) // block
    turns = (blocks - each + many - 1) // many  # of each program
    last = (blocks - 1) % many  # the program that has the last block, which may not be full
    counts = (turns * block - tl.where(each == last, blocks * block - n, 0)).to(tl.float32)
    center = tl.load(means + cells, mask=known, other=0.0)
    mean = tl.sum(tl.where(known, center * counts[:, None], 0.0), 0) / n
    gap = tl.where(known, center - mean[None, :], 0.0)
    square = tl.sum(tl.load(squares + cells, mask=known, other=0.0) + gap * gap * counts[:, None], 0)
    scale = 1 / tl.sqrt_rn(square / n + eps)
    w = tl.load(weight + channels, mask=inside, other=0.0)
    b = tl.load(bias + channels, mask=inside, other=0.0)
    if own == 0:
        tl.store(mean_out + channels, mean, mask=inside)
        tl.store(scale_out + channels, scale, mask=inside)
        old = tl.load(running_mean + channels, mask=inside, other=0.0)
        tl.store(running_mean + channels, old + (mean - old) * momentum, mask=inside)
        old = tl.load(running_var + channels, mask=inside, other=0.0)
        tl.store(running_var + channels, old + (square / (n - 1) - old) * momentum, mask=inside)
    for start in range(own * block, n, many * block):
        rows = start + tl.arange(0, block)
        here, real = _at(rows, channels, pixels, sn, sc, sp), (rows < n)[:, None] & inside[None, :]
        value = tl.load(x + here, mask=real, other=0.0).to(tl.float32)
        value = (value - mean[None, :]) * (scale * w)[None, :] + b[None, :]
        if adds:
            value += tl.load(add + here, mask=real, other=0.0).to(tl.float32)
        if relu:
            value = tl.where(value <= 0, 0.0, value)  # nan stays, as in torch
        tl.store(y + here, value, mask=real)


@triton.jit
def slopes(
    dy, y, x, mean, scale, sums, products, n, c, pixels,
    sn: tl.constexpr, sc: tl.constexpr, sp: tl.constexpr, block: tl.constexpr, wide: tl.constexpr, relu: tl.constexpr,
):  # fmt: skip
    """sums, products (P, C): of the rows of each program, the sums of g and g (x - mean) scale; g is dy where y > 0."""
    own, programs = tl.program_id(0), tl.num_programs(0)
    channels = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = channels < c
    m = tl.load(mean + channels, mask=inside, other=0.0)
    s = tl.load(scale + channels, mask=inside, other=0.0)
    total, product = tl.zeros((wide,), tl.float32), tl.zeros((wide,), tl.float32)
    for start in range(own * block, n, programs * block):
        rows = start + tl.arange(0, block)
        here, real = _at(rows, channels, pixels, sn, sc, sp), (rows < n)[:, None] & inside[None, :]
        g = tl.load(dy + here, mask=real, other=0.0).to(tl.float32)
        if relu:
            g = tl.where(tl.load(y + here, mask=real, other=0.0).to(tl.float32) <= 0, 0.0, g)
        value = tl.load(x + here, mask=real, other=0.0).to(tl.float32)
        total += tl.sum(g, 0)
        product += tl.sum(tl.where(real, g * ((value - m[None, :]) * s[None, :]), 0.0), 0)
    tl.store(sums + own * c + channels, total, mask=inside)
    tl.store(products + own * c + channels, product, mask=inside)


@triton.jit
def differentiate(
    dy, y, x, mean, scale, sums, products, weight, dx, dadd, dweight, dbias, n, c, pixels,
    programs: tl.constexpr, sn: tl.constexpr, sc: tl.constexpr, sp: tl.constexpr, block: tl.constexpr,
    wide: tl.constexpr, adds: tl.constexpr, relu: tl.constexpr,
):  # fmt: skip
    """dx = weight scale (g - mean of g - x̂ mean of g x̂), with x̂ = (x - mean) scale; dadd = g; dweight, dbias (C,)."""
    own, many = tl.program_id(0), tl.num_programs(0)
    channels = tl.program_id(1) * wide + tl.arange(0, wide)
    inside = channels < c
    each = tl.arange(0, programs)
    cells, known = each[:, None] * c + channels[None, :], (each[:, None] < many) & inside[None, :]
    total = tl.sum(tl.load(sums + cells, mask=known, other=0.0), 0)
    product = tl.sum(tl.load(products + cells, mask=known, other=0.0), 0)
    if own == 0:
        tl.store(dbias + channels, total, mask=inside)
        tl.store(dweight + channels, product, mask=inside)
    m = tl.load(mean + channels, mask=inside, other=0.0)
    s = tl.load(scale + channels, mask=inside, other=0.0)
    w = tl.load(weight + channels, mask=inside, other=0.0)
    for start in range(own * block, n, many * block):
        rows = start + tl.arange(0, block)
        here, real = _at(rows, channels, pixels, sn, sc, sp), (rows < n)[:, None] & inside[None, :]
        g = tl.load(dy + here, mask=real, other=0.0).to(tl.float32)
        if relu:
            g = tl.where(tl.load(y + here, mask=real, other=0.0).to(tl.float32) <= 0, 0.0, g)
        hat = (tl.load(x + here, mask=real, other=0.0).to(tl.float32) - m[None, :]) * s[None, :]
        tl.store(dx + here, (w * s)[None, :] * (g - (total / n)[None, :] - hat * (product / n)[None, :]), mask=real)
        if adds:
            tl.store(dadd + here, g, mask=real)
