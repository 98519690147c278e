"""The CIFAR family of Sec. 4.2 and the initialisation of its weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from degrade.nets.blocks import Gate, conv3x3
from degrade.nets.shortcuts import MakeShortcut

MakeBlock = Callable[[int, int, int, nn.Module], nn.Module]
Apply = Callable[[nn.Module, Tensor], Tensor]


def _begin(stem: nn.Module, x: Tensor) -> Tensor:
    return torch.relu(stem(x))


class CifarNet(nn.Module):
    """Stem, three stages of n blocks, mean pool, linear: 6n+2 weighted layers. (N, channels, H, W) -> (N, classes).

    Widths w, 2w, 4w on maps of H, H/2, H/4; the first block of stages 2 and 3 has the stride (Sec. 4.2).
    """

    def __init__(
        self, depth: int, block: MakeBlock, shortcut: MakeShortcut, *, width: int, pad: str, channels: int, classes: int
    ) -> None:
        super().__init__()
        n = (depth - 2) // 6
        self.stem = conv3x3(channels, width)
        self.stages = nn.ModuleList()
        cin = width
        for stage in range(3):
            cout = width << stage
            blocks = nn.Sequential()
            for place in range(n):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(block(cin, cout, stride, shortcut(cin, cout, stride, pad)))
                cin = cout
            self.stages.append(blocks)
        self.head = nn.Linear(cin, classes)

    def forward(self, x: Tensor, through: Apply = nn.Module.__call__, begin: Apply = _begin) -> Tensor:
        """`through` applies a block to its input, and `begin` the stem with its ReLU; degrade.train has other ways."""
        x = begin(self.stem, x)
        for stage in self.stages:
            for block in stage.children():
                x = through(block, x)
        return self.head(x.mean((2, 3)))


def initialise(net: nn.Module, seed: int, init: str = "he", gate_bias: float = 0.0) -> None:
    """Draws every weight from a normal distribution of mean 0.

    Biases are 0, except that biases of gates are `gate_bias`. BN is the identity.
    `he`: variance 2/fan (He et al. 2015a, [12] of the paper). The fan of a convolution is k*k*cout, as in FAIR's
    version (the paper does not say which fan); the fan of the last layer is the number of its inputs.
    `xavier`: variance 2/(fan in + fan out) (Glorot and Bengio 2010).
    `small`: a deviation of 0.01, as was usual before He's and Xavier's.

    The main path is drawn first, then projections, then gates. So plain, residual and highway nets of every shortcut
    option start from the same weights where they share a seed.
    """
    draws = torch.Generator().manual_seed(seed)
    layers = {n: m for n, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))}
    for _, layer in sorted(layers.items(), key=_drawing_turn):
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            continue
        with torch.no_grad():
            layer.weight.normal_(0.0, _INITS[init](layer.weight), generator=draws)
            if layer.bias is not None:
                layer.bias.fill_(gate_bias if isinstance(layer, Gate) else 0.0)


def _drawing_turn(named: tuple[str, nn.Module]) -> int:
    """The turn in which a layer is drawn. Layers of one turn are drawn in the order of the net."""
    name, layer = named
    return 2 if isinstance(layer, Gate) else int("shortcut" in name)


def _he(weight: Tensor) -> float:
    taps = weight.shape[2:].numel()
    return (2 / (weight.shape[0] * taps if weight.ndim == 4 else weight.shape[1])) ** 0.5


def _xavier(weight: Tensor) -> float:
    return (2 / ((weight.shape[0] + weight.shape[1]) * weight.shape[2:].numel())) ** 0.5


def _small(weight: Tensor) -> float:
    return 0.01


_INITS: dict[str, Callable[[Tensor], float]] = {"he": _he, "xavier": _xavier, "small": _small}  # -> standard deviation
