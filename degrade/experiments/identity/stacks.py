"""The stacks of the identity experiment: their blocks, and the weights that they begin with."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.experiments.identity.trial import Trial
from degrade.nets import NETS, initialise
from degrade.nets.blocks import conv3x3

_MEAN = 1 / math.sqrt(2 * math.pi)  # of relu(z), z standard normal: the values that come in
_VARIANCE = 0.5 - _MEAN**2


class Chain(nn.Module):
    """relu(F(x)), with a shortcut relu(F(x) + x); F: `layers` times conv-BN with ReLU between. (N, C, H, W) -> same."""

    def __init__(self, width: int, layers: int, shortcut: bool) -> None:
        super().__init__()
        self.convs, self.shortcut = nn.ModuleList(conv3x3(width, width) for _ in range(layers)), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs[0](x)
        for conv in self.convs[1:]:
            y = conv(F.relu(y))
        return F.relu(y + x if self.shortcut else y)


def stack(trial: Trial) -> nn.Sequential:
    """Builds the blocks of a trial, with initial weights. Blocks of two layers are the blocks of the nets."""
    made = chain(trial, trial.blocks, trial.seed)
    if trial.init == "dirac":
        for block in made:
            _begin_at_the_identity(block, trial.net)
    return made


def chain(trial: Trial, blocks: int, seed: int) -> nn.Sequential:
    """Builds so many blocks of the kind of a trial, with He's initial weights.

    They are contiguous, since BN sums them more exactly so (degrade.train.layout).
    """
    width, made = trial.width, nn.Sequential()
    for _ in range(blocks):
        two = NETS[trial.net](width, width, 1, nn.Identity())
        made.append(two if trial.layers == 2 else Chain(width, trial.layers, trial.net == "residual"))
    initialise(made, seed)
    return made


def norms(block: nn.Module) -> list[nn.BatchNorm2d]:
    """The BN of a block's layers, in order."""
    return [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]


def _begin_at_the_identity(block: nn.Module, net: str) -> None:
    """Sets the weights of a block so that it hands on the values of `features`.

    Plain: Dirac kernels, and BN whose shift and scale are the mean and deviation of these values, so that BN undoes
    itself in training mode too, but for the chance of a batch. Nothing random is added: each channel sees values of
    its own, so no two kernels have the same gradient. Residual: the last BN is zero, so F(x) = 0, and the kernels stay
    as drawn.
    """
    with torch.no_grad():
        if net == "residual":
            norms(block)[-1].weight.zero_()
            return
        for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
            nn.init.dirac_(conv.weight)
        for norm in norms(block):
            norm.weight.fill_(math.sqrt(_VARIANCE + norm.eps))
            norm.bias.fill_(_MEAN)
            norm.get_buffer("running_mean").fill_(_MEAN)
            norm.get_buffer("running_var").fill_(_VARIANCE)
