"""The part of training that speed depends on, behind one protocol; each file or folder holds one way to do it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from degrade.data.batches import Batches, Resident
from degrade.errors import SpecError, UnavailableError, pick
from degrade.spec import RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.backends.graph import Graph
from degrade.train.backends.native import Native
from degrade.train.backends.native.check import worthwhile


class Backend(Protocol):
    """Holds a net, its gradient and momentum on one device; nothing in `step` waits for the device.

    lr: () float32, filled between steps. tally: (2,) float64, sums over all images ever stepped on: loss, mistakes.
    """

    lr: Tensor
    tally: Tensor

    def step(self, iteration: int) -> None:
        """One SGD step on the batch of `iteration`; adds to `tally`."""
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

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        """(2,) float64 over images `start` to `stop`, as they are: summed loss, mistakes; evaluation mode, nothing
        changes."""
        ...

    def state(self) -> dict[str, Any]:
        """Copies of everything a step depends on: `net` (a state_dict), `momentum` by parameter, `tally`."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


_MakeBackend = Callable[[nn.Module, RunSpec, Batches], Backend]
BACKENDS: dict[str, _MakeBackend] = {"eager": Eager, "graph": Graph, "native": Native}


class Choice(NamedTuple):
    """A backend, its name in BACKENDS, and why it is no faster one; empty where there is none faster."""

    backend: Backend
    name: str
    why: str


def choose(name: str, net: nn.Module, spec: RunSpec, batches: Batches) -> Choice:
    """The backend of that name; for `auto` the fastest that this run can have here.

    Raises SpecError for a name that is unknown or cannot be had.
    """
    if name != "auto":
        try:
            return Choice(pick(BACKENDS, name, "engine.backend")(net, spec, batches), name, "")
        except UnavailableError as error:
            raise SpecError(f"engine.backend={name}: {error}; use engine.backend=auto") from None
    try:
        if batches.images.pixels.device.type == "cpu":
            if spec.engine.recompute:
                raise UnavailableError("they keep what engine.recompute throws away")
            worthwhile(spec)
            return Choice(Native(net, spec, batches), "native", "")
        return Choice(Graph(net, spec, batches), "graph", "")
    except UnavailableError as error:
        missing = "kernels" if batches.images.pixels.device.type == "cpu" else "graph"
        return Choice(Eager(net, spec, batches), "eager", f"no {missing}: {error}")
