"""Checks once whether the kernels are right and faster on this machine, and keeps the answer beside them."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from degrade import nets
from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.errors import UnavailableError
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.store.files import write
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native
from degrade.train.backends.native.build import kernels

_SPEC = RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=RecipeSpec(batch=32))
BOUNDS = {"fp32": 1e-3, "bf16": 0.3}  # relative distance of one step's gradient from eager fp32: rounding stays below
_STEPS = 20
_WIDE, _FEW = 128, 8  # beyond these, eager was as fast or faster (Zen4: width 256, 0.4 of its time; batch 3, 0.7)


def worthwhile(spec: RunSpec) -> None:
    """Raises UnavailableError where the kernels are wrong, or eager is faster: on this machine, or for such a net.

    The answer "right and faster" is kept beside the library, which belongs to one compiler and one kind of processor.
    The answer "slower" is not kept, since it may be the load of a moment.
    """
    if spec.net.width > _WIDE or spec.recipe.batch < _FEW:
        raise UnavailableError(
            f"torch is as fast with more than {_WIDE} channels in stage 1, or fewer than {_FEW} images"
        )
    precision = spec.engine.precision
    path = Path(f"{kernels(precision)._name}.ok")
    with FileLock(f"{path}.lock") if os.access(path.parent, os.W_OK) else contextlib.nullcontext():
        if path.exists():
            return
        far, ratio = compare_with_eager(precision)
        if not far <= BOUNDS[precision]:
            raise UnavailableError(f"their gradients are {far:.1g} off those of torch")
        if ratio < 1:
            raise UnavailableError(f"they are slower than torch here ({1 / ratio:.1f} times)")
        with contextlib.suppress(OSError):  # the next run measures again
            write(path, f"gradients {far:.1g} off, {ratio:.2f} times as fast as eager\n".encode())


def compare_with_eager(precision: str) -> tuple[float, float]:
    """(relative distance of the gradient from eager fp32's, time of an eager step in the same precision / ours)."""
    threads, spec = torch.get_num_threads(), replace(_SPEC, engine=EngineSpec(precision=precision))
    torch.set_num_threads(1)
    try:
        exact, eager = Eager(_build_net(), _SPEC, _make_batches()), Eager(_build_net(), spec, _make_batches())
        native = Native(_build_net(), spec, _make_batches())
        for backend in (exact, native):
            backend.step(0)
        ours, right = native.state()["momentum"], exact.state()["momentum"]  # after one step, the gradient itself
        off, size = (
            sum(part.square().sum() for part in parts)
            for parts in ((ours[k] - right[k] for k in right), right.values())
        )
        spent = [
            (_time_step(eager, i), _time_step(native, i)) for i in range(_STEPS)
        ]  # in turn: both under the same load
        return float(off / size) ** 0.5, min(e for e, _ in spent) / min(n for _, n in spent)
    finally:
        torch.set_num_threads(threads)


def _build_net() -> torch.nn.Module:
    return nets.build(_SPEC.net, channels=3, classes=10)


def _make_batches() -> Batches:
    """Makes batches of noise, 16x16."""
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(0, 256, (64, 3, 16, 16), dtype=np.uint8), draw.integers(0, 10, 64)
    images = Images(pixels, labels, tuple("0123456789"))
    resident = Resident(images, scale_of(images, "pixel"), torch.device("cpu"))
    return Batches(resident, batch=_SPEC.recipe.batch, seed=0, augment=_SPEC.recipe.augment)


def _time_step(backend: Eager | Native, iteration: int) -> float:
    begin = time.perf_counter()
    backend.step(iteration)
    return time.perf_counter() - begin
