"""The probe: gradients by layer on one batch, as the next step would see them. It changes nothing of the training."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.nets.layers import conv_layers
from degrade.spec.rows import LayerGradient
from degrade.train.layout import format_of, pick_layout

_HEAD, _LAST_STAGE = "head", 4  # the last layer of a net, and the stage that its row gets


def probe(net: nn.Module, x: Tensor, y: Tensor, iteration: int = 0, layout: str = "") -> list[LayerGradient]:
    """Measures each weighted layer of the main path: a row for each 3x3 layer and for the last layer, 6n+2 in all.

    `net` must be a copy: the forward pass is in training mode, and moves BN's running statistics. It is in float32 and
    in the layout of the run ("": of a run that begins here), whatever the run's precision. x (N, C, H, W) and
    y (N,), N >= 2, go through as one batch, so that BN sees what the step will see. Two backward passes then take the
    gradients g1, g2 of the mean cross-entropies of its halves (n1 = N // 2 and n2 = N - n1 images). The step's own
    gradient is (n1 g1 + n2 g2) / N, and `cosine` is <g1, g2> / (||g1|| ||g2||); NaN where a gradient is 0.
    """
    form = format_of(layout or pick_layout(x.device), "fp32")
    net.train().to(memory_format=form)
    x = x.contiguous(memory_format=form)
    found = [(layer.name, layer.stage, layer.block, layer.place) for layer in conv_layers(net)]
    found.append((_HEAD, _LAST_STAGE, 0, 0))
    spreads = _spreads_at(net, [name for name, *_ in found])
    weights = [_weight_of(net, name) for name, *_ in found]
    sums = [_half_sums(one, other, len(x)) for one, other in zip(*_half_gradients(net, x, y, weights), strict=True)]
    norms = [torch.linalg.vector_norm(weight.detach().double()) for weight in weights]
    spread = [spreads[name] for name, *_ in found]
    values = torch.stack([torch.stack((*two, norm, std)) for two, norm, std in zip(sums, norms, spread, strict=True)])
    return [
        LayerGradient(iteration, layer, *place, grad_norm, norm, _weight_ratio(grad_norm, norm), std, cosine)
        for layer, (place, (grad_norm, cosine, norm, std)) in enumerate(zip(found, values.tolist(), strict=True), 1)
    ]


def _spreads_at(net: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """name -> standard deviation of the module's output, float64. The next forward pass fills it."""
    spreads: dict[str, Tensor] = {}

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            spreads[name] = output.detach().double().std(correction=0)  # over images, channels and positions together

        return note

    for name in names:
        net.get_submodule(name).register_forward_hook(listen(name))
    return spreads


def _half_gradients(net: nn.Module, x: Tensor, y: Tensor, weights: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """The gradients of each half of a batch by each weight, from one forward pass."""
    logits, middle = net(x), len(x) // 2
    losses = [F.cross_entropy(logits[part], y[part]) for part in (slice(middle), slice(middle, None))]
    return [torch.autograd.grad(losses[0], weights, retain_graph=True), torch.autograd.grad(losses[1], weights)]


def _half_sums(one: Tensor, other: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """(norm of the whole batch's gradient, cosine between the gradients of its halves), float64."""
    first, second = one.double().flatten(), other.double().flatten()
    whole = torch.lerp(second, first, n // 2 / n)  # (n1 g1 + n2 g2) / n
    lengths = torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second)
    return torch.linalg.vector_norm(whole), first.dot(second) / lengths


def _weight_of(net: nn.Module, name: str) -> Tensor:
    """The weight of the last layer, or of the convolution of a pair."""
    module = net.get_submodule(name)
    return (module[0] if isinstance(module, nn.Sequential) else module).get_parameter("weight")


def _weight_ratio(grad_norm: float, weight_norm: float) -> float:
    return grad_norm / weight_norm if weight_norm else float("nan")
