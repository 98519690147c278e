"""The limit: the most FLOP/s that this machine can do, by short measurements of the work that comes closest."""

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from degrade.data.images import Note
from degrade.errors import UnavailableError
from degrade.train.backends.native import build

_LEAST_TIMES = 3  # measurements of each kind, at least
_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
LAYER_SHAPES = ((16, 32), (32, 16), (64, 8))  # channels and pixels of a side in the three stages (Sec. 4.2)


@dataclass(frozen=True)
class Peak:
    """The most FLOP/s in one precision, and the kind of work that reached it."""

    flops: float
    by: str
    all: dict[str, float]  # FLOP/s of each kind of work


def peaks(device: torch.device, threads: int, seconds: float, note: Note) -> dict[str, Peak]:
    """Measures the peak of each precision; each kind of work takes about `seconds`."""
    found: dict[str, Peak] = {}
    kinds = _try_cpu if device.type == "cpu" else _try_gpu
    for done, precision in enumerate(_TYPES):
        note("peak FLOP/s", done, len(_TYPES))
        rates = dict(kinds(precision, device, threads, seconds))
        if rates:
            best = max(rates, key=lambda kind: rates[kind])
            found[precision] = Peak(rates[best], best, rates)
    return found


def _try_gpu(precision: str, device: torch.device, threads: int, seconds: float) -> Iterator[tuple[str, float]]:
    """Times a large product of matrices."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield _time_product(8192, precision, device, seconds)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _try_cpu(precision: str, device: torch.device, threads: int, seconds: float) -> Iterator[tuple[str, float]]:
    """Times a product of matrices, convolutions, and multiply-adds that stay in registers.

    Some libraries multiply matrices poorly on some processors. Convolutions count their padding as work, so they can
    seem to beat the multiply-adds in registers.
    """
    if precision == "tf32":
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield _time_product(1024, precision, device, seconds)
        for channels, size in LAYER_SHAPES:
            yield _time_convolution(channels, size, precision, seconds)
        yield "multiply-adds in registers", _measure_registers(precision, threads, seconds)
    except UnavailableError:
        return
    finally:
        torch.set_num_threads(before)


def _time_product(side: int, precision: str, device: torch.device, seconds: float) -> tuple[str, float]:
    a, b = (torch.randn(side, side, device=device).to(_TYPES[precision]) for _ in range(2))
    return f"{side}x{side} matrices", 2 * side**3 / _time_quickest(lambda: a @ b, device, seconds)


def _time_convolution(channels: int, size: int, precision: str, seconds: float) -> tuple[str, float]:
    """Times a 3x3 layer of one stage, batch 128, channels last. Padding counts as work, as in the net's FLOPs."""
    last = torch.channels_last
    x = torch.randn(128, channels, size, size).to(_TYPES[precision]).to(memory_format=last)
    weight: Tensor = torch.randn(channels, channels, 3, 3).to(_TYPES[precision]).to(memory_format=last)
    with torch.inference_mode():
        spent = _time_quickest(lambda: F.conv2d(x, weight, padding=1), x.device, seconds)
    return f"3x3 convolution, {channels} channels", 2 * x.numel() * channels * 9 / spent


def _measure_registers(precision: str, threads: int, seconds: float) -> float:
    """Asks the library of the compiled kernels. Raises UnavailableError where it is not there or cannot tell."""
    library = build.kernels(precision)
    try:
        peak = library.peak
    except AttributeError:
        raise UnavailableError("the kernels have no such measurement") from None
    peak.restype, peak.argtypes = ctypes.c_double, (ctypes.c_int, ctypes.c_double)
    return float(peak(threads, seconds))


def _time_quickest(act: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The least time of `act`, in seconds, over as many calls as fit in `seconds`."""
    act()
    spent: list[float] = []
    while len(spent) < _LEAST_TIMES or sum(spent) < seconds:
        _wait(device)
        begin = time.perf_counter()
        act()
        _wait(device)
        spent.append(time.perf_counter() - begin)
    return min(spent)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
