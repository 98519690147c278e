"""The nets of the solution by construction of Sec. 1."""

import pytest
import torch
from torch import nn

from degrade import nets
from degrade.errors import SpecError
from degrade.nets.deepen import deepen
from degrade.spec import NetSpec
from degrade.spec.parts import SHORTCUTS

KINDS = [(net, shortcut) for net, shortcuts in SHORTCUTS.items() for shortcut in shortcuts]
X = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net_of(net, shortcut, **options):
    """A net of 8 layers after a few training-mode passes, so that its statistics fit its features."""
    spec = NetSpec(net=net, shortcut=shortcut, depth=8, width=4)
    made = nets.build(spec, channels=3, classes=5, **options).train()
    for norm in (m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias, std=0.3)
    with torch.no_grad():
        for _ in range(60):
            made(X)
    return made.eval(), spec


def deeper(net, shortcut, depth=26, *, norm="batch", **options):
    made, spec = net_of(net, shortcut, norm=norm)
    return made, deepen(made, spec, depth, lambda: X.split(16), norm=norm, **options)


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_the_deeper_net_computes_the_same(net, shortcut):
    made, deep = deeper(net, shortcut)
    with torch.no_grad():
        one, other = made(X), deep(X)
    assert torch.allclose(one, other, atol=1e-4)
    assert torch.equal(one.argmax(1), other.argmax(1))
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in deep.modules()) == 25


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_exact_is_exact_to_the_bit(net, shortcut):
    made, deep = deeper(net, shortcut, exact=True)
    with torch.no_grad():
        assert torch.equal(made(X), deep(X))


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_matched_identities_survive_training_mode_and_exact_ones_of_plain_nets_do_not(net, shortcut):
    with torch.no_grad():
        made, deep = deeper(net, shortcut)
        wanted = made.train()(X)
        near = (deep.train()(X) - wanted).abs().max()
        far = (deeper(net, shortcut, exact=True)[1].train()(X) - wanted).abs().max()
    assert near < 0.05 * wanted.abs().max()
    assert near < 0.2 * far or near == far == 0 or (net, shortcut) != ("plain", "none")


@pytest.mark.parametrize("net", SHORTCUTS)
def test_nets_without_normalisation_are_deepened_too(net):
    made, deep = deeper(net, SHORTCUTS[net][0], norm="none")
    with torch.no_grad():
        assert torch.allclose(made(X), deep(X), atol=1e-4)


@pytest.mark.parametrize("net", SHORTCUTS)
def test_a_gradient_reaches_what_was_added(net):
    _, deep = deeper(net, SHORTCUTS[net][0])
    nn.functional.cross_entropy(deep.train()(X), torch.arange(40) % 5).backward()
    last = deep.get_parameter("stages.2.3.second.1.weight").grad
    assert last is not None
    assert last.abs().sum() > 0


@pytest.mark.parametrize("depth", [8, 2, 12])
def test_a_depth_that_is_not_above_or_not_of_the_family_is_refused(depth):
    with pytest.raises(SpecError, match=f"depth={depth}: "):
        deeper("plain", "none", depth)


def test_what_was_copied_is_left_alone():
    made, spec = net_of("plain", "none")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    deepen(made, spec, 14, lambda: X.split(7))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert not any(module._forward_hooks for module in made.modules())
