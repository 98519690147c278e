"""What a net says about pictures, measured as Fit does on the eager backend: other backends differ by rounding."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.data.batches import Resident
from degrade.train.fit import EVALUATION_BATCH
from degrade.train.precision import autocast


class Measure(NamedTuple):
    """Mean cross-entropy in nats, top-1 error in %, images."""

    loss: float
    error: float
    n: int


def logits(net: nn.Module, images: Resident, precision: str = "fp32") -> Tensor:
    """(n, classes) float32, in evaluation mode, by a net on the device of the images, in the precision of its run."""
    net.eval().to(memory_format=torch.channels_last)  # as the backends have it: the same sums in the same order
    found: list[Tensor] = []
    with torch.inference_mode(), autocast(precision, images.pixels.device):
        for start in range(0, len(images), EVALUATION_BATCH):
            x, _ = images.clean(slice(start, start + EVALUATION_BATCH))
            found.append(net(x.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(found)


def judged(logits: Tensor, labels: Tensor) -> Measure:
    """Logits (n, classes) against labels (n,); losses are added up in the batches of Fit, whose numbers come out."""
    sums = torch.zeros(2, dtype=torch.float64, device=logits.device)
    batches = zip(logits.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    for said, y in batches:
        loss = F.cross_entropy(said, y, reduction="sum")
        sums += torch.stack((loss.double(), (said.argmax(1) != y).sum()))
    loss, wrong = sums.tolist()
    return Measure(loss / len(labels), 100 * wrong / len(labels), len(labels))
