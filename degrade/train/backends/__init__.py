"""The part of training that speed depends on, behind one protocol; each file holds one way to do it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from degrade.spec import RecipeSpec
from degrade.train.backends.eager import Eager


class Backend(Protocol):
    """Holds a net, its gradient and momentum on one device; nothing in `step` waits for the device.

    lr: () float32, filled between steps. tally: (2,) float64, sums over all images ever stepped on: loss, mistakes.
    """

    lr: Tensor
    tally: Tensor

    def step(self, x: Tensor, y: Tensor) -> None:
        """One SGD step on x (N, C, H, W), y (N,); adds to `tally`."""
        ...

    def grad_norm(self) -> Tensor:
        """() Euclidean norm of the gradient of the last step."""
        ...

    def copy(self) -> nn.Module:
        """The net as it stands, on its device: fp32 weights and statistics that nothing else holds, no gradients."""
        ...

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        """Sets BN's statistics to their averages over x (N, C, H, W), by the images of each; weights unchanged."""
        ...

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        """(2,) float64: summed loss, mistakes; evaluation mode, nothing changes."""
        ...

    def state(self) -> dict[str, Any]:
        """Copies of everything a step depends on: `net` (a state_dict), `momentum` by parameter, `tally`."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


BACKENDS: dict[str, Callable[[nn.Module, RecipeSpec, torch.device], Backend]] = {"eager": Eager}
