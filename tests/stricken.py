"""`degrade`, in whose workers the runs of seed 1 come to grief after ten steps, as HARM says; while MARK is not there.

Workers are spawned: they read this file too, as their main module.
"""

import ctypes
import os
from pathlib import Path

import torch

from degrade.cli import main
from degrade.train.fit import Fit


def full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


HARMS = {
    "SIGSEGV": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(3),
    "MemoryError": lambda: bytearray(2**62),
    "CUDA": full,
}
advance = Fit.advance


def stricken(fit: Fit, steps: int) -> bool:
    if fit.spec.seed == 1 and fit.iteration >= 10 and not Path(os.environ["MARK"]).exists():
        HARMS[os.environ["HARM"]]()
    return advance(fit, steps)


Fit.advance = stricken

if __name__ == "__main__":
    main()
