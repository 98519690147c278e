"""The precision of a run: fp32, tf32 or bf16. It is part of what a run is, since deep plain nets amplify rounding."""

import torch

from degrade.errors import SpecError
from degrade.spec import EngineSpec


def settle(precision: str, device: torch.device, *, deterministic: bool = True) -> None:
    """Sets what float32 means to torch in this process, and which algorithms it may choose on a GPU: only such as
    repeat to the bit, or the fastest, by trying them. Raises SpecError where the device cannot do the precision.

    tf32 rounds the factors of a product to 10 bits of mantissa, on GPUs of NVIDIA from Ampere on.
    """
    if precision == "tf32" and device.type != "cuda":
        raise SpecError(
            f"engine.precision=tf32: needs a CUDA device, and this run is on the {device.type}; use fp32 or bf16"
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, not deterministic


def settle_as_trained(engine: EngineSpec | None, device: torch.device) -> None:
    """Settles as the training did, to measure its net; None: fp32. Where there is no tf32, fp32 stands in for it."""
    engine = engine or EngineSpec()
    missing = engine.precision == "tf32" and device.type != "cuda"
    settle("fp32" if missing else engine.precision, device, deterministic=engine.deterministic)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which nets are applied.

    With bf16, convolutions and the last layer take bfloat16 copies of their weights and inputs. Weights, gradients and
    momentum stay float32, as do the sums of batch normalisation and the loss.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
