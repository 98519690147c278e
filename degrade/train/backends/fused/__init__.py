"""The step of the graph backend with batch norm, addition and ReLU as two kernels forward and two backward, in Triton.

kernels.py has the kernels, norm.py makes them one operator with a gradient, walk.py takes a net through it. Evaluation,
averaged statistics and convolutions are torch's own.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from degrade.data.batches import Batches
from degrade.errors import UnavailableError
from degrade.spec import RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.backends.graph import Capture, Graph

_SOURCES = ("kernels.py", "norm.py", "walk.py")


class Fused(Graph):
    """SGD as in the graph backend, but for rounding: sums of batch norm have another order, and between batch norm,
    addition and ReLU nothing is rounded.

    Raises UnavailableError as Graph does, without Triton, and for nets with a layer that is not fused.
    """

    def __init__(
        self,
        net: nn.Module,
        spec: RunSpec,
        batches: Batches,
        capture: Capture | None = None,
        layout: str | None = None,
    ) -> None:
        if reason := find_unsuited(spec, net):
            raise UnavailableError(reason)
        super().__init__(net, spec, batches, capture, layout, _Walking)


class _Walking(Eager):
    """The eager step, its net with fused layers."""

    def __init__(self, net: nn.Module, spec: RunSpec, batches: Batches, layout: str | None = None) -> None:
        super().__init__(net, spec, batches, layout)
        self.fingerprint = fingerprint()

    def _way_through(self, net: nn.Module, spec: RunSpec) -> Callable[[Tensor], Tensor]:
        from degrade.train.backends.fused.walk import fuse

        return fuse(net)


def find_unsuited(spec: RunSpec, net: nn.Module) -> str:
    """Why there is no fused step for a run; "" where there is one."""
    if spec.engine.recompute:
        return "it keeps what engine.recompute throws away"
    try:
        from degrade.train.backends.fused.walk import find_unfused
    except ImportError as error:
        return f"Triton cannot be loaded ({error}); torch's builds for CUDA on Linux bring it"
    return find_unfused(net)


def fingerprint() -> str:
    """Of the sources of the kernels and of their compiler: on one GPU, equal ones compute equal bits."""
    from degrade.train.backends.fused.kernels import VERSION

    total = hashlib.sha256(VERSION.encode())
    for name in _SOURCES:
        total.update(Path(__file__).with_name(name).read_bytes())
    return total.hexdigest()[:16]
