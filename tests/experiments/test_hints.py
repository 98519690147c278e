"""Nets as people name them: FILE:key=value, options for the files that leave it open, and whose nets they are."""

import json

import pytest
import torch
from conftest import tiny

from degrade.errors import RunError, SpecError
from degrade.experiments.hints import Hints, names_net, parse_net
from degrade.experiments.known import KNOWN
from degrade.experiments.trained import open_net
from degrade.nets import build
from degrade.spec import NetSpec
from degrade.train.run import run


@pytest.fixture
def files(tmp_path, monkeypatch):
    """State dicts of others in the folder where commands run: one without projections, one with, one for CIFAR-10."""
    monkeypatch.chdir(tmp_path)
    for name, shortcut, channels in (("open", "A", 1), ("sure", "B", 1), ("colour", "A", 3)):
        net = build(NetSpec(depth=8, width=2, shortcut=shortcut), channels=channels, classes=10)
        torch.save(net.state_dict(), f"{name}.pth")
    return tmp_path


def test_a_word_is_split_where_a_hint_begins_and_a_path_that_exists_is_never_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_net("a.pth:net=plain,pad=split,eps=1e-3") == ("a.pth", Hints(net="plain", pad="split", eps=1e-3))
    assert parse_net("a:b/c.pth:key=ema.state_dict") == ("a:b/c.pth", Hints(key="ema.state_dict"))
    assert parse_net("a.pth:normalize=[0.5,0.25],as=akamaster").hints == Hints(normalize=(0.5, 0.25), known="akamaster")
    for name in ("x:net=plain", "lr=0.1"):
        (tmp_path / name).touch()
        assert parse_net(name) == (name, Hints())
    assert parse_net("lr=0.1:net=plain") == ("lr=0.1", Hints(net="plain"))
    nets = ["residual", "a.pth:net=plain", "lr=0.1", "lr=0.1:pad=split", "x:net=plain"]
    keys = ["data=digits", "data.root=/a:b", "data.root=/a:size=3", "data.url=https://host/x?a=b", "depth=56"]
    assert [names_net(word) for word in [*nets, *keys]] == [True] * 5 + [False] * 5


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("a.pth:nett=plain", r"a\.pth:nett=plain: nett: no such key; after a colon, did you mean 'net'\?"),
        ("a.pth:net=plain,net=plain", "net is said twice"),
        ("a.pth:net=plain,split", "'split' is no key=value"),
        ("a.pth:net=", "'net=' is no key=value"),
        ("a.pth:net=highway", "--net=highway: a state dict of others is of a plain or a residual net"),
        ("a.pth:pad=before", "--pad=before: unknown; known: after, split"),
        ("a.pth:eps=small", "eps=small must be a number"),
        ("a.pth:eps=-1", "--eps=-1: must be batch norm's epsilon"),
        ("a.pth:normalize=0.5", r"normalize=0\.5: must be pixel, channel, or \[means"),
        ("a.pth:classes=names", "--classes=names: unknown; known: by-name"),
        ("a.pth:as=nobody", "--as=nobody: unknown; known: akamaster, "),
    ],
)
def test_a_wrong_hint_is_one_line_with_the_way_out(word, said):
    with pytest.raises(SpecError, match=said) as refused:
        open_net(word)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_plain_or_residual_is_refused_until_it_is_said_which(here, files):
    for words in (
        ["open.pth"],
        ["open.pth", "--pad", "split"],
        ["open.pth:pad=after"],
        ["open.pth", "--net", "residual"],
    ):
        refused = here("evaluate", *words, "data=digits")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "plain and residual nets" in refused.stderr or "--pad after or --pad split" in refused.stderr


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".ckpt", ".bin", ".t7", ".h5"])
def test_a_file_that_is_not_there_is_no_run(files, suffix):
    for hint in ("", ":net=plain"):
        with pytest.raises(RunError, match=rf"^missing{suffix}: no such file$".replace(".", "[.]")):
            open_net(f"missing{suffix}{hint}")


def test_a_file_called_pth_tar_has_a_short_label(files):
    (files / "sure.pth").rename("best.pth.tar")
    assert open_net("best.pth.tar").label == "best"


def test_option_a_without_a_pad_is_refused_and_the_ways_out_work(files):
    with pytest.raises(RunError, match=r"open\.pth: option A, .*say --pad after or --pad split; .* by as=NAME"):
        open_net("open.pth", net="residual")
    for pad in ("after", "split"):
        found = open_net(f"open.pth:net=residual,pad={pad}")
        assert found.spec == NetSpec(depth=8, width=2, pad=pad) == open_net("open.pth", net="residual", pad=pad).spec
        assert f"pad={pad} (said)" in found.assumed
    assert open_net("open.pth:net=plain").spec.net == "plain"
    assert open_net("sure.pth").spec == NetSpec(depth=8, width=2, shortcut="B")
    assert open_net("open.pth:as=akamaster").spec.pad == KNOWN["akamaster"].pad == "split"


def test_a_hint_beside_a_file_counts_for_it_alone_and_options_for_files_that_leave_it_open(here, files):
    words = ["open.pth:net=plain", "sure.pth", "open.pth", "--net", "residual", "--pad", "split", "data=digits"]
    done = here("evaluate", *words, "data.test_limit=20", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["net"] for row in rows] == ["plain-8-w2", "residual-B-8-w2", "residual-A-8-w2"]
    assert [row["label"] for row in rows] == ["open (net=plain)", "sure", "open (net=residual,pad=split)"]
    assert "pad=split (said)" in rows[2]["assumed"]
    assert "pad" not in rows[0]["assumed"] + rows[1]["assumed"]
    refused = here("evaluate", "sure.pth:net=plain", "data=digits")  # an option gives way to tensors, a hint does not
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "a projection, which plain nets do not have" in refused.stderr


def test_a_plain_and_a_residual_net_of_others_are_in_one_figure_that_names_them(here, files):
    words = ["open.pth:net=plain", "sure.pth", "data=digits", "data.test_limit=20", "--out", "out"]
    done = here("responses", *words)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "responses: nets from files" in said
    assert "open (plain-8)" in said
    assert "sure (residual-B-8)" in said
    text = (files / "out" / "foreign" / "fig7-open+sure.svg").read_text()
    for words in ("plain-8 (open)", "residual-B-8 (sure)"):
        assert words in text
    assert "protocol foreign" not in text


def test_all_commands_take_nets_as_arguments_and_by_ckpt(here, files):
    run([tiny(), tiny(seed=1)], files / "results")
    for command, *words in (["evaluate"], ["ensemble", "residual-A-8-w4-s1"], ["responses", "--out", "out"]):
        for net in (["residual-A-8-w4-s0"], ["--ckpt", "residual-A-8-w4-s0"]):
            assert here(command, *words, *net).returncode == 0
    for net in (["residual-A-8-w4-s0"], ["--ckpt", "residual-A-8-w4-s0"]):
        assert here("construct", *net, "depth=14").returncode == 0


def test_a_hint_that_contradicts_a_run_of_ours_is_refused_and_one_that_agrees_is_not(files):
    run([tiny()], files / "results")
    assert open_net("residual-A-8-w4-s0:net=residual,pad=after").run == tiny()
    for hint in ("net=plain", "pad=split", "eps=1e-3", "key=state_dict", "as=akamaster"):
        with pytest.raises(SpecError, match=f"^{hint.partition('=')[0]}=.*: this is the run residual-A-8-w4-s0"):
            open_net(f"residual-A-8-w4-s0:{hint}")


def test_epsilon_and_key_are_what_is_said(files):
    inner = torch.load("sure.pth", weights_only=True)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in inner.items()}
    torch.save({"best": {"weights": inner}, "last": {"weights": other}}, "two.pth")
    with pytest.raises(RunError, match=r"two\.pth: holds several state dicts, .*say which by --key"):
        open_net("two.pth")
    plain, found = open_net("sure.pth"), open_net("two.pth:key=best.weights,eps=1e-3")
    assert "key=best.weights (said)" in found.assumed
    assert "batch norm's epsilon 0.001 (said)" in found.assumed
    images = torch.rand(4, 1, 8, 8)
    for layer in (layer for layer in plain.net.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        layer.eps = 1e-3
    with torch.inference_mode():
        assert torch.allclose(plain.net(images), found.net(images), rtol=1e-4)
    with pytest.raises(RunError, match=r"key=best\.net|--key"):
        open_net("two.pth:key=best.net")


def test_whose_nets_a_file_is_says_net_pad_scale_and_classes(here, files):
    found = open_net("colour.pth:as=akamaster")
    assert (found.spec.net, found.spec.pad) == ("residual", "split")
    assert found.names is not None
    assert found.names[1] == "automobile"
    net = build(NetSpec(depth=8, width=2), channels=3, classes=7)
    torch.save(net.state_dict(), "seven.pth")
    with pytest.raises(RunError, match="as=akamaster: its nets have 10 classes, and this one 7"):
        open_net("seven.pth:as=akamaster")
    for known in KNOWN.values():
        for numbers in known.normalize.values():
            assert len(numbers) == 6
            assert all(0 < number < 1 for number in numbers)
