"""Nets as others write them, with their own modules and names: once matched, our net must compute the same."""

import json
import random
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn

from degrade import nets
from degrade.errors import RunError, SpecError
from degrade.nets import statedict
from degrade.nets.foreign import match
from degrade.spec import NetSpec


class TheirBlock(nn.Module):
    """A basic block as in most repositories; `kind`: plain, after, split, B, C."""

    def __init__(self, cin, cout, stride, kind, bias, projected):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(cout)
        self.kind, self.stride = kind, stride
        if kind == "C" or (kind == "B" and cin != cout):
            after = [nn.BatchNorm2d(cout)] if projected else []
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=bias), *after)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.kind == "plain":
            return F.relu(y)
        if hasattr(self, "shortcut"):
            return F.relu(y + self.shortcut(x))
        more = y.shape[1] - x.shape[1]
        left = more // 2 if self.kind == "split" else 0
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, left, more - left)))


class TheirNet(nn.Module):
    def __init__(self, kind, n=1, width=4, channels=3, classes=7, bias=False, projected=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width)
        widths = [width, *(width << (place // n) for place in range(3 * n))]
        self.layers = nn.Sequential(
            *(TheirBlock(a, b, 1 if a == b else 2, kind, bias, projected) for a, b in pairwise(widths))
        )
        self.linear = nn.Linear(4 * width, classes)
        draws = torch.Generator().manual_seed(1)
        for name, value in self.state_dict().items():  # as after a training: nothing is 0 or 1
            if "batches" not in name:
                value.copy_(torch.rand(value.shape, generator=draws) * (1.0 if value.ndim == 1 else 0.2) + 0.02)
        self.eval()

    def forward(self, x):
        return self.linear(self.layers(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


def same(theirs, found):
    """Whether our net with the matched tensors computes the same as theirs."""
    ours = nets.build(found.spec, channels=found.channels, classes=found.classes)
    ours.load_state_dict({**ours.state_dict(), **found.state})
    x = torch.randn(5, found.channels, 9, 9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return torch.allclose(ours.eval()(x), theirs(x), rtol=1e-4, atol=1e-4)


def tensors(net):
    return statedict.tensors_of(net.state_dict())


SHORTCUT = {"plain": "none", "after": "A", "split": "A", "B": "B", "C": "C"}


@pytest.mark.parametrize("kind", SHORTCUT)
@pytest.mark.parametrize(("n", "width", "channels"), [(1, 4, 3), (3, 5, 1), (2, 3, 3)])
def test_a_net_of_others_says_the_same_as_ours(kind, n, width, channels):
    theirs = TheirNet(kind, n, width, channels)
    told = {"plain": "plain", "after": "residual", "split": "residual"}.get(kind)
    found = match(tensors(theirs), told, "split" if kind == "split" else "after")
    net = "plain" if kind == "plain" else "residual"
    pad = "split" if kind == "split" else "after"
    assert found.spec == NetSpec(net=net, shortcut=SHORTCUT[kind], depth=6 * n + 2, width=width, pad=pad)
    assert (found.channels, found.classes) == (channels, 7)
    assert same(theirs, found)


def test_where_zeros_go_matters():
    assert not same(TheirNet("split"), match(tensors(TheirNet("split")), "residual", "after"))


@pytest.mark.parametrize("kind", ["B", "C"])
@pytest.mark.parametrize("options", [{"bias": True}, {"projected": False}, {"bias": True, "projected": False}], ids=str)
def test_biases_of_convolutions_and_projections_without_bn_are_kept(kind, options):
    theirs = TheirNet(kind, 2, **options)
    assert same(theirs, match(tensors(theirs)))


NAMINGS = {
    "prefixed": lambda place, name: f"module.{name}",
    "compiled": lambda place, name: f"_orig_mod.net.{name}",
    "numbered": lambda place, name: f"module.t{place}",
    "each a module": lambda place, name: f"module.x{place}.weight",
    "as in other frameworks": lambda place, name: (
        name.replace("bn1.weight", "bn1.gamma").replace("running_mean", "moving_mean").replace("running_var", "var")
    ),
    "convolutions apart": lambda place, name: ("norms." if "bn" in name else "rest.") + name,
}


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("options", [{"kind": "C", "bias": True}, {"kind": "B", "projected": False}], ids=str)
def test_names_do_not_count(naming, options):
    theirs = TheirNet(n=3, **options)
    state = {NAMINGS[naming](place, name): value for place, (name, value) in enumerate(theirs.state_dict().items())}
    assert len(state) == len(theirs.state_dict())
    assert same(theirs, match(statedict.tensors_of(state)))


def test_all_convolutions_before_all_batch_norms_pair_up_too():
    theirs = TheirNet("C", 2)
    whole = tensors(theirs)
    for order in (lambda name: "bn" in name or "shortcut.1" in name, lambda name: "linear" in name):
        moved = {name: whole[name] for name in sorted(whole, key=order)}
        assert same(theirs, match(moved))
    flat = {f"t{place}": moved[name] for place, name in enumerate(moved)}
    assert same(theirs, match(flat))


def test_batch_norm_folded_away_or_without_weights_is_the_same_net():
    theirs = TheirNet("B", bias=True)
    plain = {name: value for name, value in tensors(theirs).items() if "conv" in name or "linear" in name}
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    bare = {name: value for name, value in tensors(theirs).items() if "bn1.weight" not in name}
    assert same(theirs, match(bare))
    theirs.load_state_dict({**theirs.state_dict(), **plain})
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-30  # torch 2.10 takes no 0; running_var is 1: nothing is left of it
    plain |= {name: value for name, value in tensors(theirs).items() if name.endswith("shortcut.0.weight")}
    plain |= {name: value for name, value in tensors(theirs).items() if name.endswith("shortcut.0.bias")}
    assert same(theirs, match(plain))


RENAMED = {"conv1.": "stem.conv.", "bn1.": "stem.norm.", "layers": "body"}


@pytest.mark.parametrize("renamed", [{}, RENAMED], ids=["usual", "stem last"])
def test_safetensors_are_brought_into_the_order_of_their_numbers(renamed):
    theirs = TheirNet("C", n=4)  # twelve blocks: 10 and 11 come before 2 in the file
    state = theirs.state_dict()
    for old, new in renamed.items():
        state = {new + name[len(old) :] if name.startswith(old) else name: value for name, value in state.items()}
    found = match(statedict.tensors_of(statedict.read(save(state))))
    assert found.spec.depth == 26
    assert same(theirs, found)


def test_safetensors_whose_order_hangs_on_words_are_refused():
    words = {f"layers.{place}": f"layers.{word}" for place, word in enumerate(("alpha", "one", "two", "three"))}
    state = {}
    for name, value in TheirNet("C", n=4).state_dict().items():
        for old, new in words.items():
            name = name.replace(old + ".", new + ".")
        state[name] = value
    with pytest.raises(RunError, match=r"first, layers\.alpha\.conv\d\.weight or layers\.\w+\.conv\d\.weight\? Nei"):
        match(statedict.tensors_of(statedict.read(save(state))))


@pytest.mark.parametrize("kind", ["half", "double", "bfloat16"])
def test_other_precisions_become_float32(kind):
    theirs = TheirNet("B")
    state = {k: getattr(v, kind)() if v.is_floating_point() else v for k, v in theirs.state_dict().items()}
    found = match(statedict.tensors_of(state))
    assert {value.dtype for value in found.state.values()} == {torch.float32}
    if kind == "double":
        assert same(theirs, found)


def without(*names):
    return lambda state: [state.pop(name) for name in names]


def reshaped(name, *shape):
    return lambda state: state.update({name: torch.zeros(*shape)})


MISFITS = {
    "a 7x7 stem": (reshaped("conv1.weight", 4, 3, 7, 7), r"conv1\.weight \(4x3x7x7\): has no place"),
    "a convolution less": (
        without("layers.1.conv1.weight"),
        r"layers\.1\.bn2\.weight: convolutions and batch norms do not pair up here \(8 and 9 in all\)",
    ),
    "another width": (
        reshaped("layers.1.conv1.weight", 9, 4, 3, 3),
        r"layers\.1\.bn1\.weight \(8\): must be 9, as many as layers\.1\.conv1\.weight puts out",
    ),
    "wrong input": (
        reshaped("layers.2.conv2.weight", 16, 8, 3, 3),
        r"layers\.2\.conv2\.weight \(16x8x3x3\): must be 16x16x3x3, as stages\.2\.0\.second\.0 of a net of 8",
    ),
    "a wrong head": (reshaped("linear.weight", 7, 99), r"linear\.weight \(7x99\): must be 7x16, as head of a net"),
    "two heads": (reshaped("more.weight", 7, 16), r"2 linear layers, the second being more\.weight"),
    "no head": (without("linear.weight", "linear.bias"), "0 linear layers"),
    "no running mean": (
        without("layers.0.bn2.running_mean"),
        r"layers\.0\.bn2\.running_mean: missing; without running statistics",
    ),
    "a projection less": (
        without("layers.2.shortcut.0.weight", *(f"layers.2.shortcut.1.{k}" for k in ("weight", "bias"))),
        r"layers\.2\.shortcut\.1\.running_mean: convolutions and batch norms do not pair up here \(8 and 9 in all\)",
    ),
    "something else": (reshaped("layers.0.se.mask", 4, 4, 4), r"layers\.0\.se\.mask \(4x4x4\): has no place"),
    "a lone bias": (reshaped("extra.bias", 4), r"extra\.bias \(4\): has no place"),
    "a number": (lambda state: state.update({"scale": torch.tensor(2.0)}), r"scale \(a number\): has no place"),
    "integers": (
        lambda state: state.update({"linear.weight": torch.zeros(7, 16, dtype=torch.int8)}),
        r"linear\.weight: torch\.int8 is no plain tensor",
    ),
    "a gate": (
        reshaped("layers.0.gate.0.weight", 4, 4, 1, 1),
        r"layers\.0\.gate\.0\.weight: a gate; highway nets are opened from runs",
    ),
    "one projection": (
        without(*(name for name in TheirNet("B").state_dict() if "2.shortcut" in name)),
        r"layers\.1\.shortcut\.0\.weight: one of 1 1x1 convolutions, where 8 layers have 2 \(option B\), 3 \(opt",
    ),
    "a block less": (
        without(*(name for name in TheirNet("B").state_dict() if "layers.0" in name)),
        r"5 3x3 convolutions, where the nets of Sec\. 4\.2 have 6n\+1: 7, 13, 19",
    ),
    "eight convolutions": (
        lambda state: state.update({"x.weight": torch.zeros(4, 4, 3, 3)}),
        r"x\.weight: convolutions and batch norms do not pair up here \(10 and 9 in all\)",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_named(misfit):
    change, said = MISFITS[misfit]
    state = dict(TheirNet("B").state_dict())
    change(state)
    with pytest.raises(RunError, match=said):
        match(statedict.tensors_of(state))


def test_no_change_to_a_state_dict_does_worse_than_an_error_of_one_line():
    draws = random.Random(3)
    shapes = ((), (4,), (8,), (8, 4), (4, 4, 3, 3), (8, 4, 1, 1), (0,), (0, 0, 3, 3))
    original, lines, fitting = TheirNet("B").state_dict(), [], 0
    for _ in range(300):
        state = dict(original)
        for _ in range(draws.randint(1, 3)):
            name = draws.choice(list(state))
            value = state.pop(name)
            changed = [{}, {f"{name}.{draws.randint(0, 9)}": value}, {name: torch.ones(draws.choice(shapes))}]
            state |= draws.choice(changed)
        try:
            found = match(statedict.tensors_of(state), draws.choice([None, "plain", "residual"]))
            nets.build(found.spec, channels=found.channels, classes=found.classes).load_state_dict(found.state, False)
            fitting += 1
        except (RunError, SpecError) as error:
            lines.append(str(error))
    assert not [line for line in lines if "\n" in line]
    assert fitting
    assert len({line.split(":")[0] for line in lines}) > 50


def test_plain_and_option_a_need_to_be_told_apart():
    with pytest.raises(RunError, match="have the same tensors; say --net plain or residual"):
        match(tensors(TheirNet("after")))
    with pytest.raises(RunError, match="a projection, which plain nets do not have"):
        match(tensors(TheirNet("C")), "plain")
    with pytest.raises(SpecError, match="--net=highway"):
        match(tensors(TheirNet("C")), "highway")
    with pytest.raises(SpecError, match="pad=left"):
        match(tensors(TheirNet("after")), "residual", "left")


WRAPPED = {
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"m": torch.ones(3)}}}},
    "twice": lambda state: {"model": {"state_dict": state}, "best_acc": 92.1},
    "beside a tensor": lambda state: {"net": state, "best_acc": torch.tensor(92.1)},
    "params": lambda state: {"params": state},
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_state_dicts_are_found_in_what_trainings_save(wrapped):
    theirs = TheirNet("B")
    assert same(theirs, match(statedict.tensors_of(WRAPPED[wrapped](theirs.state_dict()))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(3)], "holds a list, no state dict"),
        ({"model": {"state_dict": 3}}, "holds no tensors with names"),
        ({"epoch": 3}, "holds no tensors with names"),
        (
            {"model": {"a": torch.ones(3)}, "state_dict": {"a": torch.ones(3)}},
            "several state dicts, state_dict and mod",
        ),
        (torch.ones(3), "holds a Tensor"),
    ],
)
def test_what_holds_no_state_dict_is_refused(content, said):
    with pytest.raises(RunError, match=said):
        statedict.tensors_of(content)


def test_names_that_would_move_the_cursor_are_escaped():
    with pytest.raises(RunError) as refused:
        match(statedict.tensors_of({"a\x1b[2J\n.weight": torch.zeros(3, 3, 3)}))
    assert str(refused.value).isprintable()


def test_a_mapping_that_holds_itself_is_refused():
    content: dict = {}
    content["model"] = content
    with pytest.raises(RunError, match="one mapping in another without end"):
        statedict.tensors_of(content)


def test_numbers_that_torch_does_not_have_are_refused():
    header = json.dumps({"x": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [0, 2]}}).encode()
    with pytest.raises(RunError) as refused:
        statedict.read(len(header).to_bytes(8, "little") + header + b"ab")
    assert "\n" not in str(refused.value)
