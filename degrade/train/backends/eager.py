"""The reference: plain PyTorch, one operator after the other, in any precision, on any device."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.data.batches import Batches, Resident
from degrade.nets.norms import average_statistics
from degrade.spec import RunSpec
from degrade.train.backends.lent import Counters, Shadow
from degrade.train.layout import format_of, pick_layout, to_channels_last
from degrade.train.precision import autocast
from degrade.train.recompute import recompute_block


class Eager:
    """SGD on flat vectors of all parameters. With g the gradient plus wd p,

    torch: v = m v + g,     p = p - lr v,  nesterov: p - lr (g + m v);
    caffe: v = m v + lr g,  p = p - v,     nesterov: p - (lr g + m v).
    """

    def __init__(self, net: nn.Module, spec: RunSpec, batches: Batches, layout: str | None = None) -> None:
        """`layout`: to begin in, of degrade.train.layout; None: the device's own."""
        device = batches.images.pixels.device
        self.net, self.recipe, self.batches = net.to(device).train(), spec.recipe, batches
        self.cast = autocast(spec.engine.precision, device)
        self.forward = self._way_through(net, spec)
        self.lr = torch.zeros((), device=device)
        self.tally = torch.zeros(2, dtype=torch.float64, device=device)
        self.precision, self.fingerprint = spec.engine.precision, ""
        self.counters = Counters(self.net)
        self._flatten(layout or pick_layout(device))

    def _way_through(self, net: nn.Module, spec: RunSpec) -> Callable[[Tensor], Tensor]:
        """How a step computes the net."""
        return partial(net, through=recompute_block) if spec.engine.recompute else net

    def _flatten(self, layout: str) -> None:
        """Makes parameters and gradients views of two vectors, so that the update is four operators, not 4 a layer.

        Kernels lie as the layout says.
        """
        self.layout, self.format = layout, format_of(layout, self.precision)
        parameters = list(self.net.parameters())
        self.flat = torch.cat([self._order(p.detach()).flatten() for p in parameters])
        self.grad, self.momentum = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        for p, value, grad in zip(parameters, self._views(self.flat), self._views(self.grad), strict=True):
            p.data, p.grad = value, grad
        self.pieces = list(self.grad.split([p.numel() for p in parameters]))
        self.shadow = self._make_shadow() if self.precision == "bf16" else None
        kernels = [torch.full((p.numel(),), float(p.ndim == 4), device=self.flat.device) for p in parameters]
        self.kernels = torch.cat(kernels) if self.recipe.decay_scope == "conv" else None

    def _make_shadow(self) -> Shadow:
        rough = torch.zeros_like(self.flat, dtype=torch.bfloat16)
        return Shadow(self.net, self.flat, self._views(rough), rough)

    def _views(self, flat: Tensor) -> list[Tensor]:
        """Pieces of `flat` in the shapes of the parameters."""
        parameters = list(self.net.parameters())
        pieces = flat.split([p.numel() for p in parameters])
        return [self._shape_like(piece, p) for piece, p in zip(pieces, parameters, strict=True)]

    def _order(self, p: Tensor) -> Tensor:
        """p in the order of its values in memory: a kernel that lies channels last as (cout, h, w, cin)."""
        return p.permute(0, 2, 3, 1) if p.ndim == 4 and self.format == torch.channels_last else p

    def _shape_like(self, piece: Tensor, p: Tensor) -> Tensor:
        """A view of `piece` with the shape of p, its values in the order of `_order`."""
        view = piece.view(self._order(p).shape)
        return view.permute(0, 3, 1, 2) if p.ndim == 4 and self.format == torch.channels_last else view

    def step(self, iteration: int) -> None:
        self.learn(*self.batches.at(iteration))

    def learn(self, x: Tensor, y: Tensor) -> None:
        """One step on x (N, C, H, W), y (N,).

        Tallies stay on the device and no branch depends on a value, so that a CUDA graph can hold the step.
        """
        with self._lend(), self.counters.kept():
            with self.cast:
                logits = self.forward(x.contiguous(memory_format=self.format)).float()
            loss = F.cross_entropy(logits, y)
            leaves = list(self.net.parameters())
            gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
        with torch.no_grad():
            self._collect(gradients)
            self._update()
            self.tally += torch.stack((loss * len(y), (logits.argmax(1) != y).sum()))

    def _lend(self) -> AbstractContextManager[None]:
        return self.shadow.lent() if self.shadow else nullcontext()

    def _collect(self, gradients: Sequence[Tensor]) -> None:
        """Copies the gradients into their vector, by one operator for each of their types."""
        for kind in dict.fromkeys(each.dtype for each in gradients):
            pairs = [pair for pair in zip(self.pieces, gradients, strict=True) if pair[1].dtype == kind]
            torch.ops.aten._foreach_copy_(
                [piece for piece, _ in pairs], [self._order(each).flatten() for _, each in pairs]
            )
        self.grad.add_(0)  # 0 for -0, as a sum that begins at 0 has it: so a run's bits are those of every version

    def _update(self) -> None:
        """Updates p and v from the gradient, which keeps its value for `grad_norm`."""
        recipe, m = self.recipe, self.recipe.momentum
        decay = self.flat if self.kernels is None else self.flat * self.kernels
        if recipe.momentum_form == "torch" and not recipe.nesterov:
            self.momentum.mul_(m).add_(self.grad).add_(decay, alpha=recipe.weight_decay)
            self.flat.addcmul_(self.momentum, self.lr, value=-1)
            return
        g = self.grad.add(decay, alpha=recipe.weight_decay)
        if recipe.momentum_form == "caffe":
            step = g * self.lr
            self.momentum.mul_(m).add_(step)
            self.flat.sub_(step.add_(self.momentum, alpha=m) if recipe.nesterov else self.momentum)
        else:
            self.momentum.mul_(m).add_(g)
            self.flat.addcmul_(g.add_(self.momentum, alpha=m), self.lr, value=-1)

    def grad_norm(self) -> Tensor:
        return torch.linalg.vector_norm(self.grad)

    def copy(self) -> nn.Module:
        return copy.deepcopy(self.net)  # a parameter's copy has its own storage and no gradient

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        with self.cast:
            average_statistics(self.net, (x.contiguous(memory_format=self.format) for x in batches))

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        return self.measure(*images.clean(slice(start, stop)))

    def measure(self, x: Tensor, y: Tensor) -> Tensor:
        """(2,) float64 over x (N, C, H, W), y (N,): summed loss, mistakes."""
        self.net.eval()
        try:
            with torch.inference_mode(), self.cast, self._lend():
                logits = self.net(to_channels_last(x)).float()
                loss = F.cross_entropy(logits, y, reduction="sum")
                return torch.stack((loss.double(), (logits.argmax(1) != y).sum()))
        finally:
            self.net.train()

    def state(self) -> dict[str, Any]:
        names = [name for name, _ in self.net.named_parameters()]
        return {
            "net": {
                k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in self.net.state_dict().items()
            },
            "momentum": {
                k: v.clone(memory_format=torch.contiguous_format)
                for k, v in zip(names, self._views(self.momentum), strict=True)
            },
            "tally": self.tally.clone(),
            "layout": self.layout,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["layout"] != self.layout:
            self._flatten(state["layout"])
        self.net.load_state_dict(state["net"])  # copies in place: the views stay
        self.momentum.copy_(torch.cat([self._order(v).flatten() for v in state["momentum"].values()]))
        self.tally.copy_(state["tally"])
