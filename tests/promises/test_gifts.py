"""Folders of pictures and of results from somebody else: what lies in them is read or refused, not written to."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from PIL import Image

from degrade import data
from degrade.spec import DataSpec
from degrade.store.folder import RunDir, write_json
from degrade.train import run

ENDLESS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to a device": lambda place: place.symlink_to("/dev/zero"),
}

pytestmark = pytest.mark.usefixtures("user")


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of noise of 8x8 pixels, without a cache."""
    draws = np.random.default_rng(0)
    for split, name, place in product(("train", "test"), ("cat", "dog"), range(8)):
        file = tmp_path / "photos" / split / name / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (8, 8, 3), np.uint8)).save(file)
    return tmp_path / "photos"


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


PREPARED = """
import resource, sys
from degrade import data
from degrade.errors import DataError
from degrade.spec import DataSpec
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # bytes: of a device there is no end
if sys.argv[2:]:
    try:
        print(data.load(DataSpec(name="image_folder", root=sys.argv[1], content=sys.argv[2])))
    except DataError as error:
        print(error)
else:
    print(data.prepare(DataSpec(name="image_folder", root=sys.argv[1])).content)
"""


def apart(*arguments: object) -> str:
    """What is said of pictures in a process of its own, which must end within a minute."""
    command = [sys.executable, "-c", PREPARED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("name", ["*/about.json", "*/train-pixels.npy", "*/train-labels.npy"])
def test_what_has_no_end_in_a_gift_of_pictures_is_not_waited_for(photos, name, kind):
    content = data.prepare(DataSpec(name="image_folder", root=str(photos))).content
    for place in list((photos / ".degrade").glob(name)):
        place.unlink()
        ENDLESS[kind](place)
    said = apart(photos, content)
    assert f"data.content={content}: damaged in {photos}/.degrade/{content} (" in said
    assert "is no file" in said or "is a pipe or a device" in said
    assert apart(photos) == content
    assert data.load(DataSpec(name="image_folder", root=str(photos), content=content)).train.pixels.shape[1:] == (
        3,
        8,
        8,
    )


@pytest.mark.parametrize("place", [".degrade", ".degrade/draft", ".degrade/.lock"])
def test_a_cache_whose_lock_or_folders_are_pipes_is_not_written_to(photos, user, place):
    (photos / place).parent.mkdir(exist_ok=True)
    os.mkfifo(photos / place)
    before = files(photos)
    content = apart(photos)
    assert files(photos) == before
    assert (user / content / "about.json").exists()


@pytest.fixture
def theirs(photos, tmp_path) -> tuple[RunDir, Path]:
    """A run of somebody who trained on these pictures, whose cache is not in the gift; and the pictures."""
    asked = {"name": "image_folder", "root": str(photos), "train_limit": None, "test_limit": None}
    spec = tiny(data=asked, recipe={"iterations": 2})
    run.run([spec], tmp_path / "theirs")
    shutil.rmtree(photos / ".degrade")
    return RunDir(tmp_path / "theirs", spec.run), photos


COMMANDS = {
    "evaluate": lambda folder: ["evaluate", "--ckpt", str(folder.path)],
    "ensemble": lambda folder: ["ensemble", str(folder.path), str(folder.path)],
    "responses": lambda folder: ["responses", str(folder.path.parent.parent)],
    "rerun": lambda folder: ["rerun", str(folder.path)],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_pictures_that_a_run_names_are_decoded_into_the_users_cache_and_nothing_is_written_beside_them(
    here, theirs, user, command
):
    """A cache was made wherever the spec of a stranger pointed."""
    folder, photos = theirs
    before = files(photos)
    done = here(*COMMANDS[command](folder))
    assert done.returncode == 0, done.stderr
    assert files(photos) == before
    assert (user / folder.read_spec().data.content / "about.json").exists()


def retold(folder: RunDir, **changes: str) -> RunDir:
    """The run as if it had been trained on other data: its checkpoint and its spec say so."""
    from degrade.train.checkpoint import pack, unpack

    spec = folder.read_spec()
    spec = replace(spec, data=replace(spec.data, **changes))
    other = RunDir(folder.path.parent.parent, spec.run)
    shutil.copytree(folder.path, other.path)
    shutil.rmtree(folder.path)
    write_json(other.spec, json.loads(other.spec.read_text()) | {"spec": spec.tree(), "run": spec.run})
    write_json(other.state, json.loads(other.state.read_text()) | {"run": spec.run})
    for path in (path for path in other.checkpoints if path.exists()):
        path.write_bytes(pack({**unpack(path.read_bytes()), "spec": spec.tree(), "run": spec.run}))
    return other


@pytest.fixture
def no_host(monkeypatch) -> list[str]:
    """The addresses that a download was begun from."""
    begun: list[str] = []
    monkeypatch.setattr("degrade.data.download.urlopen", lambda request, **_: begun.append(request.full_url))
    return begun


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["cifar10", "image_folder"])
@pytest.mark.parametrize("there", [True, False])
def test_what_a_run_names_and_is_not_here_is_neither_fetched_nor_made_room_for(
    here, theirs, user, tmp_path, no_host, command, name, there
):
    """It was 170 MB, into a folder of the stranger's choice."""
    folder, _ = theirs
    (tmp_path / "made").mkdir() if there else None
    folder = retold(folder, name=name, root=str(tmp_path / "made"), content="0123456789abcdef")
    done = here(*COMMANDS[command](folder))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path}/made" in done.stderr
    if name == "cifar10" or not there:
        assert f"and nothing is fetched that only a run names; say data={name} and where, by data.root=" in done.stderr
    assert no_host == []
    assert (list((tmp_path / "made").iterdir()) if there else not (tmp_path / "made").exists()) in ([], True)
