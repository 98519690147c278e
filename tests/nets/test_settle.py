"""Which of several readings a file has is settled by its BN statistics on pictures, or it is refused."""

import pytest
import torch
from torch import nn

from degrade import nets
from degrade.errors import RunError
from degrade.nets.agreement import Shown, make_views, measure
from degrade.nets.foreign import readings
from degrade.nets.settle import RIVALS, settle
from degrade.spec import NetSpec

ONE = torch.ones(1, 1, 1)


def draw(n, seed):
    """Pictures with a grain, brighter to one side, so that means, deviations and places all matter."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=draws).repeat_interleave(4, 2).repeat_interleave(4, 3)
    light = torch.linspace(0.1, 0.7, 16) * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1)
    return (0.3 * coarse + light + 0.1 * torch.rand(n, 3, 16, 16, generator=draws)).clamp(0, 1)


PIXELS = draw(400, 0)
MEAN, DEVIATION = PIXELS.mean((0, 2, 3)).view(3, 1, 1), PIXELS.std((0, 2, 3)).view(3, 1, 1)
SCALES = {
    "channel": (MEAN, DEVIATION),
    "pixel": (PIXELS.mean(0), None),
    "0 to 1": (0 * ONE, None),
    "-1 to 1": (0.5 * ONE, 0.5 * ONE),
    "0 to 255": (0 * ONE, ONE / 255),
}
SHOWN = draw(128, 1)  # others than those of the statistics


def crop(x):
    """Pads by 2 of 16 with zeros, crops and mirrors each picture at random."""
    draws = torch.Generator().manual_seed(11)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    places = torch.randint(0, 5, (len(x), 2), generator=draws).tolist()
    cut = torch.stack([each[:, i : i + 16, j : j + 16] for each, (i, j) in zip(padded, places, strict=True)])
    return torch.where(torch.rand(len(x), 1, 1, 1, generator=draws) < 0.5, cut.flip(3), cut)


def train(spec, scale="channel", change=None, eps=1e-5, shown=PIXELS, augment=lambda x: x):
    """The state dict of a net whose BN has met pictures: random weights, and statistics of 400 pictures."""
    net = nets.build(spec, channels=3, classes=5, seed=3)
    if change:
        change(net)
    mean, deviation = SCALES[scale]
    draws = torch.Generator().manual_seed(7)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.eps = None, eps
            with torch.no_grad():
                layer.weight.copy_(0.5 + torch.rand(layer.weight.shape, generator=draws))
                layer.bias.copy_(0.4 * torch.randn(layer.bias.shape, generator=draws))
    x = shown - mean
    with torch.no_grad():
        net.train()(augment(x if deviation is None else x / deviation))
    return {name: value for name, value in net.state_dict().items() if "batches" not in name}


def kind(net="residual", pad="after", shortcut="A", depth=14):
    return NetSpec(net=net, shortcut=shortcut, pad=pad, depth=depth, width=8)


KINDS = [kind("plain"), kind(), kind(pad="split"), kind(shortcut="B"), kind(shortcut="C", depth=8)]


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: f"{spec.net}-{spec.shortcut}-{spec.pad}")
@pytest.mark.parametrize("scale", ["channel", "pixel", "0 to 255"])
def test_net_padding_and_scale_are_measured(spec, scale):
    found = settle(readings(train(spec, scale)), Shown(SHOWN, SCALES))
    assert (found.reading.spec, found.scale) == (spec, scale)
    assert found.distance < 0.2


@pytest.mark.parametrize("way", ["none", "zeros", "black"])
def test_statistics_of_cropped_and_mirrored_pictures_agree_best_with_such(way):
    how = {"none": {}, "zeros": {"augment": crop}, "black": {"shown": crop(PIXELS)}}[way]
    found = settle(readings(train(kind(pad="split"), **how)), Shown(SHOWN, SCALES))
    net = nets.build(found.reading.spec, channels=3, classes=5)
    net.load_state_dict(found.reading.state, strict=False)
    views = make_views(Shown(SHOWN, {"channel": SCALES["channel"]}))
    far = {view.crop: measure(net.eval(), found.reading.norms, view.x, 0) for view in views}
    assert found.distance == min(far.values()) == far[way]


def test_without_pictures_or_on_others_what_is_open_is_named():
    open_ones = readings(train(kind(pad="split")))
    assert len(open_ones) == 3
    with pytest.raises(RunError, match="say --net plain or residual"):
        settle(open_ones, None)
    noise = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    with pytest.raises(RunError, match=r"say --net plain or residual.*none agrees clearly: the nearest has distance"):
        settle(open_ones, Shown(noise, SCALES))


def test_a_scale_that_is_not_among_those_shown_is_asked_for():
    state = train(kind(shortcut="B"))
    others = {name: scale for name, scale in SCALES.items() if name != "channel"}
    with pytest.raises(RunError, match=r"how were its pictures scaled.*say data\.normalize="):
        settle(readings(state), Shown(SHOWN, others))


def test_a_net_told_in_full_is_refused_where_its_statistics_contradict_it():
    state = train(kind(pad="split"))
    told = Shown(SHOWN, {"channel": SCALES["channel"]})
    assert settle(readings(state, "residual", "split"), told).distance < 0.2
    with pytest.raises(RunError, match=r"BN statistics contradict these pictures.*pre-activation.*FILE:measure=no"):
        settle(readings(state, "plain"), told)
    assert settle(readings(state, "plain"), None).distance is None


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_operations_that_no_tensor_tells_are_refused_by_name(rival, shortcut):
    state = train(kind(shortcut=shortcut), change=RIVALS[rival])
    with pytest.raises(RunError, match="BN statistics agree with") as refused:
        settle(readings(state, "residual", "after"), Shown(SHOWN, SCALES))
    assert rival in str(refused.value)


def test_layers_that_another_operation_does_not_move_do_not_hide_it(monkeypatch):
    """As in a net of 20 layers on 128 pictures of CIFAR-10: every layer was 0.08 off, and the mean fell by a tenth."""
    still, ours, theirs = [0.08] * 17, [0.14, 0.21, 0.18, 0.22], [0.05, 0.06, 0.07, 0.09]
    given = iter([still + ours, still + theirs] * 9)
    monkeypatch.setattr("degrade.nets.settle.measure_layers", lambda *_: next(given))
    state = train(kind(shortcut="B"))
    with pytest.raises(
        RunError, match=r"average pooling in the shortcuts .* \(distance 0\.068 where it counts, 0\.188"
    ):
        settle(readings(state, "residual", "after"), Shown(SHOWN, SCALES))


def swap(state, one, other):
    """Two blocks in each other's place."""
    names = {name: name.replace(one, other) if one in name else name.replace(other, one) for name in state}
    return {names[name]: value for name, value in state.items()}


def test_where_names_and_file_disagree_the_statistics_tell_which_is_right():
    right = train(kind(shortcut="B", depth=20))
    misnamed = swap(right, "stages.1.1.", "stages.1.2.")  # the order of the file is the net's, the numbers are not
    moved = {name: misnamed[name] for name in sorted(misnamed, key=lambda name: "head" in name)}
    assert [each.by_file for each in readings(moved)] == [False, True]
    with pytest.raises(RunError, match="the order of the file is not that of the numbers"):
        settle(readings(moved), None)
    assert settle(readings(moved), Shown(SHOWN, SCALES)).reading.by_file
    reordered = dict(sorted(right.items(), key=lambda pair: ".1.2." in pair[0]))  # the numbers are right
    assert not settle(readings(reordered), Shown(SHOWN, SCALES)).reading.by_file


def test_statistics_of_no_training_or_of_a_few_steps_say_nothing():
    fresh = nets.build(kind(shortcut="B"), channels=3, classes=5).state_dict()
    fresh = {name: value for name, value in fresh.items() if "batches" not in name}
    assert settle(readings(fresh), Shown(SHOWN, SCALES)).distance is None
    state = train(kind(shortcut="B"), "0 to 255")
    told = Shown(SHOWN, {"channel": SCALES["channel"]})
    assert settle(readings(state), told, batches=12).distance is None
    with pytest.raises(RunError, match="contradict"):
        settle(readings(state), told, batches=400)


def test_an_epsilon_is_measured_where_it_matters_and_assumed_where_not():
    spec = kind(shortcut="B")
    small = {"dim": (MEAN, 300 * DEVIATION)}  # variances far below 1e-3
    SCALES.update(small)
    try:
        dim = train(spec, "dim", eps=1e-3)
        found = settle(readings(dim), Shown(SHOWN, small))
        usual = settle(readings(train(spec, eps=1e-3)), Shown(SHOWN, SCALES))
    finally:
        SCALES.pop("dim")
    assert (found.reading.eps, found.eps_measured) == (1e-3, True)
    assert (usual.reading.eps, usual.eps_measured) == (1e-5, False)
