"""Measures how well a net agrees with its own BN statistics on pictures, layer by layer, in evaluation mode.

Under the right reading each BN meets the means and variances that it has stored. What is wrong before it (an order of
layers, zeros of option A, an epsilon, a scale of the pictures) changes what it meets.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WORST = 10.0  # of a layer: a reading that is wrong everywhere must not count more than one that is wrong early
_BATCH = 64  # pictures at once
Scaling = tuple[Tensor, Tensor | None]  # subtracted from pixels, then their divisor; units of full scale


class Shown(NamedTuple):
    """Pictures to measure on, and the scales in which they may have been shown."""

    pixels: Tensor  # (N, C, H, W) float32, units of full scale: 0 to 1
    scales: Mapping[str, Scaling]


class View(NamedTuple):
    """Pictures in one scale, as they are or as augmented trainings show them."""

    scale: str
    crop: str  # none | zeros: padded with 0 after scaling | black: padded with black before
    x: Tensor  # (N, C, H, W) float32


def make_views(shown: Shown) -> Iterator[View]:
    """Shows the pictures in each scale: as they are, and cropped and mirrored, since statistics are of the training."""
    for name, (mean, deviation) in shown.scales.items():

        def scale(pixels: Tensor, mean: Tensor = mean, deviation: Tensor | None = deviation) -> Tensor:
            x = pixels - mean
            return x if deviation is None else x / deviation

        yield View(name, "none", scale(shown.pixels))
        yield View(name, "zeros", _crop(scale(shown.pixels)))
        yield View(name, "black", scale(_crop(shown.pixels)))


def _crop(x: Tensor) -> Tensor:
    """Pads by an eighth of the side, crops and mirrors each picture at random, always the same way."""
    n, _, height, width = x.shape
    pad, draws = width // 8, torch.Generator().manual_seed(0)
    padded = F.pad(x, (pad, pad, pad, pad))
    down, right = torch.randint(0, 2 * pad + 1, (2, n), generator=draws).tolist()
    mirrored = (torch.rand(n, generator=draws) < 0.5).tolist()
    cut = [padded[i, :, down[i] : down[i] + height, right[i] : right[i] + width] for i in range(n)]
    return torch.stack([each.flip(2) if flip else each for each, flip in zip(cut, mirrored, strict=True)])


def measure(net: nn.Module, norms: Sequence[str], x: Tensor, eps: float) -> float:
    """The mean over layers of how far each BN of `norms` is from its statistics on x; 0 is as stored."""
    found = measure_layers(net, norms, x, eps)
    return sum(found) / len(found)


def measure_layers(net: nn.Module, norms: Sequence[str], x: Tensor, eps: float) -> list[float]:
    """How far each BN of `norms` is from its statistics on x; 0 is as stored.

    Of a layer it is the median over channels of |mean - running_mean| / running deviation, and that of
    |log(variance / running_var)|. So a dead channel or two do not count, nor does the scale of a layer.
    `eps` is folded into running_var, as in degrade.nets.foreign.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in norms}
    hooks = [net.get_submodule(name).register_forward_hook(_listen(seen[name])) for name in norms]
    try:
        with torch.inference_mode():
            for part in x.split(_BATCH):
                net(part)
    finally:
        for hook in hooks:
            hook.remove()
    return [_compare(net.get_submodule(name), sums, eps) for name, sums in seen.items()]


def measure_stem(net: nn.Module, x: Tensor, eps: float) -> float:
    """As `measure`, for the first layer alone: it depends on the pictures and their scale, and on nothing else."""
    stem = net.get_submodule("stem")
    seen: list[Tensor] = []
    with torch.inference_mode():
        for part in x.split(_BATCH):
            seen.append(_sum_up(stem.get_submodule("0")(part)))
    return _compare(stem.get_submodule("1"), seen, eps)


def _listen(seen: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(_sum_up(inputs[0]))

    return hook


def _sum_up(x: Tensor) -> Tensor:
    """Count, sum and sum of squares of each channel, (3, C) float64."""
    x = x.transpose(0, 1).flatten(1)
    count = torch.full((len(x),), x.shape[1], dtype=torch.float64)
    return torch.stack([count, x.sum(1, dtype=torch.float64), x.square().sum(1, dtype=torch.float64)])


def _compare(norm: nn.Module, sums: Sequence[Tensor], eps: float) -> float:
    count, total, squares = torch.stack(list(sums)).sum(0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    stored = norm.get_buffer("running_var").double() - eps
    floor = 1e-3 * stored.abs().mean() + 1e-12  # of dead channels
    shift = (mean - norm.get_buffer("running_mean")).abs() / stored.clamp_min(floor).sqrt()
    ratio = ((variance + floor) / (stored.clamp_min(0) + floor)).log().abs()
    found = float(shift.median() + ratio.median())
    return min(found, _WORST) if math.isfinite(found) else _WORST
