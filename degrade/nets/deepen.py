"""Builds a deeper net that computes what a trained net computes.

"There exists a solution by construction to the deeper model: the added layers are identity mapping, and the other
layers are copied" (Sec. 1).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from degrade.errors import SpecError
from degrade.nets import build
from degrade.nets.layers import Block, blocks
from degrade.nets.moments import Moments
from degrade.spec import NetSpec

_CLOSED, _SHUT = -20.0, -1e4  # biases of a gate: T = 2e-9, which still learns a little; T = 0 in float32
_Statistics = tuple[Tensor, Tensor] | None  # mean and variance of each channel, (C,); None: the identity is exact


def deepen(
    net: nn.Module,
    spec: NetSpec,
    depth: int,
    batches: Callable[[], Iterable[Tensor]],
    *,
    exact: bool = False,
    seed: int = 0,
    norm: str = "batch",
    bn_group: int | None = None,
) -> nn.Module:
    """Builds a net of `depth` layers: the weights of `net`, and identity blocks at the end of each stage.

    The BN of an added block takes its statistics from the features of all of batches(), x (N, C, H, W), so that the
    block stays close to the identity in training mode. With `exact` the block is instead the identity to the bit under
    running statistics. Weights that the identity leaves free are drawn from `seed`. Raises SpecError unless `depth` is
    above the depth of `net`.
    """
    if depth <= spec.depth:
        raise SpecError(f"depth={depth}: must be above {spec.depth}, the depth of the net that is copied")
    weights = net.state_dict()
    channels, classes = weights["stem.0.weight"].shape[1], len(weights["head.bias"])
    deeper = build(
        replace(spec, depth=depth),
        channels=channels,
        classes=classes,
        seed=seed,
        norm=norm,
        bn_group=bn_group,
    )
    deeper.load_state_dict(weights, strict=False)
    known = {block.name for block in blocks(net)}
    seen = None if exact or norm == "none" else _measure_stages(net, batches())
    with torch.no_grad():
        for block in (block for block in blocks(deeper) if block.name not in known):
            _become_identity(block, seen[block.stage] if seen else None)
            _close_gate(block, signed=spec.shortcut in ("B", "C"), exact=exact)
    return deeper.eval()


def _measure_stages(net: nn.Module, batches: Iterable[Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
    """stage (from 1) -> mean and variance, (C,), of each channel of its output, measured in evaluation mode."""
    last = {block.stage: block for block in blocks(net)}
    moments = {stage: Moments() for stage in last}

    def listen(stage: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: moments[stage].add(output)

    handles = [block.module.register_forward_hook(listen(stage)) for stage, block in last.items()]
    net.eval()
    with torch.inference_mode():
        for x in batches:
            net(x)
    for handle in handles:
        handle.remove()
    return {stage: each.by_channel() for stage, each in moments.items()}


def _become_identity(block: Block, seen: _Statistics) -> None:
    """Sets the weights of a block so that it returns its input x >= 0.

    In a residual block F(x) becomes 0: the last BN is zero, and the layers before it stay as drawn. In other blocks
    every layer becomes the identity, since ReLU does not change x >= 0. A gate then mixes x with x. In both, a
    projection becomes the identity.
    """
    parts = dict(block.module.named_children())
    layers = [layer.module for layer in block.layers]
    if "gate" not in parts and "shortcut" in parts:
        _silence(layers[-1])
    else:
        for layer in layers:
            _pass_through(layer, seen)
    if isinstance(shortcut := parts.get("shortcut"), nn.Sequential):
        _pass_through(shortcut, seen)


def _close_gate(block: Block, *, signed: bool, exact: bool) -> None:
    """Closes a gate where mixing x with x is not the identity; other gates stay as drawn.

    With `exact` it closes since products are rounded. With `signed` it closes since projections before it have made x
    negative in places, which no ReLU passes on; then next to nothing of the block learns.
    """
    gate = dict(block.module.named_children()).get("gate")
    if isinstance(gate, nn.Conv2d) and (signed or exact):
        gate.weight.zero_()
        nn.init.constant_(gate.get_parameter("bias"), _SHUT if exact else _CLOSED)


def _pass_through(pair: nn.Sequential, seen: _Statistics) -> None:
    """Makes conv-norm the identity: a Dirac kernel, and a norm that undoes itself."""
    conv, norm = pair[0], pair[1]
    assert isinstance(conv, nn.Conv2d)
    nn.init.dirac_(conv.weight)
    if conv.bias is not None:
        conv.bias.zero_()
    if isinstance(norm, nn.BatchNorm2d):
        mean, variance = seen or (torch.zeros_like(norm.bias), torch.ones_like(norm.bias) - norm.eps)
        norm.get_buffer("running_mean").copy_(mean)
        norm.get_buffer("running_var").copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)


def _silence(pair: nn.Sequential) -> None:
    """Makes conv-norm put out 0: by the norm or, where there is none, by the convolution."""
    conv, norm = pair[0], pair[1]
    assert isinstance(conv, nn.Conv2d)
    for layer in (norm,) if isinstance(norm, nn.BatchNorm2d) else (conv,):
        for parameter in layer.parameters():
            parameter.zero_()
