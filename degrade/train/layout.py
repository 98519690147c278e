"""How images, features and kernels lie in memory. The order in which torch sums follows from it, and so the bits.

torch's batch norm on a CPU sums a channels-last tensor in float32, value by value, and a contiguous one more exactly.
At the paper's shape (batch 128, 3x32x32) channels-last statistics are 2e-5 off instead of 6e-8, and gradients of
trained nets up to forty times as far (2 cores of an Intel Xeon, torch 2.15.0, 2026-12-01: docs/performance.md). So
training is contiguous on a CPU. Without BN's sums nothing is lost: evaluation is channels last, which is faster, as is
bf16, whose own rounding is far greater.
"""

import torch
from torch import Tensor

from degrade.errors import RunError
from degrade.store.state import UNMARKED_LAYOUT

CONTIGUOUS = "contiguous"
LAYOUTS = (CONTIGUOUS, UNMARKED_LAYOUT)  # of a run; a run keeps the one that it began with


def pick_layout(device: torch.device) -> str:
    """The layout of a run that begins on the device. On a GPU, BN's sums are exact enough in any layout."""
    return CONTIGUOUS if device.type == "cpu" else UNMARKED_LAYOUT


def check_layout(layout: object) -> str:
    """The layout that a state names. Raises RunError for one that is none."""
    if layout not in LAYOUTS:
        raise RunError(f"its layout cannot be {layout!r}")
    return str(layout)


def format_of(layout: str, precision: str) -> torch.memory_format:
    """The format of tensors that batch norm sums over, in a run of that layout."""
    return torch.contiguous_format if layout == CONTIGUOUS and precision != "bf16" else torch.channels_last


def to_channels_last(x: Tensor) -> Tensor:
    """x (N, C, H, W) channels last, in its strides too.

    torch leaves the strides of a single channel as they are, and its convolutions go by the strides.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    n, channels, height, width = x.shape
    return x if channels > 1 else x.as_strided((n, 1, height, width), (height * width, 1, width, 1))
