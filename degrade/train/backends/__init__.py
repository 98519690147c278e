"""The backends: the part of training that speed depends on, behind one protocol. Each file or folder is one backend.

Other rooms use `BACKENDS` and `choose`, and compare backends with `eager`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from degrade.data.batches import Batches, Resident
from degrade.errors import SpecError, UnavailableError, pick
from degrade.spec import RunSpec
from degrade.train.backends import contact
from degrade.train.backends.eager import Eager
from degrade.train.backends.fused import Fused, find_unsuited
from degrade.train.backends.graph import Graph
from degrade.train.backends.native import Native, check


class Backend(Protocol):
    """Holds a net, its gradient and its momentum on one device; `step` never waits for the device.

    lr: () float32, filled between steps. tally: (2,) float64, sums over all images ever stepped on: loss, mistakes.
    """

    lr: Tensor
    tally: Tensor
    fingerprint: str  # of compiled kernels; "" without any
    layout: str  # of what torch sums over in training (degrade.train.layout); `restore` brings another

    def step(self, iteration: int) -> None:
        """One SGD step on the batch of `iteration`; adds to `tally`."""
        ...

    def grad_norm(self) -> Tensor:
        """() Euclidean norm of the gradient of the last step."""
        ...

    def copy(self) -> nn.Module:
        """A copy of the net as it stands, on its device: its own fp32 weights and statistics, no gradients."""
        ...

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        """Sets BN's statistics to their averages over x (N, C, H, W), weighted by images; the weights stay."""
        ...

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        """(2,) float64, summed loss and mistakes over images `start` to `stop`, without augmentation.

        The net is in evaluation mode, and nothing changes.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Copies of everything a step depends on: `net` (a state_dict), `momentum` by parameter, `tally`; `layout`."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


_MakeBackend = Callable[..., Backend]  # of a net, its spec and its batches; for a GPU also `layout`
BACKENDS: dict[str, _MakeBackend] = {"eager": Eager, "graph": Graph, "fused": Fused, "native": Native}


class Choice(NamedTuple):
    """A backend, its name in BACKENDS, and why it is not a faster one; "" where none is faster."""

    backend: Backend
    name: str
    why: str
    measured: Mapping[str, Any] | None = None  # on a GPU: what was taken, and the seconds of a step in each way


def choose(name: str, net: nn.Module, spec: RunSpec, batches: Batches) -> Choice:
    """Makes the backend of that name; for `auto`, the fastest that this run can have here.

    Raises SpecError for an unknown name, and for a backend that cannot be had. Raises PassingError where it may be had
    the next time: another one has other bits.
    """
    device = batches.images.pixels.device.type
    if device == "cuda" and name in ("auto", *contact.MEASURED):
        return _choose_measured(name, net, spec, batches)
    if name != "auto":
        try:
            return _make(pick(dict.fromkeys(BACKENDS, name), name, "engine.backend"), net, spec, batches)
        except UnavailableError as error:
            raise SpecError(f"engine.backend={name}: {error}; use engine.backend=auto") from None
    try:
        if device != "cpu":
            raise UnavailableError(f"there are none for {device}")
        if spec.engine.recompute:
            raise UnavailableError("they keep what engine.recompute throws away")
        check.demand_worthwhile(spec)
        return _make("native", net, spec, batches)
    except UnavailableError as error:
        return _make("eager", net, spec, batches)._replace(why=f"no kernels: {error}")


def _choose_measured(name: str, net: nn.Module, spec: RunSpec, batches: Batches) -> Choice:
    """Makes `graph` or `fused`, for `auto` the faster, in the layout that was the fastest on this GPU."""
    answer = contact.ask(spec.engine, batches.images.pixels.device)
    allowed, reasons = [name] if name != "auto" else list(contact.MEASURED), list[str]()
    if "fused" in allowed and (reason := find_unsuited(spec, net)):
        reasons.append(f"no fused step: {reason}")
        allowed.remove("fused")
    elif "fused" in allowed and "fused" in answer.missing:
        reasons.append(f"no fused step: {answer.missing['fused']}")
    while allowed:
        try:
            way = answer.pick(allowed)
        except UnavailableError as error:
            reasons += [f"no graph: {error}"] if "graph" in allowed else []
            break
        try:
            return Choice(_make_in(way, net, spec, batches), way.backend, "; ".join(reasons), answer.describe(way))
        except UnavailableError as error:
            reasons.append(f"no {'graph' if way.backend == 'graph' else 'fused step'}: {error}")
            allowed.remove(way.backend)
    if name != "auto":
        raise SpecError(f"engine.backend={name}: {'; '.join(reasons)}; use engine.backend=auto")
    return _make("eager", net, spec, batches)._replace(why="; ".join(reasons))


def _make_in(way: contact.Way, net: nn.Module, spec: RunSpec, batches: Batches) -> Backend:
    torch.backends.cudnn.benchmark = way.benchmark
    return BACKENDS[way.backend](net, spec, batches, layout=way.layout)


def _make(name: str, net: nn.Module, spec: RunSpec, batches: Batches) -> Choice:
    """Makes a backend. Raises UnavailableError where there are no kernels for a run, or they are wrong."""
    if name == "native":
        check.demand_right(spec.engine.precision)
    return Choice(BACKENDS[name](net, spec, batches), name, "")
