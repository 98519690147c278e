"""What a run is computed in: fp32, tf32 or bf16. Part of what a run is, since deep plain nets amplify rounding."""

import torch

from degrade.errors import SpecError


def settle(precision: str, device: torch.device) -> None:
    """Tells torch what float32 means in this process. Raises SpecError where there is no such arithmetic.

    tf32 rounds the factors of a product to 10 bits of mantissa, on GPUs of NVIDIA from Ampere on.
    """
    if precision == "tf32" and device.type != "cuda":
        raise SpecError(
            f"engine.precision=tf32: needs a CUDA device, and this run is on the {device.type}; use fp32 or bf16"
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Where nets are applied: with bf16, convolutions and the last layer take bfloat16 copies of their weights and
    inputs; weights, gradients and momentum stay float32, as do the sums of batch normalisation and the loss.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
