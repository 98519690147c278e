import json
import pickle
import random
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from degrade import data
from degrade.data.batches import scale_of
from degrade.errors import DegradeError, RunError, SpecError
from degrade.experiments.trained import CHECKPOINT_KEYS, fingerprint_weights, open_net, pictures
from degrade.nets import build
from degrade.spec import DataSpec, NetSpec, parse
from degrade.store.folder import RunDir
from degrade.train.checkpoint import pack, unpack
from degrade.train.run import run

SPEC = tiny(engine={"checkpoint_every": 5, "keep_checkpoints": [5]}, data={"validation": 20})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with one run. Tests do not change it."""
    root = tmp_path_factory.mktemp("made")
    assert run([SPEC], root) == {SPEC.run: "finished"}
    return root


@pytest.fixture
def folder(made, tmp_path):
    """A copy of that run."""
    shutil.copytree(made, tmp_path / "results")
    return RunDir(tmp_path / "results", SPEC.run)


def bits(net):
    return {name: value.numpy().tobytes() for name, value in net.state_dict().items()}


def test_a_run_opens_by_its_folder_its_checkpoint_or_how_its_name_begins(folder, made):
    whole = unpack(folder.checkpoint.read_bytes())["net"]
    for path in (folder.path, str(folder.path), folder.checkpoint, "residual-A-8-w4"):
        found = open_net(path, results=made)
        assert bits(found.net) == {name: value.numpy().tobytes() for name, value in whole.items()}
        assert (found.label, found.run, found.spec) == ("residual-A-8-w4-s0", SPEC, SPEC.net)
        assert (found.iteration, found.channels, found.classes) == (12, 1, 10)
        assert found.folder is not None
        assert found.folder.run == SPEC.run
        assert not found.net.training


def test_a_kept_checkpoint_is_the_net_of_its_iteration(folder):
    early, late = open_net(folder.kept(5)), open_net(folder.path)
    assert (early.iteration, late.iteration) == (5, 12)
    assert early.weights != late.weights == fingerprint_weights(late.net)
    assert early.label == late.label


def test_a_checkpoint_copied_away_still_knows_what_it_is(folder, tmp_path):
    shutil.copy(folder.checkpoint, tmp_path / "mine.pt")
    found = open_net(tmp_path / "mine.pt")
    assert (found.run, found.folder, found.iteration) == (SPEC, None, 12)
    again = torch.load(tmp_path / "mine.pt", weights_only=True)
    torch.save(again, tmp_path / "saved again.pt")  # without our checksum
    assert open_net(tmp_path / "saved again.pt").weights == found.weights


def test_a_checkpoint_from_before_it_knew_its_spec_opens_beside_spec_json_and_as_anybodys_elsewhere(folder, tmp_path):
    state = unpack(folder.checkpoint.read_bytes())
    del state["spec"]
    for path in (folder.checkpoint, tmp_path / "old.pt"):
        path.write_bytes(pack(state))
    there, here = open_net(folder.path), open_net(tmp_path / "old.pt", net="residual", pad="after")
    assert there.run == SPEC
    assert (here.run, here.label, here.spec, here.iteration) == (None, "old", SPEC.net, 12)
    assert here.weights == there.weights


def test_a_damaged_checkpoint_gives_way_to_the_one_before_but_not_where_it_was_named(folder):
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-300])
    assert open_net(folder.path).iteration == 10
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*(damaged|cut short)"):
        open_net(folder.checkpoint)
    content = bytearray(folder.previous.read_bytes())
    content[2000] ^= 1
    folder.previous.write_bytes(content)
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*; .*checkpoint-previous\.pt: its checksum is wrong"):
        open_net(folder.path)


def test_a_run_without_checkpoint_says_how_to_get_one(folder):
    folder.checkpoint.unlink()
    folder.previous.unlink()
    with pytest.raises(RunError, match=rf"no checkpoint in it; `degrade rerun {folder.path}` trains"):
        open_net(folder.path)


def test_a_checkpoint_of_another_run_or_of_a_newer_degrade_is_refused(folder):
    state = unpack(folder.checkpoint.read_bytes())
    folder.checkpoint.write_bytes(pack({**state, "spec": tiny(seed=5).tree()}))
    with pytest.raises(
        RunError, match=f"the checkpoint of '{SPEC.run}', but the spec with it is of {tiny(seed=5).run}"
    ):
        open_net(folder.checkpoint)
    folder.checkpoint.write_bytes(pack({**state, "format": 99}))
    with pytest.raises(RunError, match="another degrade"):
        open_net(folder.checkpoint)
    with pytest.raises(RunError, match=r"its spec is not one that this degrade knows \(recipe\.rate: no such key"):
        lies(folder, state, spec={**SPEC.tree(), "recipe": {"rate": 1}})


LIES = [
    ({"net": {"width": 5}}, {}, r"holds 37 tensors, which are not those of residual-A-8-w5, as it says"),
    ({"net": {"depth": 6002}}, {}, r"holds 37 tensors, which are not those of residual-A-6002-w4"),
    (
        {"net": {"depth": 14}},
        {},
        r"stages\.0\.1\.first\.0\.weight: not of the shape it has in residual-A-14-w4-s0, which",
    ),
    (
        {"net": {"shortcut": "B"}},
        {},
        r"stages\.1\.0\.shortcut\.0\.weight: not of the shape it has in residual-B-8-w4-s0",
    ),
    ({}, {"stem.0.weight": torch.ones(4, 1, 5, 5)}, r"stem\.0\.weight: not of the shape"),
    ({}, {"stem.1.weight": [1.0] * 4}, r"stem\.1\.weight: not of the shape"),
    ({}, {"more": torch.ones(3)}, r"more: not of the shape"),
]


def lies(folder, state, **said):
    folder.checkpoint.write_bytes(pack({**state, **said}))
    open_net(folder.checkpoint)


@pytest.mark.parametrize(("spec", "net", "said"), LIES)
def test_a_checkpoint_that_is_not_of_what_it_says_is_refused(folder, spec, net, said):
    state = unpack(folder.checkpoint.read_bytes())
    other = parse({**SPEC.tree(), **spec.get("net", {})})
    with pytest.raises(RunError, match=said):
        lies(folder, state, spec=other.tree(), run=other.run, net={**state["net"], **net})


@pytest.mark.parametrize("recipe", [{"norm": "none"}, {"bn_group": 8}], ids=str)
def test_variants_of_batch_norm_open_as_they_were_trained(tmp_path, recipe):
    spec = tiny(recipe={**recipe, "iterations": 5})
    run([spec], tmp_path)
    found = open_net(RunDir(tmp_path, spec.run).path)
    assert fingerprint_weights(found.net) == found.weights
    kinds = {type(layer).__name__ for layer in found.net.modules()}
    assert ("SubBatchNorm" in kinds, "BatchNorm2d" in kinds) == ("bn_group" in recipe, False)


def test_a_net_of_ours_exported_as_a_state_dict_is_the_same_net(made, tmp_path):
    ours = open_net("residual", results=made)
    torch.save(ours.net.state_dict(), tmp_path / "a.pth")
    save_file(ours.net.state_dict(), tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        theirs = open_net(tmp_path / file, net="residual", pad="after")
        assert (theirs.weights, theirs.spec, theirs.label) == (ours.weights, ours.spec, file[0])
        assert (theirs.run, theirs.folder, theirs.iteration) == (None, None, 0)


def test_a_resnet_20_with_renamed_keys_and_a_module_prefix_opens(tmp_path):
    net = build(NetSpec(depth=20, shortcut="B"), channels=3, classes=10, seed=1)
    renamed = {f"module.part{i}.{k.rpartition('.')[2]}_": v for i, (k, v) in enumerate(net.state_dict().items())}
    torch.save({"state_dict": renamed, "epoch": 200, "optimizer": {"lr": 0.1}}, tmp_path / "resnet20.th")
    found = open_net(tmp_path / "resnet20.th")
    assert (found.spec, found.channels, found.classes) == (NetSpec(depth=20, shortcut="B"), 3, 10)
    assert bits(found.net) == bits(net)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


class EvilNet(nn.Linear):
    """A net pickled whole: its class is code."""


def zipped(content, path):
    torch.save(content, path)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [zipped, legacy, bare])
@pytest.mark.parametrize("inside", [lambda evil: evil, lambda evil: {"state_dict": {"conv.weight": evil}}])
def test_a_file_that_would_run_code_is_refused_in_one_line_and_runs_nothing(tmp_path, write, inside):
    write(inside(Evil(tmp_path / "ran")), tmp_path / "evil.pt")
    with pytest.raises(RunError, match=r"evil\.pt: asks for \w+\.open, and nothing in a file is ever run") as refused:
        open_net(tmp_path / "evil.pt", net="plain")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_a_checkpoint_of_ours_with_code_in_it_is_refused_too(folder, tmp_path):
    state = unpack(folder.checkpoint.read_bytes())
    folder.checkpoint.write_bytes(pack({**state, "spec": Evil(tmp_path / "ran")}))
    folder.previous.unlink()
    with pytest.raises(RunError, match="torch refuses it"):
        open_net(folder.path)
    assert not (tmp_path / "ran").exists()


def test_a_net_pickled_whole_is_refused_with_the_way_out(tmp_path):
    torch.save(EvilNet(3, 3), tmp_path / "whole.pt")
    with pytest.raises(
        RunError, match=r"asks for [\w.]*EvilNet, .* by torch\.save\(net\.state_dict\(\), 'weights\.pt'\)"
    ):
        open_net(tmp_path / "whole.pt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("garbage.pth", b"\x80garbage" * 40),
        ("text.pt", b"hello\n" * 40),
        ("zip.th", b"PK\x03\x04" + bytes(100)),
        ("empty.safetensors", b""),
        ("garbage.safetensors", b"garbage" * 40),
        ("huge.safetensors", (1 << 62).to_bytes(8, "little") + b"{}"),
        ("number.pt", pickle.dumps(3, protocol=2)),
    ],
)
def test_what_is_no_state_dict_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"{name}: ") as refused:
        open_net(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_no_damage_to_a_file_does_worse_than_an_error_of_one_line(folder, tmp_path):
    """Flips bytes and cuts ends off. A state dict has no checksum of its own, so it may also open, with what it has."""
    net, draws, lines = open_net(folder.path).net, random.Random(0), list[str]()
    save_file(net.state_dict(), tmp_path / "whole.safetensors")
    zipped(net.state_dict(), tmp_path / "whole.pt")
    legacy(net.state_dict(), tmp_path / "whole.th")
    for whole in tmp_path.glob("whole.*"):
        content, target = whole.read_bytes(), tmp_path / f"damaged{whole.suffix}"
        for _ in range(60):
            damaged = bytearray(content[: draws.choice([len(content), draws.randrange(len(content))])])
            for _ in range(draws.randint(0, 20)):
                damaged[draws.randrange(min(len(damaged), 3000))] ^= 1 << draws.randrange(8)
            target.write_bytes(damaged)
            try:
                open_net(target, net="residual")
            except DegradeError as error:
                lines.append(str(error))
    assert len(lines) > 60
    assert not [line for line in lines if "\n" in line]


def test_paths_that_are_nothing_say_so(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, said in {
        tmp_path / "folder": r"no run \(there is no spec\.json in it\)",
        tmp_path / "missing.pth": "no such file",
        tmp_path / "missing": "no such file or folder",
    }.items():
        with pytest.raises(RunError, match=said):
            open_net(path, results=tmp_path / "results")


def test_a_run_sees_its_own_pictures_by_its_own_scale(made):
    shown = pictures(open_net("residual", results=made))
    train, test, val = data.load(SPEC.data)
    assert [len(shown.images(split)) for split in ("train", "test", "val")] == [len(train), len(test), 20]
    assert torch.equal(shown.scale.mean, scale_of(train, "pixel").mean)
    assert val is not None
    x, y = shown.resident("test", torch.device("cpu")).clean(slice(None))
    assert torch.equal(x, torch.from_numpy(test.pixels).float() / 255 - shown.scale.mean)
    assert y.tolist() == test.labels.tolist()
    with pytest.raises(SpecError, match="--split=dev: must be train, test or val"):
        shown.images("dev")


def test_other_pictures_are_scaled_as_its_own_were_unless_told(made):
    ours, asked = open_net("residual", results=made), DataSpec(name="digits", normalize="channel")
    own, given = pictures(ours, asked), pictures(ours, asked, given_scale=True)
    assert len(own.images("test")) == 360
    assert torch.equal(own.scale.mean, pictures(ours).scale.mean)
    assert own.scale.deviation is None
    whole = data.load(data.prepare(asked)).train
    assert torch.equal(given.scale.mean, scale_of(whole, "channel").mean)
    assert given.scale.deviation is not None
    with pytest.raises(SpecError, match="--split=val: there are none"):
        own.images("val")


def test_a_net_of_others_needs_pictures_and_takes_their_scale(made, tmp_path):
    torch.save(open_net("residual", results=made).net.state_dict(), tmp_path / "net.pt")
    theirs = open_net(tmp_path / "net.pt", net="residual", pad="after")
    with pytest.raises(RunError, match=r"net: trained on which pictures\? say data="):
        pictures(theirs)
    asked = DataSpec(name="digits", train_limit=100, validation=20)
    assert torch.equal(pictures(theirs, asked).scale.mean, pictures(open_net("residual", results=made)).scale.mean)


def test_pictures_of_another_shape_are_refused(made, tmp_path):

    def saved(channels, classes):
        net = build(NetSpec(net="plain", depth=8, width=2), channels=channels, classes=classes)
        torch.save(net.state_dict(), tmp_path / "net.pt")
        return open_net(tmp_path / "net.pt", net="plain")

    for net in (saved(3, 10), saved(1, 7)):
        with pytest.raises(RunError, match="data=digits: 1 channels, 10 classes, where net has"):
            pictures(net, DataSpec(name="digits"))


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A net trained on a folder of 8x8 noise, the folder, and the cache of its pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    draws = np.random.default_rng(0)
    for split, name, place in product(("train", "test"), ("cat", "dog"), range(8)):
        file = tmp_path / "photos" / split / name / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (16, 16, 3), np.uint8)).save(file)
    asked = {"name": "image_folder", "root": str(tmp_path / "photos"), "size": 8, "train_limit": None}
    spec = tiny(data=asked, recipe={"iterations": 2})
    run([spec], tmp_path / "results")
    return open_net(spec.name, results=tmp_path / "results"), tmp_path / "photos"


def test_a_mean_image_of_another_size_is_refused_with_the_way_out(photos):
    net, root = photos
    large = DataSpec(name="image_folder", root=str(root), size=16)
    with pytest.raises(RunError, match=r"data=image_folder: 16x16 pixels, .* has 8; say data\.normalize=channel, or"):
        pictures(net, large)
    with pytest.raises(RunError, match=r"data=digits: 1 channels, 10 classes, where residual-A-8-w4-s0 has 3 and 2"):
        pictures(net, DataSpec(name="digits"))
    shown = pictures(net, replace(large, normalize="channel"), given_scale=True)
    assert shown.images("test").pixels.shape == (16, 3, 16, 16)
    assert net.net(shown.resident("test", torch.device("cpu")).clean(slice(None))[0]).shape == (16, 2)


def test_own_pictures_are_decoded_again_where_they_are_gone_and_refused_where_they_changed(photos):
    net, root = photos
    for cache in [*root.glob(".degrade"), root.parent / "user"]:
        shutil.rmtree(cache, ignore_errors=True)
    assert len(pictures(net).images("test")) == 16
    for cache in [*root.glob(".degrade"), root.parent / "user"]:
        shutil.rmtree(cache, ignore_errors=True)
    Image.new("RGB", (16, 16)).save(root / "test" / "cat" / "0.png")
    with pytest.raises(RunError, match="are not those it was trained on"):
        pictures(net)


def test_every_state_of_a_fit_is_known_as_ours(folder):
    state = unpack(folder.checkpoint.read_bytes())
    assert CHECKPOINT_KEYS.items() <= {key: type(value) for key, value in state.items()}.items()
    assert json.loads(folder.spec.read_text())["spec"] == state["spec"]


def test_what_a_file_leaves_open_is_measured_on_pictures_or_refused(tmp_path):
    spec = tiny(recipe={"iterations": 80})
    run([spec], tmp_path)
    ours = open_net(RunDir(tmp_path, spec.run).path)
    state = ours.net.state_dict()
    names = random.Random(2).sample(list(state), len(state))
    torch.save({"ema": {name: state[name] for name in names}}, tmp_path / "theirs.pth")
    found = open_net(tmp_path / "theirs.pth", on=DataSpec(name="digits"))
    assert (found.spec, found.weights, found.measured) == (ours.spec, ours.weights, spec.data.normalize)
    assert found.assumed[:3] == (
        "key=ema (the only net of the file)",
        "residual net (measured)",
        "pad=after (measured)",
    )
    assert "measured" in pictures(found, DataSpec(name="digits")).scaled
    for closed in (f"{tmp_path / 'theirs.pth'}:measure=no", tmp_path / "theirs.pth"):
        on = DataSpec(name="digits") if isinstance(closed, str) else None
        with pytest.raises(RunError, match=r"say --net plain or residual.*FILE:net="):
            open_net(closed, on=on)
    with pytest.raises(RunError, match=r"how were its pictures scaled\?.*else than a plain net.*FILE:measure=no"):
        open_net(f"{tmp_path / 'theirs.pth'}:net=plain", on=DataSpec(name="digits"))
    assert open_net(f"{tmp_path / 'theirs.pth'}:net=plain,measure=no", on=DataSpec(name="digits")).spec.net == "plain"


def test_pixels_of_a_received_cache_are_checked_before_a_net_is_measured_on_them(photos):
    """They were taken for what their folder is called, whatever they were."""
    net, root = photos
    true = pictures(net).images("test").pixels.copy()
    kept = [*root.glob(".degrade/*/test-pixels.npy"), *(root.parent / "user").rglob("test-pixels.npy")]
    assert kept
    for place in kept:
        np.save(place, 255 - np.load(place))
    assert (pictures(net).images("test").pixels == true).all()
