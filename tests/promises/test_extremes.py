"""The ends of what can be asked for, trained or refused in one line; and pictures that are odd but good."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from noise import picture, png16
from photos import refused, spec, whole
from PIL import Image
from processes import BOUND, DEGRADE, bound

from degrade import data, nets
from degrade.data.pictures import decode, strictly
from degrade.errors import SpecError
from degrade.spec import NetSpec, parse
from degrade.store.folder import RunDir
from degrade.store.results import load
from degrade.train import run

SMALL = {"recipe": {"iterations": 2, "eval_every": 1}, "data": {"train_limit": 30, "test_limit": 20}}

pytestmark = pytest.mark.usefixtures("user")


def mixed(**changes):
    tree = {key: dict(value) for key, value in SMALL.items()}
    for key, value in changes.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    return tiny(**tree)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 8},
        {"depth": 1202, "width": 1, "recipe": {"iterations": 1, "batch": 2}, "data": {"train_limit": 10}},
        {"recipe": {"batch": 500}},
        {"recipe": {"iterations": 1}},
        {"recipe": {"lr": 0}},
        {"recipe": {"lr": 1e9}},
        {"recipe": {"lr": 1e30}},
        {"recipe": {"batch": 1}},
        {"width": 1},
        {"data": {"train_limit": 1, "test_limit": 1}},
        {"seed": 2**63 - 1},
        {"recipe": {"milestones": []}},
        {"recipe": {"weight_decay": 1e30}},
    ],
    ids=str,
)
def test_the_ends_of_what_can_be_asked_for_are_trained(tmp_path, changes):
    spec = mixed(**changes)
    (state,) = run.run([spec], tmp_path).values()
    assert state in ("finished", "diverged")
    curve = load(tmp_path).curves
    assert curve.error.between(0, 100).all()
    assert RunDir(tmp_path, spec.run).standing().name == state


@pytest.mark.parametrize(
    "changes",
    [
        *({"depth": depth} for depth in (0, 2, 9, -6, 12_002, 10**18 + 2)),
        *({"seed": seed} for seed in (2**63, -1, 10**400)),
        *({"width": width} for width in (0, -1, 5000)),
        *({"recipe": {"lr": lr}} for lr in (-1, float("nan"), float("inf"), 1e300, 10**400)),
        *({"recipe": {"iterations": n}} for n in (0, -1, 2**63)),
        {"recipe": {"batch": 0}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_beyond_them_is_one_line(changes):
    with pytest.raises(SpecError) as caught:
        parse(changes)
    assert "\n" not in str(caught.value)


def test_the_deepest_net_of_the_paper_has_its_layers():
    assert sum(p.ndim > 1 for p in nets.sketch(NetSpec(depth=1202), 3, 10).parameters()) == 1202


# Pictures; the rest is in test_folder.py


def one_class(place: Path, n: int = 3) -> None:
    for split in ("train", "test"):
        (place / split / "only").mkdir(parents=True)
        for i in range(n):
            picture(i).save(place / split / "only" / f"{i}.png")


def test_one_class_and_one_image_are_trained(tmp_path):
    one_class(tmp_path / "photos", 1)
    found = data.prepare(spec(tmp_path / "photos"))
    one = parse({**mixed().tree(), "data": {**data_tree(found), "train_limit": None, "test_limit": None}})
    assert [*run.run([one], tmp_path / "results").values()] == ["finished"]


def data_tree(found) -> dict:
    return {name: getattr(found, name) for name in ("name", "content", "root", "size")}


def test_cmyk_palette_and_animated_pictures_are_read_and_16_bits_scaled(tmp_path):
    one_class(tmp_path)
    here, base = tmp_path / "train" / "only", picture(5)
    base.convert("CMYK").save(here / "cmyk.jpg")
    base.convert("P").save(here / "palette.png")
    base.save(here / "moving.gif", save_all=True, append_images=[picture(6), picture(7)])
    (here / "deep.png").write_bytes(png16(2, 8, [b"\x80\x00" * 24] * 8))
    base.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(here / "called a.jpg")  # a picture all the same: the name says nothing
    assert whole(tmp_path).train.pixels.shape == (8, 3, 8, 8)


def test_an_animation_with_nothing_in_it_and_a_bomb_among_frames_are_unreadable(tmp_path):
    with strictly(), pytest.raises(Exception, match=r"."):
        decode(b"GIF89a" + b"\xff" * 20, 8)
    head = Image.new("1", (30_000, 30_000))
    head.save(tmp_path / "bomb.png")
    with strictly(), pytest.raises(Exception, match="more than 89478485 pixels"):
        decode((tmp_path / "bomb.png").read_bytes(), 8)


@pytest.mark.skipif(not bound(), reason="permissions do not hold for this user")
@pytest.mark.parametrize("name", ["train/only/0.png", "train/only"])
def test_a_picture_that_may_not_be_read_is_named(tmp_path, name):
    one_class(tmp_path)
    (tmp_path / name).chmod(0)
    command = [*BOUND, *DEGRADE, "sweep", "data=image_folder", f"data.root={tmp_path}", "data.size=8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    (tmp_path / name).chmod(0o700)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert name in done.stderr
    assert "Permission denied" in done.stderr


def test_the_root_itself_may_be_a_loop_of_links_or_a_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("no folder")
    for name in ("loop", "file", "\udcff"):
        assert "no such folder" in refused(spec(tmp_path / name))
    assert "(File name too long)" in refused(spec(tmp_path / ("a" * 300)))


def test_a_folder_of_odd_names_is_listed_without_moving_the_cursor(tmp_path):
    names = ("with space", "naïve 猫", "new\nline", "\x1b[31mred", "=1+1", "$x$", "<b>")
    for split in ("train", "test"):
        for i, name in enumerate(names):
            (tmp_path / "p" / split / name).mkdir(parents=True)
            picture(i).save(tmp_path / "p" / split / name / "0.png")
    assert whole(tmp_path / "p").train.classes == tuple(sorted(names))
    command = [
        sys.executable,
        "-m",
        "degrade",
        "sweep",
        "data=image_folder",
        f"data.root={tmp_path / 'p'}",
        "--dry-run",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert np.all([len(line) < 200 for line in done.stdout.splitlines()])
