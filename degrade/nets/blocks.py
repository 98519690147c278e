"""What a block of two 3x3 layers computes. A new kind of net is a class here and a line in `degrade.nets.NETS`."""

import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    """conv-BN, without bias since BN has its own. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride))."""
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
