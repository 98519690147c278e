"""Finds the 3x3 layers and the blocks on the main path of a net, in order, and says where each is.

They are known by their build, so that a new block need not list its layers. A 3x3 layer is a pair: a 3x3 convolution
and a normalisation (or the nn.Identity that `norm: none` leaves). A block is a child of a stage. Projections (1x1) and
gates (no normalisation) are no layers of the main path.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

_STAGES = "stages"  # the child of a net that holds its stages: stages.<stage - 1>.<block - 1>


@dataclass(frozen=True, slots=True)
class Layer:
    """One 3x3 layer. Its output is taken after normalisation, before ReLU or addition."""

    index: int  # from 1, the stem, to 6n+1
    name: str  # path of the pair inside the net: stages.0.2.first
    stage: int  # 0: the stem; 1, 2, 3 (Sec. 4.2)
    block: int  # place of the block in its stage, from 1; 0 outside the stages
    place: int  # place of the layer in its block, from 1; 0 outside the stages
    module: nn.Sequential


@dataclass(frozen=True, slots=True)
class Block:
    """One block, and its 3x3 layers in order."""

    index: int  # from 1 to 3n
    name: str  # path inside the net: stages.0.2
    stage: int
    block: int
    module: nn.Module
    layers: tuple[Layer, ...]


def conv_layers(net: nn.Module) -> list[Layer]:
    """Lists every 3x3 layer of a net, from the stem on."""
    found: list[Layer] = []
    for index, (name, module) in enumerate(_find_pairs(net), 1):
        stage, block = _place_of(name)
        before = [layer for layer in found if stage and (layer.stage, layer.block) == (stage, block)]
        found.append(Layer(index, name, stage, block, len(before) + 1 if stage else 0, module))
    return found


def blocks(net: nn.Module) -> list[Block]:
    """Lists every block of a net, from the first block of stage 1 on."""
    layers, found = conv_layers(net), list[Block]()
    for name, module in net.named_modules():
        if name.startswith(f"{_STAGES}.") and name.count(".") == 2:
            stage, block = _place_of(name)
            own = tuple(layer for layer in layers if (layer.stage, layer.block) == (stage, block))
            found.append(Block(len(found) + 1, name, stage, block, module, own))
    return found


def _find_pairs(net: nn.Module) -> Iterator[tuple[str, nn.Sequential]]:
    for name, module in net.named_modules():
        if isinstance(module, nn.Sequential) and len(module) == 2:
            conv = module[0]
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                yield name, module


def _place_of(name: str) -> tuple[int, int]:
    """(stage, block) of a module by its path; (0, 0) outside the stages."""
    first, *inner = name.split(".")
    return (int(inner[0]) + 1, int(inner[1]) + 1) if first == _STAGES and len(inner) > 1 else (0, 0)
