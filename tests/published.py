"""Nets of other people, written anew from the descriptions of their repositories: modules, names and what they do."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fill(net: nn.Module) -> nn.Module:
    """Draws every number, as after a training: nothing is 0 or 1."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                low = 0.3 if "var" in name or value.ndim == 1 else -0.2
                value.copy_(torch.rand(value.shape, generator=draws) * 0.4 + low)
    return net.eval()


def conv3(cin: int, cout: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, stride, 1, bias=bias)


class Lambda(nn.Module):
    """A module without tensors."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Basic(nn.Module):
    """conv1 bn1 conv2 bn2, as in torchvision; `side` names the module of the projection, or is a Lambda of option A."""

    def __init__(self, cin: int, cout: int, stride: int, side: str, bias: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(cin, cout, stride, bias), nn.BatchNorm2d(cout, eps)
        self.conv2, self.bn2 = conv3(cout, cout, 1, bias), nn.BatchNorm2d(cout, eps)
        self.side = ""
        if cin != cout or stride != 1:
            self.side, quarter = side.removeprefix("split "), cout // 4
            pad = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter)))
            whole = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout, eps))
            self.add_module(self.side, pad if side.startswith("split") else whole)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.get_submodule(self.side)(x) if self.side else x))


class Staged(nn.Module):
    """conv1 bn1 layer1 layer2 layer3 and a head, as akamaster, chenyaofo and bearpaw have it."""

    def __init__(self, n: int, width: int, side: str, head: str, bias: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(3, width, bias=bias), nn.BatchNorm2d(width)
        cin = width
        for stage in range(3):
            cout, blocks = width << stage, nn.Sequential()
            for place in range(n):
                blocks.append(Basic(cin, cout, 2 if stage and not place else 1, side, bias))
                cin = cout
            self.add_module(f"layer{stage + 1}", blocks)
        self.head = head
        self.add_module(head, nn.Linear(cin, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.get_submodule(self.head)(x.mean((2, 3)))


class Flat(nn.Module):
    """All blocks in one list, as open_lth: conv bn blocks.0 ... fc."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.conv, self.bn = conv3(3, width), nn.BatchNorm2d(width)
        widths = [width, *(width << (place // n) for place in range(3 * n))]
        self.blocks = nn.Sequential(*(Basic(a, b, 1 if a == b else 2, "shortcut") for a, b in pairwise(widths)))
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(F.relu(self.bn(self.conv(x)))).mean((2, 3)))


class Numbered(nn.Module):
    """A residual branch of numbers, as fast.ai and weiaicunzai have it: 0 conv, 1 bn, 3 conv, 4 bn."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(
            conv3(cin, cout, stride), nn.BatchNorm2d(cout), nn.ReLU(), conv3(cout, cout), nn.BatchNorm2d(cout)
        )
        self.shortcut = nn.Sequential()
        if cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual_function(x) + self.shortcut(x))


def sequential(n: int, width: int) -> nn.Module:
    """One nn.Sequential: names are numbers alone but for the blocks."""
    widths = [width, *(width << (place // n) for place in range(3 * n))]
    blocks = [Numbered(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)]
    return nn.Sequential(conv3(3, width), nn.BatchNorm2d(width), nn.ReLU(), *blocks, *pool)


class Preactivated(nn.Module):
    """bn1 conv1 bn2 conv2, as bearpaw's preresnet."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(cin), conv3(cin, cout, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(cout), conv3(cout, cout)


class Preresnet(nn.Module):
    """conv1 layer1 layer2 layer3 bn fc; only its tensors matter here."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.conv1 = conv3(3, width)
        cin = width
        for stage in range(3):
            blocks = nn.Sequential()
            for place in range(n):
                blocks.append(Preactivated(cin, width << stage, 2 if stage and not place else 1))
                cin = width << stage
            self.add_module(f"layer{stage + 1}", blocks)
        self.bn, self.fc = nn.BatchNorm2d(cin), nn.Linear(cin, 10)


class Imagenet(nn.Module):
    """Four stages of two blocks with a 3x3 stem, as kuangliu's ResNet-18."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(3, width), nn.BatchNorm2d(width)
        cin = width
        for stage in range(4):
            cout = width << stage
            blocks = [Basic(cin, cout, 2 if stage else 1, "shortcut"), Basic(cout, cout, 1, "shortcut")]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            cin = cout
        self.linear = nn.Linear(cin, 10)


def name_as_keras(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers by kind and number, in the order in which the net calls them: conv2d, conv2d_1, ..."""
    leaves = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    found, layers, counts = {}, {}, {}
    for name, value in state.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        norm = f"{layer}.running_mean" in state
        kind = "batch_normalization" if norm else "dense" if value.ndim == 2 or "linear" in layer else "conv2d"
        if layer not in layers:
            number = counts[kind] = counts.get(kind, -1) + 1
            layers[layer] = f"{kind}_{number}" if number else kind
        leaf = {"weight": "gamma", "bias": "beta"}.get(leaf, leaf) if norm else leaf.replace("weight", "kernel")
        found[f"{layers[layer]}/{leaves.get(leaf, leaf)}:0"] = value
    return found
