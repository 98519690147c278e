"""What a backend lends to a net while it computes a step or an evaluation, to spare a GPU a kernel for each layer."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

_COUNT = "num_batches_tracked"


class Counters:
    """BN's counts of batches as one vector on the device. Meanwhile the layers count on the host.

    How much a step counts does not depend on data, so that a captured graph adds what its capture counted.
    """

    def __init__(self, net: nn.Module) -> None:
        found = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
        # without a momentum, BN divides by the count itself
        self.layers = [each for each in found if each.momentum is not None and each.num_batches_tracked is not None]
        self.here = torch.zeros(len(self.layers), dtype=torch.int64)
        self.host = self.here.numpy()  # the same memory: to read it calls no operator
        if self.layers:
            self.counts = torch.stack([cast(Tensor, layer.num_batches_tracked).detach() for layer in self.layers])
            self._show(self.counts)

    def _show(self, counts: Tensor) -> None:
        for layer, count in zip(self.layers, counts.unbind(), strict=True):
            setattr(layer, _COUNT, count)

    @contextmanager
    def kept(self) -> Generator[None]:
        """Counts the batches of one step."""
        if not self.layers:
            yield
            return
        self.host[:] = 0
        self._show(self.here)
        try:
            yield
        finally:
            self._show(self.counts)
        counted = self.host.tolist()
        if len(set(counted)) == 1:
            self.counts += counted[0]
        else:
            torch.ops.aten._foreach_add_(list(self.counts.unbind()), counted)


class Shadow:
    """bfloat16 copies of the weights that bf16 rounds, cast by one operator rather than one a layer.

    Autocast leaves them as they are, and the gradients by them are bfloat16 until they are collected: the same bits.
    """

    def __init__(self, net: nn.Module, flat: Tensor, copies: list[Tensor], rough: Tensor) -> None:
        """`flat`: of all parameters; `copies`: views of `rough`, a bfloat16 vector of the same order, by parameter."""
        places = {id(p): at for at, p in enumerate(net.parameters())}
        self.flat, self.rough = flat, rough
        self.places: list[tuple[nn.Module, str, nn.Parameter, nn.Parameter]] = []
        for module in (each for each in net.modules() if isinstance(each, nn.Conv2d | nn.Linear)):
            for name, p in module.named_parameters(recurse=False):
                self.places.append((module, name, p, nn.Parameter(copies[places[id(p)]])))

    @contextmanager
    def lent(self) -> Generator[None]:
        """The net computes with the copies meanwhile, as the weights now are."""
        with torch.no_grad():
            self.rough.copy_(self.flat)
        for module, name, _, copy in self.places:
            setattr(module, name, copy)
        try:
            yield
        finally:
            for module, name, p, _ in self.places:
                setattr(module, name, p)
