"""Bytes that change while name, size and times of a file stay: what is read is what lies there now.

Only pictures are known by times at all, and by those that no program can set (degrade.data.mounts). As a restored
backup or a copy that keeps times, `change` sets the time of the last change back.
"""

import os
import shutil
from pathlib import Path

import pytest
from conftest import with_kernels
from ended import SPEC, finished
from photos import spec, whole
from PIL import Image

from degrade import data
from degrade.data import mounts
from degrade.errors import RunError
from degrade.experiments.verify import verify
from degrade.store.results import load
from degrade.sweep import compose
from degrade.train.backends.native import build
from degrade.train.run import run


def change(path: Path, content: bytes) -> None:
    """Other bytes, as many, of the same time."""
    before = path.stat()
    assert len(content) == before.st_size
    assert content != path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    change(path, bytes(content))


@pytest.mark.parametrize("name", ["curve.parquet", "spec.json", "state.json"])
def test_a_file_of_a_run_is_read_anew_by_every_look(tmp_path, name):
    folder = finished(tmp_path)
    before = load(tmp_path).curves
    assert folder.standing().name == "finished"
    flip(folder.path / name)
    assert folder.standing().name == "damaged"
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load(tmp_path)
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert load(tmp_path).curves.equals(before)


def test_so_is_a_checkpoint(tmp_path):
    folder = finished(tmp_path)
    assert [each.problems for each in verify([tmp_path])] == [()]
    flip(folder.checkpoint)
    (found,) = verify([tmp_path])
    assert "checkpoint.pt" in found.problems[0]


@pytest.fixture
def photos(tmp_path, user) -> Path:
    """Pictures of one grey, of one size and one time, long ago; none is packed, so that another grey is as large."""
    for split in ("train", "test"):
        for name, shade in (("cat", 10), ("dog", 20)):
            path = tmp_path / "photos" / split / name / "0.bmp"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)
            os.utime(path, (1_700_000_000, 1_700_000_000))
    return tmp_path / "photos"


def shades(root: Path) -> list[int]:
    """The grey of each training picture."""
    return whole(root).train.pixels[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("trusted", [True, False], ids=["times that prove", "times that prove nothing"])
def test_so_are_pictures_whatever_their_disk(photos, monkeypatch, trusted):
    monkeypatch.setattr(mounts, "identify_systems", lambda places: (7,) if trusted else None)
    monkeypatch.setattr(mounts, "SETTLED", -60.0)
    assert shades(photos) == [10, 20]
    path = photos / "train" / "cat" / "0.bmp"
    change(path, path.read_bytes().replace(b"\x0a\x0a\x0a", b"\x0b\x0b\x0b"))
    assert shades(photos) == [11, 20]


def test_so_are_pixels_of_a_cache(photos):
    prepared = data.prepare(spec(photos))
    pixels = photos / ".degrade" / prepared.content / "train-pixels.npy"
    right = pixels.read_bytes()
    flip(pixels)
    assert data.prepare(spec(photos)) == prepared
    assert pixels.read_bytes() == right


def test_so_are_configurations(tmp_path, monkeypatch):
    shutil.copytree(compose.conf_dir(), tmp_path / "conf")
    monkeypatch.setattr(compose, "conf_dir", lambda: tmp_path / "conf")
    path = tmp_path / "conf" / "recipe" / "mine.yaml"
    path.write_text("# @package _global_\nrecipe: {iterations: 11}\n")

    def read() -> int:
        with compose.start_hydra():
            return compose.configure(("recipe=mine",)).recipe.iterations

    assert read() == 11
    change(path, path.read_bytes().replace(b"11", b"12"))
    assert read() == 12


@with_kernels()
def test_so_are_compiled_kernels(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_COMPILE_FLAGS", ("-O0", *build._COMPILE_FLAGS[1:]))
    build.load.cache_clear()
    name = build.load("fp32").name
    flip(tmp_path / "cache" / "degrade" / "kernels" / name)
    build.load.cache_clear()
    assert build.load("fp32").library.run
    assert "the kernels are built anew" in capsys.readouterr().out
    build.load.cache_clear()


@pytest.mark.parametrize("name", ["train/cat", "test/dog"])
def test_a_content_is_named_by_bytes_and_not_by_times(photos, name):
    first = data.prepare(spec(photos)).content
    path = photos / name / "0.bmp"
    shade = 10 if "cat" in name else 20
    change(path, path.read_bytes().replace(bytes(3 * [shade]), bytes(3 * [shade + 1])))
    assert data.prepare(spec(photos)).content != first
