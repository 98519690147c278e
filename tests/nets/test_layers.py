import pytest
import torch

from degrade.nets import build
from degrade.nets.layers import blocks, conv_layers
from degrade.spec import NetSpec
from degrade.spec.parts import SHORTCUTS

KINDS = [(net, shortcut) for net in SHORTCUTS for shortcut in SHORTCUTS[net]]


def net_of(net="residual", shortcut="C", depth=20, **variant):
    return build(NetSpec(net=net, shortcut=shortcut, depth=depth, width=4), channels=1, classes=10, **variant)


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
@pytest.mark.parametrize("variant", [{}, {"norm": "none"}, {"bn_group": 4}], ids=str)
def test_every_net_has_6n_plus_1_layers_of_3x3_in_3n_blocks(net, shortcut, variant):
    made = net_of(net, shortcut, 20, **variant)
    layers, found = conv_layers(made), blocks(made)
    assert [layer.index for layer in layers] == list(range(1, 20))
    assert [block.index for block in found] == list(range(1, 10))
    assert [layer for block in found for layer in block.layers] == layers[1:]
    assert {len(block.layers) for block in found} == {2}


def test_layers_and_blocks_say_where_they_are():
    made = net_of(depth=14)
    layers, found = conv_layers(made), blocks(made)
    places = [(one.index, one.name, one.stage, one.block, one.place) for one in layers]
    assert places[:2] == [(1, "stem", 0, 0, 0), (2, "stages.0.0.first", 1, 1, 1)]
    assert places[-1] == (13, "stages.2.1.second", 3, 2, 2)
    assert [(one.index, one.name, one.stage, one.block) for one in found][-1] == (6, "stages.2.1", 3, 2)
    assert all(made.get_submodule(one.name) is one.module for one in [*layers, *found])


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_layers_come_in_the_order_in_which_a_picture_passes_them(net, shortcut):
    made, seen = net_of(net, shortcut), []
    for layer in conv_layers(made):
        layer.module.register_forward_hook(lambda *_, index=layer.index: seen.append(index))
    made(torch.zeros(2, 1, 8, 8))
    assert seen == list(range(1, 20))
