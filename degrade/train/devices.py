"""Which devices this process may use, without loading torch: the driver says."""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from degrade.errors import SpecError
from degrade.spec import RunSpec

_PATIENCE = 60.0  # seconds for the driver of a machine with many GPUs
# In a process of its own, since a process that has spoken to the driver cannot be forked any more. The driver follows
# CUDA_VISIBLE_DEVICES, as it will in a worker.
_ASK = """
import ctypes, sys
cuda, found = ctypes.CDLL(sys.argv[1]), ctypes.c_int(0)
print(0 if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(found)) else found.value)
"""
_DRIVER = "libcuda.so.1"
_SIGNS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-gpu", "/proc/driver/nvidia/gpus")
_OTHER_DRIVER = Path("/dev/kfd")  # of AMD; torch for it calls its devices cuda too


@lru_cache(maxsize=1)
def gpus() -> int:
    """Counts the GPUs of NVIDIA that this process may use; 0 without a driver."""
    if sys.platform != "win32" and not _may_have_driver():
        return 0
    try:
        words = [sys.executable, "-S", "-c", _ASK, "nvcuda.dll" if sys.platform == "win32" else _DRIVER]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def _may_have_driver() -> bool:
    """Whether a driver may be there: its devices, in containers and under WSL 2 too, or its library. A wrong yes costs
    50 ms.
    """
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    signs = [*_SIGNS, *(f"{folder}/{_DRIVER}" for folder in folders if folder)]
    return any(Path(sign).exists() for sign in signs)


def refuse_missing(spec: RunSpec) -> None:
    """Raises SpecError for a run that asks for a device that is not here, or for what its device cannot do.

    Workers would find out one by one, each after it has loaded torch.
    """
    engine = spec.engine
    on_gpu = engine.device != "cpu" and (gpus() > 0 or _OTHER_DRIVER.exists())
    if engine.device == "cuda" and not on_gpu:
        raise SpecError("engine.device=cuda: no CUDA device is visible; use engine.device=cpu, or auto")
    if on_gpu:
        return
    if engine.precision == "tf32":
        raise SpecError("engine.precision=tf32: needs a CUDA device, and none is used here; use fp32 or bf16")
    if engine.backend in ("graph", "fused"):
        said = "needs a CUDA device, and none is used here; use engine.backend=auto"
        raise SpecError(f"engine.backend={engine.backend}: {said}")
    if engine.backend == "native" and (reason := find_unsuited(spec)):
        raise SpecError(f"engine.backend=native: {reason}; use engine.backend=auto")


def find_unsuited(spec: RunSpec) -> str:
    """Why there are no compiled kernels for such a run, whatever the machine; "" where there may be some."""
    if spec.net.net not in ("plain", "residual"):
        return f"net={spec.net.net} has no kernels"
    if spec.recipe.norm != "batch":
        return f"recipe.norm={spec.recipe.norm} has no kernels"
    return "" if spec.recipe.batch > 1 else "recipe.batch=1"
