"""How large a net is and how much one picture costs, by arithmetic: no torch, no tensor.

degrade.nets.cost counts the same in the net itself. Only nets that `KNOWN` lists are known here.
"""

from typing import NamedTuple

from degrade.spec import NetSpec

KNOWN = ("plain", "residual", "highway")


class Size(NamedTuple):
    """Of a net, and of the forward pass of one image."""

    parameters: int
    multiply_adds: int  # of convolutions and the last layer, as the paper counts FLOPs (Sec. 3.3, Table 1)


def count(net: NetSpec, *, channels: int, classes: int, size: int) -> Size:
    """The size of a net of KNOWN on pictures (channels, size, size)."""
    assert net.net in KNOWN
    assert net.family == "cifar"
    parameters, work = _convolution(3, channels, net.width, size)
    cin = net.width
    for stage in range(3):
        cout = net.width << stage
        for place in range((net.depth - 2) // 6):
            if stage > 0 and place == 0:
                size = -(-size // 2)  # the stride of 2, rounded up
            for added in _block(net, cin, cout, size):
                parameters, work = parameters + added.parameters, work + added.multiply_adds
            cin = cout
    return Size(parameters + cin * classes + classes, work + cin * classes)


def _block(net: NetSpec, cin: int, cout: int, size: int) -> list[Size]:
    """The layers of a block: two of 3x3, and what its shortcut and its gate have."""
    layers = [_convolution(3, cin, cout, size), _convolution(3, cout, cout, size)]
    if net.shortcut == "C" or (net.shortcut == "B" and cin != cout):
        layers.append(_convolution(1, cin, cout, size))
    if net.net == "highway":
        layers.append(_convolution(1, cin, cout, size, bias=True))
    return layers


def _convolution(side: int, cin: int, cout: int, size: int, *, bias: bool = False) -> Size:
    """A convolution on maps of size x size after it, with a bias, or with BN's scale and shift for each channel."""
    weights = side * side * cin * cout
    return Size(weights + (cout if bias else 2 * cout), weights * size * size)
