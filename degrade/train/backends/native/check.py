"""Checks once whether the kernels are right and faster on this machine, and keeps the answer beside them.

The answer belongs to the bytes of one library. While a check is under way a file marks the trial: a process that died
of the kernels leaves it, and the next one builds them anew.
"""

import contextlib
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch

from degrade.errors import UnavailableError
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.store import seal
from degrade.train.backends import compare
from degrade.train.backends.compare import build_net, find_wrong, make_batches
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native
from degrade.train.backends.native.build import Kernels, load, name_answer, trial

_CPU = torch.device("cpu")
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


def measure_distances(precision: str) -> dict[str, float]:
    """quantity -> how far it is from eager fp32's after a few steps, at most."""
    with _one_thread():
        return compare.measure_distances(Native, precision, _CPU)


def measure_speed(precision: str) -> float:
    """Time of an eager step in the same precision / time of ours."""
    spec = replace(_TIMED, engine=EngineSpec(precision=precision))
    with _one_thread():
        eager, native = (kind(build_net(spec), spec, make_batches(spec, _CPU, 16, 16)) for kind in (Eager, Native))
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


def _time_step(backend: Eager | Native, iteration: int) -> float:
    begin = time.perf_counter()
    backend.step(iteration)
    return time.perf_counter() - begin
