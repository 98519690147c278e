"""Builds nets from their spec: the 6n+2 nets of Sec. 4.2, plain, residual or highway, with shortcut options A, B, C.

Other rooms call `build`, `sketch` and `cost` here. They also use `blocks`, `deepen`, `layers`, `norms`, `responses` and
`shortcuts`; and for nets of others `statedict` and `choice` (what a file holds), `foreign` (the nets it can be) and
`settle` with `agreement` (which one it is). All other modules serve this room alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade.errors import pick
from degrade.nets.blocks import Highway, Plain, Residual
from degrade.nets.norms import exchange
from degrade.nets.shortcuts import OPTIONS
from degrade.nets.stacks import CifarNet, MakeBlock, initialise
from degrade.spec import NetSpec

NETS: dict[str, MakeBlock] = {
    "plain": Plain,
    "residual": Residual,
    "highway": Highway,
}
_FAMILIES: dict[str, Callable[..., nn.Module]] = {"cifar": CifarNet}


class Cost(NamedTuple):
    """The size of a net, and the work of one forward pass of one image."""

    parameters: int
    multiply_adds: int  # of convolutions and the last layer, as the paper counts FLOPs (Sec. 3.3, Table 1)


def build(
    spec: NetSpec,
    *,
    channels: int,
    classes: int,
    seed: int = 0,
    init: str = "he",
    norm: str = "batch",
    bn_group: int | None = None,
) -> nn.Module:
    """Builds the net of `spec` with its initial weights, on the CPU. (N, channels, H, W) -> (N, classes) logits.

    RecipeSpec says what `init`, `norm` and `bn_group` mean. Raises SpecError for an unknown family, net or shortcut.
    """
    net = exchange(_assemble(spec, channels, classes), norm, bn_group)
    initialise(net, seed, init, spec.gate_bias)
    return net


def _assemble(spec: NetSpec, channels: int, classes: int) -> nn.Module:
    family, block = pick(_FAMILIES, spec.family, "family"), pick(NETS, spec.net, "net")
    shortcut = pick(OPTIONS, spec.shortcut, "shortcut")
    return family(spec.depth, block, shortcut, width=spec.width, pad=spec.pad, channels=channels, classes=classes)


def sketch(spec: NetSpec, channels: int, classes: int) -> nn.Module:
    """Builds a net on the meta device: its tensors have shapes and no memory."""
    with torch.device("meta"):
        return _assemble(spec, channels, classes)


def cost(spec: NetSpec, *, channels: int = 3, classes: int = 10, size: int = 32) -> Cost:
    """Counts parameters and multiply-adds while one picture (channels, size, size) goes through the net."""
    net, work = _assemble(spec, channels, classes), 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal work
        weight = layer.get_parameter("weight")
        work += output.shape[1:].numel() * weight.shape[1:].numel()  # every output sums over cin*k*k or cin inputs

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        net.eval()(torch.zeros(1, channels, size, size))
    return Cost(sum(p.numel() for p in net.parameters()), work)
