"""The responses of layers, by claims; tests/figures/test_responses.py tests their figures."""

from itertools import pairwise

import pytest
import torch
from conftest import gpu
from torch import nn

from degrade import nets
from degrade.nets.layers import blocks, conv_layers
from degrade.nets.responses import measure
from degrade.spec import NetSpec
from degrade.spec.parts import SHORTCUTS

KINDS = [(net, shortcut) for net, shortcuts in SHORTCUTS.items() for shortcut in shortcuts]
X = torch.randn(23, 2, 12, 12, generator=torch.Generator().manual_seed(0))


def trained(net="residual", shortcut="A", depth=14, **options):
    """A net whose BN statistics and scales differ from the initial ones."""
    torch.manual_seed(1)
    made = nets.build(NetSpec(net=net, shortcut=shortcut, depth=depth, width=4), channels=2, classes=5, **options)
    for norm in (m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return made.eval()


def measured(net, size=23, **options):
    return measure(net, X.split(size), iteration=7, split="test", **options)


def by_hooks(net):
    """Fig. 7 as anybody would write it: (std pooled, std by channel, mean) of every 3x3 layer after BN, in order."""
    found = []
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d) and "shortcut" not in name:
            module.register_forward_hook(lambda m, i, y: found.append(y.detach()))
    net.eval()(X)
    return [(y.std(correction=0), y.std((0, 2, 3), correction=0).mean(), y.mean()) for y in found]


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_responses_are_those_of_an_independent_hook_script(net, shortcut):
    layers, _ = measured(trained(net, shortcut))
    wanted = by_hooks(trained(net, shortcut))
    assert len(layers) == len(wanted) == 13
    for row, (std, std_channel, mean) in zip(layers, wanted, strict=True):
        assert (row.std, row.std_channel) == pytest.approx((std.item(), std_channel.item()), rel=1e-5)
        assert row.mean == pytest.approx(mean.item(), abs=1e-5)


@pytest.mark.parametrize("size", [1, 5, 22])
def test_responses_do_not_depend_on_the_batch_size(size):
    for ours, whole in zip(measured(trained(), size), measured(trained()), strict=True):
        for one, other in zip(ours, whole, strict=True):
            for name in set(type(one).__slots__) - {"name", "split", "bn"}:
                assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5, abs=1e-7)


def test_every_3x3_layer_has_a_row_in_order_and_no_projection():
    layers, own_blocks = measured(trained("residual", "C"))
    assert [row.layer for row in layers] == list(range(1, 14))
    assert [row.name for row in layers][:4] == ["stem", "stages.0.0.first", "stages.0.0.second", "stages.0.1.first"]
    assert [(row.stage, row.block, row.place) for row in layers][-2:] == [(3, 2, 1), (3, 2, 2)]
    assert [(row.stage, row.block) for row in own_blocks] == [(s, b) for s in (1, 2, 3) for b in (1, 2)]
    assert {row.n for row in [*layers, *own_blocks]} == {23}


@pytest.mark.parametrize("net", ["plain", "residual"])
def test_a_block_is_measured_by_its_formula(net):
    made = trained(net, SHORTCUTS[net][0])
    x = torch.relu(made.stem(X))
    for row, block in zip(measured(made)[1], blocks(made), strict=True):
        y, (first, second) = block.module(x), (layer.module for layer in block.layers)
        f = second(torch.relu(first(x)))
        same = x
        if y.shape != x.shape:  # option A: every second pixel, zeros for new channels
            same = torch.cat([x[:, :, ::2, ::2], torch.zeros_like(y[:, x.shape[1] :])], 1)
        assert row.change == pytest.approx((f.norm() / x.norm()).item(), rel=1e-5)
        assert row.distance == pytest.approx(((y - same).norm() / same.norm()).item(), rel=1e-5)
        assert row.opening == float(net == "residual")
        x = y


def test_a_residual_block_that_adds_nothing_is_the_identity():
    made = trained()
    for block in blocks(made):
        for parameter in block.layers[-1].module[1].parameters():
            nn.init.zeros_(parameter)
    rows = measured(made)[1]
    assert [row.change for row in rows] == [0.0] * 6
    assert [row.distance for row in rows] == [0.0] * 6


def test_batch_statistics_normalise_each_layer_to_its_scale():
    """Under batch statistics the std of a channel is |gamma|, so the mean over channels is the mean of |gamma|."""
    made = trained()
    layers, _ = measured(made, bn="batch")
    for row, layer in zip(layers, conv_layers(made), strict=True):
        assert row.std_channel == pytest.approx(layer.module[1].weight.abs().mean().item(), rel=1e-3)
    assert [row.std for row in layers] != [row.std for row in measured(trained())[0]]


def test_a_net_without_normalisation_is_measured_after_its_convolutions():
    layers, _ = measured(trained(norm="none"))
    assert len(layers) == 13
    assert all(row.std > 0 for row in layers)


def test_measuring_leaves_no_hook_and_no_change_behind():
    made = trained()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    first, second = measured(made), measured(made)
    assert first == second
    assert not any(module._forward_hooks for module in made.modules())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_dead_signal_that_nothing_is_added_to_has_no_change_and_else_an_infinite_one():
    made = trained("plain", "none")
    nn.init.constant_(made.stem[1].weight, 0)
    nn.init.constant_(made.stem[1].bias, -1)
    assert (measured(made)[1][0].distance, measured(made)[1][0].change) == (float("inf"), float("inf"))
    nn.init.zeros_(made.stages[0][0].second[1].weight)
    nn.init.zeros_(made.stages[0][0].second[1].bias)
    assert (measured(made)[1][0].distance, measured(made)[1][0].change) == (0.0, 0.0)


def test_rows_are_in_the_order_of_the_net():
    rows = measured(trained())[0]
    assert all(one.layer + 1 == other.layer for one, other in pairwise(rows))


@gpu
def test_a_gpu_measures_the_same_but_for_rounding():
    here, there = measured(trained()), measure(trained().cuda(), [X.cuda()], iteration=7, split="test")
    for one, other in zip([*here[0], *here[1]], [*there[0], *there[1]], strict=True):
        for name in {"std", "mean", "change", "distance"} & set(type(one).__slots__):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-3)
