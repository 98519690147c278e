"""How fast gradients grow from layer to layer before the first step: the table of docs/inside.md.

    python benchmarks/gradients.py [--seeds 3] [--batch 128]

The norms are those of `engine.probe`: the gradient of the loss by each layer's weight, on one batch. The growth a layer
is exp(-slope) of a line through log(norm) over the layers of a stage; the mean over seeds is of the logarithm. The
pictures are the digits, 8x8, and 32x32 pictures of noise with drawn labels: before training, labels tell nothing.
"""

import argparse
import math

import numpy as np
import torch
from torch import Tensor

from degrade.data.batches import Resident, scale_of
from degrade.data.digits import load
from degrade.nets import build
from degrade.spec import NetSpec
from degrade.train.probe import probe

NETS = (("plain", 20), ("plain", 56), ("residual", 56))
THEORY = math.sqrt(math.pi / (math.pi - 1))  # 1.211: ReLU after BN, wide layers, large batches


def digits(batch: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some training images of the digits, x (N, 1, 8, 8), y (N,)."""
    images, _ = load()
    order = torch.randperm(len(images), generator=draws)[:batch]
    return Resident(images, scale_of(images, "pixel"), torch.device("cpu")).clean(order)


def noise(batch: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures of standard normal values, x (N, 3, 32, 32), and labels, y (N,)."""
    return torch.randn(batch, 3, 32, 32, generator=draws), torch.randint(10, (batch,), generator=draws)


def growth(net: str, depth: int, x: Tensor, y: Tensor, seed: int) -> list[float]:
    """The growth a layer in stages 1, 2 and 3, and the norm of the first layer's gradient over the last 3x3 layer's."""
    made = build(NetSpec(net=net, depth=depth), channels=x.shape[1], classes=10, seed=seed)
    rows = probe(made, x, y)
    logs = {stage: np.log([row.grad_norm for row in rows if row.stage == stage]) for stage in (0, 1, 2, 3)}
    slopes = [-np.polyfit(range(len(logs[stage])), logs[stage], 1)[0] for stage in (1, 2, 3)]
    return [math.exp(slope) for slope in slopes] + [math.exp(logs[0][0] - logs[3][-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    print(f"theory: {THEORY:.3f} a layer\n")
    print("| pictures | net | stage 1 | stage 2 | stage 3 | first layer / last 3x3 layer |")
    print("|---|---|---:|---:|---:|---:|")
    for name, pictures in (("noise, 32x32", noise), ("digits, 8x8", digits)):
        x, y = pictures(given.batch, torch.Generator().manual_seed(0))
        for net, depth in NETS:
            each = np.log([growth(net, depth, x, y, seed) for seed in range(given.seeds)])
            *stages, whole = np.exp(each.mean(0))
            print(f"| {name} | {net}-{depth} | {' | '.join(f'{stage:.3f}' for stage in stages)} | {whole:,.0f} |")


if __name__ == "__main__":
    main()
