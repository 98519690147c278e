"""Whether a backend computes what eager fp32 does, on one device: a few steps of small nets, and an evaluation."""

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from degrade import nets
from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.precision import settle

Make = Callable[[nn.Module, RunSpec, Batches], Any]  # -> a backend

# Together they go through every kernel, and through each branch that a recipe chooses. Decay is so strong that it shows
# beside the gradients. Batches end with a block, and with a group of batch norm, that is not full.
_PLAIN_SGD = RecipeSpec(batch=32, weight_decay=0.1)
_OTHER_SGD = replace(_PLAIN_SGD, momentum_form="caffe", nesterov=True, decay_scope="conv")
_CASES = (
    RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=_PLAIN_SGD),
    RunSpec(
        net=NetSpec(depth=8, shortcut="A", pad="split", width=10),
        data=DataSpec(normalize="channel"),
        recipe=replace(_OTHER_SGD, batch=41, bn_group=16, augment="crop"),
    ),
)
_LR, _STEPS = 0.05, 3  # the second step is the first with momentum
_FIRST, _IMAGES, _CLASSES = 7, 96, 4  # _FIRST: of the images that are evaluated
# How far a quantity may be from eager fp32: a relative distance, and of mistakes a share of the images. Rounding stays
# below 3e-6 in fp32, and at a third to a half of these bounds in bf16 (Intel Xeon with AVX-512, gcc 12, 2026-12-01). A
# ReLU whose input is 0 but for rounding may open or shut: hence 1e-2 for layers. tf32 rounds to an eighth of bf16's
# steps, and was not measured: it gets the bounds of bf16.
_BF16 = {"loss": 5e-3, "mistakes": 0.06, "statistics": 0.02, "norm": 0.05, "head": 0.03, "layers": 0.25}
BOUNDS = {
    "fp32": {"loss": 1e-4, "mistakes": 0.02, "statistics": 1e-3, "norm": 1e-3, "head": 1e-2, "layers": 1e-2},
    "bf16": _BF16,
    "tf32": _BF16,
}


def find_wrong(distances: Mapping[str, float], precision: str) -> str:
    """Names the quantities that are further from torch than rounding; "" where none is."""
    bounds = BOUNDS[precision]
    return ", ".join(f"{key} {far:.1g} off" for key, far in distances.items() if not far <= bounds[key.split(",")[0]])


def measure_distances(make: Make, precision: str, device: torch.device) -> dict[str, float]:
    """quantity -> how far it is from eager fp32's after a few steps, at most. Infinite where it is not a number."""
    found: dict[str, float] = {}
    for spec in _CASES:
        for key, far in _compare(spec, make, precision, device):
            found[key] = max(found.get(key, 0.0), math.inf if math.isnan(far) else far)
    return found


class _Trained(NamedTuple):
    """What a backend comes to."""

    start: Mapping[str, Tensor]
    state: Mapping[str, Any]
    evaluated: Tensor
    grad_norm: Tensor


def _train(make: Make, spec: RunSpec, device: torch.device) -> _Trained:
    if device.type == "cuda":  # the two may have different precisions, and torch has one for all
        settle(spec.engine.precision, device)
    batches = make_batches(spec, device)
    backend = make(build_net(spec), spec, batches)
    start = backend.state()["net"]
    for step in range(_STEPS):
        backend.lr.fill_(_LR)
        backend.step(step)
    state = backend.state()
    return _Trained(start, state, backend.evaluate(batches.images, _FIRST, _IMAGES), backend.grad_norm())


def _compare(spec: RunSpec, make: Make, precision: str, device: torch.device) -> Generator[tuple[str, float]]:
    """Trains both, and yields how far each quantity is; all parameters of one kind together."""
    exact = _train(Eager, spec, device)
    trained = _train(make, replace(spec, engine=EngineSpec(precision=precision)), device)
    start, right, ours = exact.start, exact.state, trained.state
    yield from _compare_tallies("training", ours["tally"], right["tally"], _STEPS * spec.recipe.batch)
    yield from _compare_tallies("evaluation", trained.evaluated, exact.evaluated, _IMAGES - _FIRST)
    yield "norm, of gradients", _distance([trained.grad_norm], [exact.grad_norm])
    for kind in ("running_mean", "running_var"):
        keys = [key for key in start if key.endswith(kind)]
        yield f"statistics, {kind}", _distance(*([state["net"][key] for key in keys] for state in (ours, right)))
    for kind in {_kind_of(key, value) for key, value in right["momentum"].items()}:
        keys = [key for key, value in right["momentum"].items() if _kind_of(key, value) == kind]
        yield f"{kind}, gradient", _distance(*([state["momentum"][key] for key in keys] for state in (ours, right)))
        moved = ([state["net"][key] - start[key] for key in keys] for state in (ours, right))
        yield f"{kind}, update", _distance(*moved)


def _compare_tallies(what: str, ours: Tensor, right: Tensor, images: int) -> Generator[tuple[str, float]]:
    (loss, mistakes), (right_loss, right_mistakes) = ours.tolist(), right.tolist()
    yield f"loss, {what}", abs(loss - right_loss) / right_loss if right_loss else math.inf
    yield f"mistakes, {what}", abs(mistakes - right_mistakes) / images


def _kind_of(key: str, value: Tensor) -> str:
    """Weights of convolutions, scales and shifts of batch norm, weights and biases of the last layer."""
    head = value.ndim == 2 or value.numel() == _CLASSES
    return f"{'head' if head else 'layers'}, {value.ndim}-dimensional {key.rpartition('.')[2]}"


def _distance(ours: Iterable[Tensor], right: Iterable[Tensor]) -> float:
    """The relative distance of all values together."""
    found, wanted = (torch.cat([part.flatten().double() for part in parts]) for parts in (ours, right))
    return float((found - wanted).norm() / wanted.norm())


def build_net(spec: RunSpec) -> nn.Module:
    return nets.build(spec.net, channels=3, classes=_CLASSES, bn_group=spec.recipe.bn_group)


def make_batches(spec: RunSpec, device: torch.device, height: int = 9, width: int = 8) -> Batches:
    """Makes batches of noise. The pictures are small and not square."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (_IMAGES, 3, height, width), dtype=np.uint8)
    images = Images(pixels, draw.integers(0, _CLASSES, _IMAGES), tuple("0123"))
    resident = Resident(images, scale_of(images, spec.data.normalize), device)
    return Batches(resident, batch=spec.recipe.batch, seed=0, augment=spec.recipe.augment)
