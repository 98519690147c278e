import csv

import pytest
import torch
from places import GOLDEN

from degrade import nets
from degrade.nets.blocks import Gate
from degrade.nets.shortcuts import OPTIONS
from degrade.spec import NetSpec, parts

ROWS = list(csv.DictReader((GOLDEN / "sizes.csv").read_text().splitlines()))
KINDS = [(net, shortcut) for net, shortcuts in parts.SHORTCUTS.items() for shortcut in shortcuts]


def build(net="residual", shortcut="A", depth=8, **shape):
    keys = {"width", "pad", "gate_bias"} & shape.keys()
    made = NetSpec(net=net, shortcut=shortcut, depth=depth, **{key: shape.pop(key) for key in keys})
    return nets.build(made, **{"channels": 3, "classes": 10, **shape})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['net']}-{row['shortcut']}-{row['depth']}")
def test_parameters_and_multiply_adds_are_those_of_the_paper(row):
    cost = nets.cost(NetSpec(net=row["net"], shortcut=row["shortcut"], depth=int(row["depth"])))
    assert cost.parameters == int(row["parameters"])
    assert round(cost.multiply_adds / 1e6, 2) == float(row["multiply_adds_M"])


def test_every_option_of_a_net_of_known_sizes_has_a_row():
    """The sizes are computed by hand: a net that is added has none there until somebody computes its."""
    known = {row["net"] for row in ROWS}
    assert {"plain", "residual", "highway"} <= known
    assert {(row["net"], row["shortcut"]) for row in ROWS} == {kind for kind in KINDS if kind[0] in known}


def test_the_nets_that_can_be_built_are_those_that_a_spec_can_name():
    assert set(nets.NETS) == set(parts.SHORTCUTS)


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_the_sizes_of_a_net_are_what_its_layers_add_up_to(net, shortcut):
    spec, made, outputs = NetSpec(net=net, shortcut=shortcut, depth=8), build(net, shortcut).eval(), []
    for layer in made.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(lambda layer, _, y: outputs.append((layer.weight, y)))
    made(torch.zeros(1, 3, 32, 32))
    work = sum(weight.numel() * y.numel() // y.shape[1] for weight, y in outputs)  # each weight, at each place
    assert nets.cost(spec) == (sum(p.numel() for p in made.parameters()), work)


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_nets_of_one_seed_start_from_the_same_weights(net, shortcut):
    plain, other = build("plain", "none", seed=5).state_dict(), build(net, shortcut, seed=5).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in plain.items())
    assert not torch.equal(plain["stem.0.weight"], build(net, shortcut, seed=6).state_dict()["stem.0.weight"])


def test_initial_weights_have_the_variance_of_he():
    net = build(depth=20, width=64, seed=1)
    weight = net.get_parameter("stages.2.1.first.0.weight")  # 256 channels
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert net.head.bias.abs().sum() == 0


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
@pytest.mark.parametrize("size", [1, 7, 8, 32])
def test_any_size_channels_and_classes(net, shortcut, size):
    made = build(net, shortcut, channels=2, classes=5, width=3).eval()
    assert made(torch.randn(4, 2, size, size)).shape == (4, 5)


def test_other_initialisations_have_their_deviations():
    for init, wanted in (("xavier", (2 / (9 * 512)) ** 0.5), ("small", 0.01)):
        weight = build(depth=20, width=64, init=init).get_parameter("stages.2.1.first.0.weight")
        assert weight.std().item() == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("kind", ["residual", "highway"])
def test_without_normalisation_convolutions_have_biases(kind):
    net = build(kind, "C", 14, norm="none")
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    assert all(m.bias is not None for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_batch_norm_over_sub_batches_sees_each_alone():
    x = torch.randn(10, 3, 8, 8)
    whole, parts = build(depth=8), build(depth=8, bn_group=4)
    alone = torch.cat([build(depth=8)(part) for part in x.split(4)])
    assert torch.allclose(parts(x), alone, atol=1e-5)
    assert not torch.allclose(whole(x), alone, atol=1e-2)
    assert torch.equal(parts.eval()(x[:5]), parts(x[:5]))
    assert parts.state_dict().keys() == whole.state_dict().keys()


def test_option_a_adds_no_parameters():
    plain, residual = build("plain", "none", depth=14), build("residual", "A", depth=14)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in residual.parameters())


@pytest.mark.parametrize(("pad", "kept"), [("after", slice(0, 4)), ("split", slice(2, 6))])
def test_option_a_takes_every_second_pixel_and_pads_with_zeros(pad, kept):
    from degrade.nets.shortcuts import ZeroPad

    x = torch.arange(4 * 36.0).view(1, 4, 6, 6) + 1
    out = ZeroPad(4, 8, 2, pad)(x)
    assert out.shape == (1, 8, 3, 3)
    assert torch.equal(out[:, kept], x[:, :, ::2, ::2])
    assert out.sum() == x[:, :, ::2, ::2].sum()


def test_a_block_computes_its_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 5)
    block = nets.Residual(4, 4, 1, torch.nn.Identity()).eval()
    f = block.second(torch.relu(block.first(x)))
    assert torch.equal(block(x), torch.relu(f + x))
    plain = nets.Plain(4, 4, 1, torch.nn.Identity()).eval()
    plain.load_state_dict(block.state_dict())
    assert torch.equal(plain(x), torch.relu(f))


def test_a_highway_block_computes_its_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 5)
    block = nets.Highway(4, 6, 2, OPTIONS["A"](4, 6, 2, "after")).eval()
    h, carried = torch.relu(block.second(torch.relu(block.first(x)))), block.shortcut(x)
    t = torch.sigmoid(torch.nn.functional.conv2d(x[:, :, ::2, ::2], block.gate.weight, block.gate.bias))
    assert torch.allclose(block(x), t * h + (1 - t) * carried, atol=1e-6)


@pytest.mark.parametrize("shortcut", "ABC")
def test_an_open_gate_makes_a_plain_net_and_a_closed_one_hands_x_on(shortcut):
    torch.manual_seed(0)
    x, option = torch.randn(2, 4, 5, 5), OPTIONS[shortcut](4, 6, 2, "after")
    block, plain = nets.Highway(4, 6, 2, option).eval(), nets.Plain(4, 6, 2, option).eval()
    plain.load_state_dict({name: block.state_dict()[name] for name in plain.state_dict()})
    block.gate.bias.data.fill_(1e4)
    assert torch.equal(block(x), plain(x))
    block.gate.bias.data.fill_(-1e4)
    assert torch.equal(block(x), option(x))


def test_gates_begin_at_their_bias_and_nothing_else_does():
    made = build("highway", "B", gate_bias=-3.0)
    gates = [m for m in made.modules() if isinstance(m, Gate)]
    assert len(gates) == 3
    assert all((gate.bias == -3).all() for gate in gates)
    assert made.head.bias.abs().sum() == 0
    other = build("highway", "B", gate_bias=0.0).state_dict()
    assert {name for name, value in made.state_dict().items() if not torch.equal(value, other[name])} == {
        f"stages.{stage}.0.gate.bias" for stage in range(3)
    }


def test_nets_with_gates_are_those_that_the_spec_knows():
    gated = {
        net for net, options in parts.SHORTCUTS.items() if any("gate" in n for n in build(net, options[0]).state_dict())
    }
    assert gated == set(parts.GATED)


def test_highway_nets_take_the_projections_of_residual_nets():
    residual, highway = build("residual", "C", seed=5).state_dict(), build("highway", "C", seed=5).state_dict()
    assert all(torch.equal(value, highway[name]) for name, value in residual.items())


def test_projections_stand_where_the_option_wants_them():
    count = {
        s: sum(isinstance(m, nets.shortcuts.Projection) for m in build("residual", s, 20).modules()) for s in "ABC"
    }
    assert count == {"A": 0, "B": 2, "C": 9}


def test_the_deepest_net_of_the_paper_builds():
    assert sum(isinstance(m, torch.nn.Conv2d) for m in build(depth=1202).modules()) == 1201
