"""Which output is which class, and the scale of pictures: right, or refused, and said beside the number."""

import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import tiny
from PIL import Image

from degrade import data
from degrade.data.batches import scale_of
from degrade.errors import RunError, SpecError
from degrade.experiments.evaluate import ensemble, evaluate
from degrade.experiments.trained import open_net, pictures
from degrade.nets import build
from degrade.spec import DataSpec, NetSpec
from degrade.train.run import run

NAMES = ("automobile", "bird", "cat")


def draw(root, names, splits=("train", "test"), like=None):
    """A folder of 8x8 pictures: class k of `like` (else of `names`) is of grey level 60 k, with noise."""
    for split, name, place in product(splits, names, range(6)):
        level = 60 * (like or names).index(name)
        draws = np.random.default_rng([place, level, splits.index(split)])
        file = root / split / name / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((level + draws.integers(0, 40, (8, 8, 3))).astype(np.uint8)).save(file)
    return DataSpec(name="image_folder", root=str(root))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path


@pytest.fixture
def trained(place):
    """A run that tells the grey levels apart, and its pictures in the folder `own`."""
    draw(place / "own", NAMES)
    recipe = {"iterations": 60, "lr": 0.1, "augment": "none", "eval_every": 60}
    spec = tiny(data={"name": "image_folder", "root": str(place / "own"), "train_limit": None}, recipe=recipe)
    run([spec], place / "results")
    net = open_net(spec.name)
    assert evaluate(net).error < 40
    return net


def test_classes_of_one_set_are_matched_by_name_in_any_order(trained, place):
    """The folders cannot come in another order, so the net gets one."""
    order = [2, 0, 1]
    state = trained.net.state_dict()
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][order]
    trained.net.load_state_dict(state)
    object.__setattr__(trained, "names", tuple(NAMES[k] for k in order))
    found = evaluate(trained)
    assert found.classes == "by name (in another order)"
    object.__setattr__(trained, "hints", trained.hints.over(type(trained.hints)(classes="by-position")))
    other = evaluate(trained)
    assert (other.classes, other.error > found.error + 30) == ("by position (said)", True)


def test_classes_of_other_names_are_refused_unless_they_are_said_to_be_the_same_by_position(trained, here, place):
    moved = draw(place / "moved", ("bird", "car", "cat"), like=("car", "bird", "cat"))
    with pytest.raises(RunError, match=r"only it has 'automobile'; only the pictures have 'car'\); .*by-position"):
        evaluate(trained, moved)
    words = ("evaluate", trained.spec.net, "data=image_folder", "data.root=moved", "data.size=8")
    refused = here(*words, "--classes", "by-name")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    done = here(*words, "--classes", "by-position")
    assert "classes: by position (said)" in " ".join(done.stdout.split())
    same = draw(place / "same", NAMES)
    assert evaluate(trained, same).classes == "by name"
    assert evaluate(trained, same).error == evaluate(trained).error


def test_a_run_knows_the_names_of_its_classes_without_its_pictures(trained, place):
    assert trained.names == NAMES
    about = json.loads(trained.folder.environment.read_text())
    assert about["classes"] == list(NAMES)
    for folder in (place / "own", place / "user"):
        shutil.rmtree(folder, ignore_errors=True)
    asked = replace(draw(place / "else", ("a", "b", "c")), normalize=(0.5, 0.5, 0.5, 1.0, 1.0, 1.0))
    with pytest.raises(RunError, match="only it has 'automobile', 'bird', 'cat'; only the pictures have 'a', 'b', 'c'"):
        evaluate(open_net(trained.folder.path), asked, given_scale=True)


def test_an_ensemble_adds_up_outputs_of_the_same_class(trained, place):
    twin = open_net(trained.folder.path)
    state = twin.net.state_dict()
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][[1, 2, 0]]
    twin.net.load_state_dict(state)
    object.__setattr__(twin, "names", (NAMES[1], NAMES[2], NAMES[0]))
    object.__setattr__(twin, "weights", "turned")
    assert ensemble([trained, twin]).together.error == evaluate(trained).error


def save(name, spec, **shape):
    torch.save(build(spec, **shape).state_dict(), name)


def test_twelve_folders_of_numbers_are_in_the_order_of_numbers_and_a_file_must_say_which_order_it_has(place):
    asked = draw(place / "photos", tuple(map(str, range(12))))
    prepared = data.prepare(asked)
    assert data.load(prepared).train.classes == tuple(map(str, range(12)))
    save("net.pth", NetSpec(net="plain", depth=8, width=2), channels=3, classes=12)
    with pytest.raises(RunError, match=r"one order by size and one as text; say --classes by-position .* or by-text"):
        evaluate("net.pth:net=plain", asked)
    by_size, by_text = (evaluate(f"net.pth:net=plain,classes={said}", asked) for said in ("by-position", "by-text"))
    assert by_text.classes == "by position in the order of text (said)"
    assert by_size.loss != by_text.loss
    with pytest.raises(RunError, match="has no names of classes; say by-position"):
        evaluate("net.pth:net=plain,classes=by-name", asked)


def test_a_run_from_before_numbers_were_in_order_keeps_its_pictures(place, monkeypatch):
    asked = draw(place / "photos", tuple(map(str, range(12))))
    with monkeypatch.context() as older:
        older.setattr("degrade.data.tree.order_classes", lambda names, as_text=False: tuple(sorted(names)))
        before = data.prepare(asked)
    assert data.load(before).train.classes[:3] == ("0", "1", "10")
    for cache in (place / "photos" / ".degrade", place / "user"):
        shutil.rmtree(cache, ignore_errors=True)
    assert data.prepare(before).content == before.content
    assert data.prepare(asked).content != before.content


def test_numbers_of_another_scale_than_0_to_1_are_refused(place, here):
    save("net.pth", NetSpec(net="plain", depth=8, width=2), channels=3, classes=3)
    draw(place / "photos", NAMES)
    for numbers in ("[123.7,116.3,103.5,58.4,57.1,57.4]", "[0.5,0.5,0.5,58.4,57.1,57.4]", "[-0.5,0,0,0.5,0.5,0.5]"):
        for words in ([f"data.normalize={numbers}"], []):
            hint = "" if words else f",normalize={numbers}"
            done = here("evaluate", f"net.pth:net=plain{hint}", "data=image_folder", "data.root=photos", *words)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1)
            assert "the scale of pixels is 0 to 1" in done.stderr
            assert "divide numbers for pixels of 0 to 255 by 255" in done.stderr
    with pytest.raises(SpecError, match="the scale of pixels is 0 to 1"):
        data.prepare(DataSpec(name="image_folder", root=str(place / "photos"), normalize=(123.7,) * 3 + (58.0,) * 3))


@pytest.mark.parametrize(
    ("hint", "words", "said"),
    [
        ("", [], "scale: the mean image of the training set of the pictures (assumed)"),
        (
            ",normalize=channel",
            [],
            "scale: mean and deviation of each channel of the training set of the pictures (said",
        ),
        ("", ["data.normalize=[0.5,0.5,0.5,1,1,1]"], "scale: mean 0.5, 0.5, 0.5, deviation 1, 1, 1 (data.normalize)"),
        (",as=akamaster", [], "scale: mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225 (as=akamaster)"),
    ],
)
def test_an_evaluation_says_its_scale_and_whence(place, here, hint, words, said):
    names = tuple(f"c{k}" for k in range(10))
    save("net.pth", NetSpec(depth=8, width=2), channels=3, classes=10)
    draw(place / "photos", names)
    net = f"net.pth:net=residual,pad=split,classes=by-position{hint}"
    done = here("evaluate", net, "data=image_folder", "data.root=photos", *words)
    assert done.returncode == 0, done.stderr
    assert said in " ".join(done.stdout.split())


def test_a_runs_own_scale_is_used_on_moved_pictures_and_where_they_are_gone_the_way_out_is_another(trained, place):
    own = pictures(trained).scale
    (place / "own").rename(place / "moved")
    for cache in (place / "moved" / ".degrade", place / "user"):
        shutil.rmtree(cache, ignore_errors=True)
    asked = DataSpec(name="image_folder", root=str(place / "moved"))
    shown = pictures(trained, asked)
    assert torch.equal(shown.scale.mean, own.mean)
    assert shown.scaled == "the mean image of its own training set"
    other = draw(place / "other", NAMES[::-1], like=NAMES[::-1])
    for cache in (place / "moved", place / "user"):
        shutil.rmtree(cache, ignore_errors=True)
    with pytest.raises(RunError, match=r"say data\.normalize=\[means\.\.\.,deviations\.\.\.\]"):
        pictures(trained, other)
    numbers = (0.5, 0.5, 0.5, 1.0, 1.0, 1.0)
    given = DataSpec(name="image_folder", root=str(place / "other"), normalize=numbers)
    scale = pictures(trained, given, given_scale=True).scale
    assert torch.equal(scale.mean, scale_of(data.load(data.prepare(given)).train, numbers).mean)


def test_test_pictures_alone_will_do_where_the_scale_is_given(place, here):
    draw(place / "photos", NAMES, splits=("test",))
    save("net.pth", NetSpec(net="plain", depth=8, width=2), channels=3, classes=3)
    words = ("evaluate", "net.pth:net=plain", "data=image_folder", "data.root=photos")
    refused = here(*words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "has no folder train/, and the scale of net is the mean image" in refused.stderr
    given = (*words, "data.normalize=[0.5,0.5,0.5,1,1,1]")
    done = here(*given)
    assert done.returncode == 0, done.stderr
    assert "image_folder, test: 18 images" in done.stdout
    refused = here(*given, "--split", "train")
    assert "--split=train: data.root=" in refused.stderr
    assert "has no folder train/" in refused.stderr
    with pytest.raises(Exception, match="has no folder train/"):
        data.prepare(DataSpec(name="image_folder", root=str(place / "photos")))


def test_a_run_whose_training_pictures_were_removed_after_decoding_still_has_them(trained, place):
    before = evaluate(trained, split="train")
    shutil.rmtree(place / "own" / "train")
    assert evaluate(trained, split="train") == before
