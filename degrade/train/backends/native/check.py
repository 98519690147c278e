"""Whether the kernels are right and worth it on this machine: asked once, and kept beside them."""

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from degrade import nets
from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.errors import UnavailableError
from degrade.files import write
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native
from degrade.train.backends.native.build import library

SPEC = RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=RecipeSpec(batch=32))
FAR = {"fp32": 1e-3, "bf16": 0.3}  # relative distance of one step's gradient from eager fp32 that is rounding alone
STEPS = 5


def worthwhile(precision: str) -> None:
    """Raises UnavailableError where the kernels go wrong, or are slower than the eager backend.

    The answer is kept beside the library, which is of one compiler and one kind of processor.
    """
    path = Path(f"{library(precision)._name}.json")
    try:
        far, ratio = json.loads(path.read_bytes())
    except (OSError, ValueError):
        far, ratio = measured(precision)
        with contextlib.suppress(OSError):  # asked again next time
            write(path, json.dumps([far, ratio]).encode())
    if not far <= FAR[precision]:
        raise UnavailableError(f"their gradients are {far:.1g} off those of torch")
    if ratio < 1:
        raise UnavailableError(f"they are slower than torch here ({1 / ratio:.1f} times)")


def measured(precision: str) -> tuple[float, float]:
    """(relative distance of a gradient from that of eager fp32, eager's time a step in the same precision / ours)."""
    threads, spec = torch.get_num_threads(), replace(SPEC, engine=EngineSpec(precision=precision))
    torch.set_num_threads(1)
    try:
        exact, eager = Eager(net(), SPEC, batches()), Eager(net(), spec, batches())
        native = Native(net(), spec, batches())
        for backend in (exact, native):
            backend.step(0)
        ours, right = native.state()["momentum"], exact.state()["momentum"]  # after one step, the gradient itself
        off, size = (
            sum(part.square().sum() for part in parts)
            for parts in ((ours[k] - right[k] for k in right), right.values())
        )
        spent = {name: min(seconds(b, i) for i in range(STEPS)) for name, b in (("eager", eager), ("native", native))}
        return float(off / size) ** 0.5, spent["eager"] / spent["native"]
    finally:
        torch.set_num_threads(threads)


def net() -> torch.nn.Module:
    return nets.build(SPEC.net, channels=3, classes=10)


def batches() -> Batches:
    """Of noise, 16x16."""
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(0, 256, (64, 3, 16, 16), dtype=np.uint8), draw.integers(0, 10, 64)
    images = Images(pixels, labels, tuple("0123456789"))
    resident = Resident(images, scale_of(images, "pixel"), torch.device("cpu"))
    return Batches(resident, batch=SPEC.recipe.batch, seed=0, augment=SPEC.recipe.augment)


def seconds(backend: Eager | Native, iteration: int) -> float:
    begin = time.perf_counter()
    backend.step(iteration)
    return time.perf_counter() - begin
