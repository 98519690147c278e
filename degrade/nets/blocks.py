"""Blocks of two 3x3 layers. A new kind of net is a class here and a line in `degrade.nets.NETS`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    """conv-BN, no bias: BN has one. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride))."""
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, padding=1, bias=False), nn.BatchNorm2d(cout))


class Plain(nn.Module):
    """relu(F(x)), F: conv-BN-relu-conv-BN. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, cin: int, cout: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first, self.second = conv3x3(cin, cout, stride), conv3x3(cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))))


class Residual(nn.Module):
    """relu(F(x) + s(x)), Eq. (1-2), F as in Plain. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride)).

    The second ReLU comes after the addition (Sec. 3.2, Fig. 2).
    """

    def __init__(self, cin: int, cout: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = conv3x3(cin, cout, stride), conv3x3(cout, cout), shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Gate(nn.Conv2d):
    """T(x) = sigmoid(W x + b), a 1x1 convolution. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride)).

    Each output channel at each position has its own opening, in (0, 1).
    """

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__(cin, cout, 1, stride)

    def forward(self, input: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(input))


class Highway(nn.Module):
    """T(x) H(x) + (1 - T(x)) s(x), H = relu(F), F as in Plain, T a Gate. (N, cin, H, W) -> as in Plain.

    Eq. (3) of Srivastava, Greff and Schmidhuber, "Highway Networks" (arXiv:1505.00387): T is the transform gate, and
    1 - T takes the place of a separate carry gate. Where T is 1, the block is plain and its shortcut is closed:
    "non-residual functions" (Sec. 2 of the paper). Where T is 0, the block returns s(x).

    Their H is one layer. Ours is the two layers of the other nets, with the same BN. The gate is a 1x1 convolution
    without BN, as in He et al., "Identity Mappings in Deep Residual Networks" (arXiv:1603.05027), Sec. 3.1.
    NetSpec.gate_bias is the initial bias of the gate.
    """

    def __init__(self, cin: int, cout: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = conv3x3(cin, cout, stride), conv3x3(cout, cout), shortcut
        self.gate = Gate(cin, cout, stride)

    def forward(self, x: Tensor) -> Tensor:
        opening = self.gate(x)
        return opening * F.relu(self.second(F.relu(self.first(x)))) + (1 - opening) * self.shortcut(x)
