"""Shortcut connections of Sec. 3.3: they bring x to the shape of F(x)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ZeroPad(nn.Module):
    """s(x) = every stride-th pixel of x, zeros for the new channels (option A). No parameters.

    (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride)). The paper does not say where the zeros go. `after` puts
    them after the channels, as FAIR's version does; `split` puts them on both sides.
    """

    def __init__(self, cin: int, cout: int, stride: int, pad: str = "after") -> None:
        super().__init__()
        self.stride = stride
        before = (cout - cin) // 2 if pad == "split" else 0
        self.channels = (before, cout - cin - before)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.channels))


class Projection(nn.Sequential):
    """s(x) = BN(W_s x), Eq. (2): a 1x1 convolution. (N, cin, H, W) -> (N, cout, ceil(H/stride), ceil(W/stride)).

    It has BN because Sec. 3.4 puts BN "right after each convolution".
    """

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))


def _option_a(cin: int, cout: int, stride: int, pad: str) -> nn.Module:
    """Identity; zeros for new channels."""
    return nn.Identity() if stride == 1 and cin == cout else ZeroPad(cin, cout, stride, pad)


def _option_b(cin: int, cout: int, stride: int, pad: str) -> nn.Module:
    """Identity; a projection where the shape changes."""
    return nn.Identity() if stride == 1 and cin == cout else Projection(cin, cout, stride)


def _option_c(cin: int, cout: int, stride: int, pad: str) -> nn.Module:
    """A projection everywhere."""
    return Projection(cin, cout, stride)


def _no_shortcut(cin: int, cout: int, stride: int, pad: str) -> nn.Module:
    """Plain nets have no shortcut; their blocks never call it."""
    return nn.Identity()


MakeShortcut = Callable[[int, int, int, str], nn.Module]
OPTIONS: dict[str, MakeShortcut] = {"none": _no_shortcut, "A": _option_a, "B": _option_b, "C": _option_c}
