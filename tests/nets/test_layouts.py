"""Other people's published layouts open right or are refused, in whatever order a file has its names."""

import random
import re

import pytest
import torch
from published import Flat, Imagenet, Preresnet, Staged, fill, name_as_keras, sequential
from safetensors.torch import save

from degrade import nets
from degrade.errors import RunError
from degrade.nets import statedict
from degrade.nets.foreign import match, readings


def natural(name):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def shuffle(names):
    return random.Random(4).sample(names, len(names))


def shuffle_layers(names):
    """Layers at random, each with its tensors side by side."""
    layers = shuffle(list(dict.fromkeys(name.rpartition(".")[0] for name in names)))
    return sorted(names, key=lambda name: layers.index(name.rpartition(".")[0]))


ORDERS = {
    "file": list,
    "sorted": sorted,
    "natural": lambda names: sorted(names, key=natural),
    "shuffled": shuffle,
    "reversed": lambda names: names[::-1],
}
LAYOUTS = {  # net, what is told, what is found
    "akamaster": (lambda: Staged(4, 4, "split shortcut", "linear"), ("residual", "split"), "A"),
    "chenyaofo": (lambda: Staged(4, 4, "downsample", "fc"), (), "B"),
    "bearpaw": (lambda: Staged(1, 2, "downsample", "fc"), (), "B"),
    "shortcut": (lambda: Staged(2, 3, "shortcut", "linear"), (), "B"),
    "biases": (lambda: Staged(2, 2, "downsample", "fc", bias=True), (), "B"),
    "open_lth": (lambda: Flat(4, 2), (), "B"),
    "numbers": (lambda: sequential(4, 2), (), "B"),
}
WRAPPINGS = {
    "as it is": lambda state: state,
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model.net.{k}": v for k, v in state.items()}, "epoch": 3},
    "torch 0.3": lambda state: {name: value for name, value in state.items() if "batches" not in name},
    "half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    "double": lambda state: {k: v.double() if v.is_floating_point() else v for k, v in state.items()},
}


def compute(found, x):
    ours = nets.build(found.spec, channels=found.channels, classes=found.classes)
    ours.load_state_dict({**ours.state_dict(), **found.state})
    with torch.no_grad():
        return ours.eval()(x)


def same(theirs, found, tolerance=1e-4):
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return torch.allclose(compute(found, x), theirs(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_published_layout_says_the_same_in_any_order_of_its_names(layout, order):
    make, told, shortcut = LAYOUTS[layout]
    theirs = fill(make())
    state = theirs.state_dict()
    found = match(statedict.tensors_of({name: state[name] for name in ORDERS[order](list(state))}), *told)
    assert found.spec.shortcut == shortcut
    assert same(theirs, found)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("order", ["file", "shuffled"])
def test_wrappers_prefixes_and_precisions_change_nothing(wrapping, order):
    theirs = fill(Staged(4, 2, "downsample", "fc"))
    state = theirs.state_dict()
    wrapped = WRAPPINGS[wrapping]({name: state[name] for name in ORDERS[order](list(state))})
    assert same(theirs, match(statedict.tensors_of(wrapped)), 1e-2 if wrapping == "half" else 1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_names_of_keras_are_ordered_by_their_numbers_and_epsilon_is_told(order, eps):
    theirs = fill(Staged(2, 2, "downsample", "linear", bias=True))
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = eps
    state = name_as_keras(theirs.state_dict())
    found = match(statedict.tensors_of({name: state[name] for name in ORDERS[order](list(state))}), eps=eps)
    assert same(theirs, found, 1e-5)
    assert not same(theirs, found.with_eps(0.1))


def test_an_epsilon_of_others_leaves_projections_without_bn_as_they_are():
    theirs = fill(Staged(1, 2, "downsample", "fc"))
    for stage in (theirs.layer2, theirs.layer3):
        stage[0].downsample = stage[0].downsample[0]
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 1e-2
    assert same(theirs, match(statedict.tensors_of(theirs.state_dict()), eps=1e-2), 1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layers_in_another_order_than_their_numbers_are_the_same_net_or_open(layout):
    make, told, _ = LAYOUTS[layout]
    theirs = fill(make())
    state = theirs.state_dict()
    found = readings(statedict.tensors_of({name: state[name] for name in shuffle_layers(list(state))}), *told)
    assert same(theirs, found[0])
    if len(found) > 1:
        with pytest.raises(RunError, match="the order of the file is not that of the numbers in its names"):
            match(statedict.tensors_of({name: state[name] for name in shuffle_layers(list(state))}), *told)


REFUSED = {
    "pre-activation": (
        lambda: Preresnet(3, 2),
        r"layer2\.0\.bn1\.weight \(2\): a BN before layer2\.0\.conv1\.weight, so this is a pre-activation net",
    ),
    "ResNet-18": (lambda: Imagenet(2), r"17 3x3 convolutions, where .* four widths \(2, 4, 8, 16\) .*ResNet-18"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("order", ["file", "sorted", "shuffled"])
@pytest.mark.parametrize("stem", ["", "stem."])
def test_a_net_of_another_kind_is_refused_by_name(kind, order, stem):
    make, said = REFUSED[kind]
    state = {
        stem + name if name.startswith("conv1") else name: value for name, value in fill(make()).state_dict().items()
    }
    with pytest.raises(RunError, match=said):
        match(statedict.tensors_of({name: state[name] for name in ORDERS[order](list(state))}), "residual", "after")


@pytest.mark.parametrize("order", ["file", "sorted", "shuffled"])
def test_a_pre_activation_net_is_refused_where_names_have_no_modules(order):
    theirs = {name: value for name, value in fill(Preresnet(3, 2)).state_dict().items() if "batches" not in name}
    projections = {"layer2.0.proj.weight": torch.ones(4, 2, 1, 1), "layer3.0.proj.weight": torch.ones(8, 4, 1, 1)}
    joined = {}
    for name, value in (theirs | projections).items():
        layer, _, tensor = name.rpartition(".")
        flat = re.sub(r"layer(.).(.).", r"s\1_b\2_", layer)
        joined[f"{flat}.{tensor}"] = value
    with pytest.raises(RunError, match=r"s[23]_b0_bn1\.weight \(\d\): a BN before s[23]_b0_conv1\.weight"):
        match(statedict.tensors_of({name: joined[name] for name in ORDERS[order](list(joined))}))


def test_where_no_name_tells_that_bn_comes_after_its_convolution_this_is_an_assumption():
    state = fill(Staged(1, 2, "downsample", "fc")).state_dict()
    assert match(statedict.tensors_of(state)).placed
    assert not match(statedict.tensors_of(name_as_keras(state))).placed


def test_kernels_in_the_order_of_tensorflow_are_refused_with_the_way_out():
    state = {
        name: value.permute(2, 3, 1, 0).contiguous() if value.ndim == 4 else value
        for name, value in Staged(1, 4, "downsample", "fc").state_dict().items()
    }
    with pytest.raises(RunError, match=r"conv1\.weight \(3x3x3x4\): a kernel as .*permute\(3, 2, 0, 1\)"):
        match(statedict.tensors_of(state))


def test_option_a_demands_where_its_zeros_go():
    state = statedict.tensors_of(fill(Staged(1, 4, "split shortcut", "linear")).state_dict())
    with pytest.raises(RunError, match=r"option A, and no tensor tells .* say --pad after or --pad split"):
        match(state, "residual")
    assert [each.spec.pad for each in readings(state, "residual")] == ["after", "split"]


def test_functional_names_and_names_joined_by_underscores_open():
    theirs = fill(Staged(2, 2, "downsample", "fc"))
    state = theirs.state_dict()
    bare = {name.removesuffix(".weight") if value.ndim > 1 else name: value for name, value in state.items()}
    joined = {name.replace(".", "_"): value for name, value in state.items()}
    for names in (bare, joined):
        for order in ("file", "shuffled"):
            moved = {name: names[name] for name in ORDERS[order](list(names))}
            assert same(theirs, match(statedict.tensors_of(moved)))


@pytest.mark.parametrize("order", [*ORDERS.values(), shuffle_layers])
def test_layers_of_numbers_alone_open_in_any_order(order):
    theirs = fill(Staged(2, 2, "downsample", "fc"))
    state = {name: value for name, value in theirs.state_dict().items() if "batches" not in name}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    numbered = {f"{layers.index(n.rpartition('.')[0])}.{n.rpartition('.')[2]}": value for n, value in state.items()}
    assert same(theirs, match(statedict.tensors_of({name: numbered[name] for name in order(list(numbered))})))


WORDS = {"layer1.0": "layer1.front", "layer1.1": "layer1.middle", "layer1.2": "layer1.back"}


def rename(state, words):
    for old, new in words.items():
        state = {name.replace(f"{old}.", f"{new}."): value for name, value in state.items()}
    return state


def test_words_are_read_in_the_order_of_a_file_as_it_was_written_and_this_is_said():
    theirs = fill(Staged(3, 2, "downsample", "fc"))
    found = match(statedict.tensors_of(rename(theirs.state_dict(), WORDS)))
    assert found.by_file
    assert same(theirs, found)
    assert not match(statedict.tensors_of(theirs.state_dict())).by_file


@pytest.mark.parametrize("order", ["sorted", "shuffled", "safetensors"])
def test_words_in_a_file_that_has_lost_its_order_are_refused(order):
    state = rename(fill(Staged(3, 2, "downsample", "fc")).state_dict(), WORDS)
    content = (
        statedict.read(save(state)) if order == "safetensors" else {k: state[k] for k in ORDERS[order](list(state))}
    )
    with pytest.raises(RunError, match=r"which comes first, layer1\.\w+\.\w+\.weight or layer1\.\w+\.\w+\.weight\?"):
        match(statedict.tensors_of(content))


def test_sorted_kernels_without_bn_are_no_file_as_it_was_written():
    """Each layer has one tensor, so nothing but the order of the names gives the sorting away."""
    state = rename(fill(Staged(3, 2, "downsample", "fc")).state_dict(), WORDS)
    kernels = {name: value for name, value in state.items() if value.ndim > 1}
    assert match(statedict.tensors_of(kernels)).by_file
    with pytest.raises(RunError, match="which comes first"):
        match(statedict.tensors_of({name: kernels[name] for name in sorted(kernels)}))


def test_the_block_that_changes_the_width_comes_first_whatever_its_name():
    theirs = fill(Staged(2, 2, "downsample", "fc"))
    state = rename(theirs.state_dict(), {"layer2.0": "layer2.down", "layer2.1": "layer2.again.0"})
    found = match(statedict.tensors_of({name: state[name] for name in sorted(state)}))
    assert same(theirs, found)
    assert not found.by_file


def test_lists_of_first_and_second_layers_are_no_order_of_blocks():
    """conv1.0, conv1.1, ... conv2.0, conv2.1: numbers that say which layer of a block it is come last in a net."""
    state = fill(Staged(3, 2, "downsample", "fc")).state_dict()
    moved = {re.sub(r"^(layer\d)\.(\d)\.(conv|bn)(\d)", r"\1.\3\4.\2", name): value for name, value in state.items()}
    for order in ORDERS:
        with pytest.raises(RunError, match="which comes first"):
            match(statedict.tensors_of({name: moved[name] for name in ORDERS[order](list(moved))}))
