"""Checks once whether the kernels are right and faster on this machine, and keeps the answer beside them.

The answer belongs to the bytes of one library. While a check is under way a file marks the trial: a process that died
of the kernels leaves it, and the next one builds them anew.
"""

import contextlib
import math
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from degrade import nets
from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.errors import UnavailableError
from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.store import seal
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native
from degrade.train.backends.native.build import Kernels, load, name_answer, trial

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
# ReLU whose input is 0 but for rounding may open or shut: hence 1e-2 for layers.
BOUNDS = {
    "fp32": {"loss": 1e-4, "mistakes": 0.02, "statistics": 1e-3, "norm": 1e-3, "head": 1e-2, "layers": 1e-2},
    "bf16": {"loss": 5e-3, "mistakes": 0.06, "statistics": 0.02, "norm": 0.05, "head": 0.03, "layers": 0.25},
}
_TIMED = RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=RecipeSpec(batch=32))
_TIMES = 20
_WIDE, _FEW = 128, 8  # beyond these, eager was as fast or faster (Zen4: width 256, 0.4 of its time; batch 3, 0.7)


@dataclass(frozen=True)
class _Answer:
    """What a check found of a library that is right."""

    library: str  # SHA-256 of its bytes
    speed: float  # time of an eager step / ours


def demand_right(precision: str) -> None:
    """Raises UnavailableError where the kernels are wrong on this machine."""
    _ask(load(precision), precision)


def demand_worthwhile(spec: RunSpec) -> None:
    """Raises UnavailableError where the kernels are wrong, or eager is faster: on this machine, or for such a net.

    That they are slower may be the load of a moment: it is measured again the next time.
    """
    if spec.net.width > _WIDE or spec.recipe.batch < _FEW:
        raise UnavailableError(
            f"torch is as fast with more than {_WIDE} channels in stage 1, or fewer than {_FEW} images"
        )
    speed = _ask(load(spec.engine.precision), spec.engine.precision, fast=True).speed
    if speed < 1:
        raise UnavailableError(f"they are slower than torch here ({1 / speed:.1f} times)")


def _ask(kernels: Kernels, precision: str, *, fast: bool = False) -> _Answer:
    """The answer beside the library, or a new one. Raises UnavailableError where the kernels are wrong.

    `fast`: an answer that they are slow is not taken from before.
    """
    with kernels.shelf.locked(kernels.name):
        known = _read_answer(kernels)
        if known and not (fast and known.speed < 1):
            return known
        with trial(kernels.shelf, kernels.name):
            if wrong := find_wrong(measure_distances(precision), precision):
                raise UnavailableError(f"they are wrong: {wrong}")
            answer = _Answer(kernels.digest, measure_speed(precision))
        with contextlib.suppress(OSError):  # the next run checks again
            kernels.shelf.write(name_answer(kernels.name), seal.to_json(asdict(answer)))
        return answer


def _read_answer(kernels: Kernels) -> _Answer | None:
    """What was found of these very bytes; None where nothing was, or it cannot be read."""
    try:
        content = kernels.shelf.read(name_answer(kernels.name))
        values = {} if content is None else seal.of_json(content)
        answer = _Answer(values["library"], float(values["speed"]))
    except (OSError, ValueError, KeyError):
        return None
    return answer if answer.library == kernels.digest else None


def find_wrong(distances: Mapping[str, float], precision: str) -> str:
    """Names the quantities that are further from torch than rounding; "" where none is."""
    bounds = BOUNDS[precision]
    return ", ".join(f"{key} {far:.1g} off" for key, far in distances.items() if not far <= bounds[key.split(",")[0]])


def measure_distances(precision: str) -> dict[str, float]:
    """quantity -> how far it is from eager fp32's after a few steps, at most. Infinite where it is not a number."""
    with _one_thread():
        found: dict[str, float] = {}
        for spec in _CASES:
            for key, far in _compare(spec, precision):
                found[key] = max(found.get(key, 0.0), math.inf if math.isnan(far) else far)
        return found


def _compare(spec: RunSpec, precision: str) -> Generator[tuple[str, float]]:
    """Trains both, and yields how far each quantity is; all parameters of one kind together."""
    exact = Eager(_build_net(spec), spec, _make_batches(spec))
    native = Native(_build_net(spec), replace(spec, engine=EngineSpec(precision=precision)), _make_batches(spec))
    start = exact.state()["net"]
    for step in range(_STEPS):
        for backend in (exact, native):
            backend.lr.fill_(_LR)
            backend.step(step)
    right, ours = exact.state(), native.state()
    yield from _compare_tallies("training", ours["tally"], right["tally"], _STEPS * spec.recipe.batch)
    found, wanted = (each.evaluate(each.batches.images, _FIRST, _IMAGES) for each in (native, exact))
    yield from _compare_tallies("evaluation", found, wanted, _IMAGES - _FIRST)
    yield "norm, of gradients", _distance([native.grad_norm()], [exact.grad_norm()])
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
    yield f"loss, {what}", abs(loss - right_loss) / right_loss
    yield f"mistakes, {what}", abs(mistakes - right_mistakes) / images


def _kind_of(key: str, value: Tensor) -> str:
    """Weights of convolutions, scales and shifts of batch norm, weights and biases of the last layer."""
    head = value.ndim == 2 or value.numel() == _CLASSES
    return f"{'head' if head else 'layers'}, {value.ndim}-dimensional {key.rpartition('.')[2]}"


def _distance(ours: Iterable[Tensor], right: Iterable[Tensor]) -> float:
    """The relative distance of all values together."""
    found, wanted = (torch.cat([part.flatten().double() for part in parts]) for parts in (ours, right))
    return float((found - wanted).norm() / wanted.norm())


def measure_speed(precision: str) -> float:
    """Time of an eager step in the same precision / time of ours."""
    spec = replace(_TIMED, engine=EngineSpec(precision=precision))
    with _one_thread():
        eager, native = (kind(_build_net(spec), spec, _make_batches(spec, 16, 16)) for kind in (Eager, Native))
        # in turn: both under the same load
        spent = [(_time_step(eager, i), _time_step(native, i)) for i in range(_TIMES)]
        return min(e for e, _ in spent) / min(n for _, n in spent)


@contextmanager
def _one_thread() -> Generator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _build_net(spec: RunSpec) -> torch.nn.Module:
    return nets.build(spec.net, channels=3, classes=_CLASSES, bn_group=spec.recipe.bn_group)


def _make_batches(spec: RunSpec, height: int = 9, width: int = 8) -> Batches:
    """Makes batches of noise. The pictures are small and not square."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (_IMAGES, 3, height, width), dtype=np.uint8)
    images = Images(pixels, draw.integers(0, _CLASSES, _IMAGES), tuple("0123"))
    resident = Resident(images, scale_of(images, spec.data.normalize), torch.device("cpu"))
    return Batches(resident, batch=spec.recipe.batch, seed=0, augment=spec.recipe.augment)


def _time_step(backend: Eager | Native, iteration: int) -> float:
    begin = time.perf_counter()
    backend.step(iteration)
    return time.perf_counter() - begin
