"""Settles by measuring which of several readings a state dict has: the one that agrees with its own BN statistics."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from degrade import nets
from degrade.errors import RunError
from degrade.nets.agreement import Shown, View, make_views, measure, measure_layers, measure_stem
from degrade.nets.foreign import EPS, Reading, describe_open
from degrade.nets.shortcuts import Projection, ZeroPad

# Measured 2026-12-01 on CIFAR-10 (20 and 56 layers, in the midst of training and trained) and on the digits (8 and 14
# layers, 40 to 1,000 steps), docs/inside.md: right readings 0.02 to 0.22, wrong ones 0.26 to 10.
AGREES = 0.25  # at most, for a reading to be taken because it agrees
_CONTRADICTS = 0.5  # at least, for a reading to be refused that somebody has told in full
_CLEAR = 1.5  # how many times as far the next reading must be
_RIVAL = 1.25  # how many times as near another operation must be for the net to be refused
_MOVED = 4  # layers that a rival is judged by
_FEW = 40  # batches: after 40 a batch norm has forgotten 98 % of its beginning
_KEPT = 3  # views that are looked at through the whole net, after the first layer
_EPSILONS = (EPS, 1e-3)  # of torch, and of Keras


class Settled(NamedTuple):
    """A reading, how it was found, and in which scale of the pictures."""

    reading: Reading
    scale: str | None  # a name of Shown.scales; None: not measured
    distance: float | None  # how far it is from its statistics (degrade.nets.agreement); None: not measured
    eps_measured: bool = False


def settle(found: Sequence[Reading], shown: Shown | None, batches: int | None = None) -> Settled:
    """Picks the reading that agrees with the statistics of its BN on the pictures, in one of their scales.

    Without pictures, or where a file has no statistics, only one reading may be left. `batches` says how many batches
    the statistics have seen; after a few they say nothing. Raises RunError, which names what stays open or that the
    net computes something else.
    """
    said = describe_open(found)
    if found[0].open or shown is None or not _has_statistics(found[0], batches):
        if said:
            raise RunError(said)
        return Settled(found[0], None, None)
    views = _pick_views(found[0], shown)
    first = [_measure(each, views[0]) for each in found]
    best = found[first.index(min(first))]
    far = [min(first), *(_measure(best, view) for view in views[1:])]
    distance, view = min(far), views[far.index(min(far))]
    others = [old if view is views[0] else _measure(each, view) for each, old in zip(found, first, strict=True)]
    eps = _settle_eps(best, view, distance)
    if eps is not None:
        others = [_measure(each.with_eps(eps), view) for each in found]
        best, distance = best.with_eps(eps), others[first.index(min(first))]
    del others[first.index(min(first))]
    other_scales = [each for each, seen in zip(far, views, strict=True) if seen.scale != view.scale]
    _check_rivals(best, views)
    if said and not _is_clear(distance, others):
        raise RunError(f"{said} (on these pictures none agrees clearly: {_show(distance, others)})")
    if len(shown.scales) > 1 and not _is_clear(distance, other_scales):
        raise RunError(
            f"how were its pictures scaled? None of {', '.join(shown.scales)} agrees clearly with its BN statistics "
            f"({_show(distance, other_scales)}); say data.normalize=, or name the pictures it was trained on; or it "
            f"computes something else than {_describe(best)}; FILE:measure=no takes it all the same"
        )
    if distance >= _CONTRADICTS:
        raise RunError(
            f"its BN statistics contradict these pictures (distance {distance:.2f}, where right readings have at most "
            f"{AGREES}): it computes something else than {_describe(best)}, as a pre-activation net does, or it was "
            f"trained on other pictures or in another scale; FILE:measure=no takes it all the same"
        )
    return Settled(best, view.scale, distance, eps is not None)


def _is_clear(distance: float, others: Sequence[float]) -> bool:
    """Whether a reading agrees, and all others are clearly further from the statistics."""
    return distance <= AGREES and all(far >= distance * _CLEAR for far in others)


def _has_statistics(reading: Reading, batches: int | None) -> bool:
    """Whether batch norms have statistics of a training, rather than those they begin with."""
    if not reading.norms or (batches is not None and batches < _FEW):
        return False
    means = [reading.state[f"{name}.running_mean"] for name in reading.norms]
    return any(bool(mean.any()) for mean in means)


def _pick_views(reading: Reading, shown: Shown) -> list[View]:
    """The views of the pictures in which the first layer agrees best: all but the nearest few are far off."""
    net, views = _build(reading), list(make_views(shown))
    far = [measure_stem(net, view.x, reading.eps - EPS) for view in views]
    return [views[place] for place in sorted(range(len(views)), key=far.__getitem__)[:_KEPT]]


def _measure(reading: Reading, view: View) -> float:
    return measure(_build(reading), reading.norms, view.x, reading.eps - EPS)


def _build(reading: Reading) -> nn.Module:
    net = nets.build(reading.spec, channels=reading.channels, classes=reading.classes)
    net.load_state_dict({**net.state_dict(), **reading.state})
    return net.eval()


def _show(distance: float, others: Sequence[float]) -> str:
    next_one = f", the next {min(others):.2f}" if others else ""
    return f"the nearest has distance {distance:.2f}{next_one}"


def _describe(reading: Reading) -> str:
    spec = reading.spec
    return f"a {spec.net} net of Sec. 4.2" + (f" with option {spec.shortcut}" if spec.net == "residual" else "")


def _pool_shortcuts(net: nn.Module) -> bool:
    """Makes shortcuts take means of 2x2 pixels, where ours take every other pixel; False where there are none."""
    found = False
    for layer in net.modules():
        if isinstance(layer, ZeroPad) and layer.stride == 2:
            layer.stride, found = 1, True
            layer.register_forward_pre_hook(_pool)
        elif isinstance(layer, Projection) and isinstance(conv := layer[0], nn.Conv2d) and conv.stride == (2, 2):
            conv.stride, found = (1, 1), True
            layer.register_forward_pre_hook(_pool)
    return found


def _pool(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (F.avg_pool2d(inputs[0], 2, ceil_mode=True),)


def _stride_later(net: nn.Module) -> bool:
    """Moves strides from the first layer of a block to the second."""
    for name, conv in list(net.named_modules()):
        if name.endswith(".first.0") and isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            second = net.get_submodule(f"{name.removesuffix('first.0')}second.0")
            assert isinstance(second, nn.Conv2d)
            conv.stride, second.stride = (1, 1), (2, 2)
    return True


def _pad_one_side(net: nn.Module) -> bool:
    """Pads maps of even size for a strided layer at their end alone."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.stride == (2, 2):
            layer.padding = (0, 0)
            layer.register_forward_pre_hook(_pad_end)
    return True


def _pad_end(layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    height, width = (1 - side % 2 for side in inputs[0].shape[2:])
    return (F.pad(inputs[0], (1 - width, 1, 1 - height, 1)),)


# What others do with the very same tensors, and we do not: how our net is made to do it
RIVALS: dict[str, Callable[[nn.Module], bool]] = {
    "average pooling in the shortcuts (as ResNet-D)": _pool_shortcuts,
    "the stride in the second layer of a block": _stride_later,
    "padding of strided layers on one side (as TensorFlow)": _pad_one_side,
}


def _check_rivals(reading: Reading, views: Sequence[View]) -> None:
    """Raises RunError where the net agrees better with its statistics once it does what ours does not.

    Few pictures make every layer differ a little, so only the layers count that the change moves most. And the view
    that agrees best with the wrong operation need not be the one that the net was trained in.
    """
    for what, change in RIVALS.items():
        net = _build(reading)
        if change(net):
            ours, theirs = min((_pair(reading, net, view) for view in views), key=lambda pair: min(map(sum, pair)))
            moved = sorted(range(len(ours)), key=lambda layer: -abs(ours[layer] - theirs[layer]))[:_MOVED]
            near, far = (sum(each[layer] for layer in moved) / len(moved) for each in (theirs, ours))
            if near * _RIVAL < far:
                raise RunError(
                    f"its BN statistics agree with {what} (distance {near:.3f} where it counts, {far:.3f} without it), "
                    "which the nets of Sec. 4.2 do not have: it is not opened; FILE:measure=no takes it all the same"
                )


def _pair(reading: Reading, rival: nn.Module, view: View) -> tuple[list[float], list[float]]:
    """How far each layer is from its statistics, in our net and in the rival."""
    eps = reading.eps - EPS
    return (
        measure_layers(_build(reading), reading.norms, view.x, eps),
        measure_layers(rival, reading.norms, view.x, eps),
    )


def _settle_eps(reading: Reading, view: View, distance: float) -> float | None:
    """The epsilon that agrees clearly better than all others; None where none does, since it hardly matters then."""
    if reading.eps != EPS:
        return None
    far = {eps: _measure(reading.with_eps(eps), view) for eps in _EPSILONS if eps != EPS}
    nearest = min(far, key=far.__getitem__)
    return nearest if far[nearest] * _CLEAR < distance else None
