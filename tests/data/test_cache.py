import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from degrade.data.cache import Cache, Known, key_of
from degrade.data.images import fingerprint
from degrade.errors import DataError
from degrade.store import seal

KEY = key_of("some pictures")

pytestmark = pytest.mark.usefixtures("user")


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 5, 4), np.uint8)


def make(cache: Cache, seed: int = 0) -> Known:
    with cache.draft() as draft:
        shapes = {split: draft.add(split, iter(pixels(n, seed))) for split, n in (("train", 6), ("test", 3))}
        assert shapes == {"train": (6, 3, 5, 4), "test": (3, 3, 5, 4)}
        labels = {"train": np.arange(6) % 2, "test": np.arange(3) % 2}
        return Known(draft.publish(labels, ("cat", "dög\n")))


def refuse() -> Known:
    raise AssertionError("made again")


def folders(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.home.iterdir() if path.is_dir())


def test_what_was_written_is_what_is_read(root):
    cache = Cache(root)
    known = cache.known(KEY, lambda: make(cache))
    train, test = Cache(root).load(known.content)
    assert (train.pixels == pixels(6)).all()
    assert (test.pixels == pixels(3)).all()
    assert train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert train.classes == test.classes == ("cat", "dög\n")
    assert known.content == fingerprint(train, test)
    assert Cache(root).known(KEY, refuse) == known
    assert folders(cache) == [known.content]


def test_pixels_are_mapped_and_a_stray_write_stays_in_the_process(root):
    cache = Cache(root)
    content = cache.known(KEY, lambda: make(cache)).content
    train, _ = cache.load(content)
    assert isinstance(train.pixels.base, np.memmap)
    torch.from_numpy(train.pixels)  # warnings are errors: torch warns of arrays that may not be written to
    train.pixels[:] = 0
    assert (cache.load(content)[0].pixels == pixels(6)).all()


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: flip_last_byte(folder / "train-pixels.npy"),
        lambda folder: flip_last_byte(folder / "test-labels.npy"),
        lambda folder: (folder / "about.json").write_text("{"),
        lambda folder: (folder / "about.json").unlink(),
        lambda folder: os.truncate(folder / "train-pixels.npy", 200),
        lambda folder: (folder / "test-pixels.npy").write_bytes(b""),
    ],
    ids=["pixel", "label", "json", "no json", "cut", "empty"],
)
def test_what_is_damaged_is_made_again(root, harm):
    cache = Cache(root)
    known = cache.known(KEY, lambda: make(cache))
    harm(root / ".degrade" / known.content)
    assert cache.recall(KEY) is None
    assert cache.known(KEY, lambda: make(cache)) == known
    assert cache.known(KEY, refuse) == known
    assert (cache.load(known.content)[0].pixels == pixels(6)).all()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: os.truncate(folder / "train-pixels.npy", 200), "damaged in"),
        (lambda folder: np.save(folder / "test-labels.npy", np.array([0, 1, 2])), "labels beyond its 2 classes"),
        (lambda folder: np.save(folder / "test-labels.npy", np.array([0, 1])), "test is not of shape"),
        (lambda folder: (folder / "about.json").unlink(), "not here"),
    ],
)
def test_a_worker_says_what_is_wrong_in_one_line(root, harm, words):
    cache = Cache(root)
    content = cache.known(KEY, lambda: make(cache)).content
    harm(root / ".degrade" / content)
    with pytest.raises(DataError, match=words) as caught:
        cache.load(content)
    assert "\n" not in str(caught.value)
    assert "start the sweep again" in str(caught.value)


@pytest.mark.parametrize("place", [".degrade", ".degrade/draft", ".degrade/.lock"])
def test_what_a_link_in_a_gift_of_pictures_leads_to_is_not_touched(root, user, tmp_path, place):
    """It was written to, and its `draft` removed."""
    mine = tmp_path / "mine"
    (mine / "draft").mkdir(parents=True)
    (mine / "draft" / "thesis.tex").write_text("of years")
    (root / ".degrade").mkdir(exist_ok=True) if place != ".degrade" else None
    (root / place).symlink_to(mine / "draft" / "thesis.tex" if place.endswith("lock") else mine)
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    cache = Cache(root)
    known = cache.known(KEY, lambda: make(cache))
    assert cache.home == user
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
    assert cache.load(known.content)[0].classes == ("cat", "dög\n")


NOTES = (
    {"content": 3, "bad": []},
    {"content": ["a"], "bad": []},
    {"content": None, "bad": []},
    {"content": "a\0b", "bad": []},
    {"content": "../..", "bad": []},
    {"content": "a", "bad": [3]},
    {"content": "a", "bad": {"b": 1}},
    {"content": "a", "bad": 3},
    {"content": "a"},
)


@pytest.mark.parametrize("note", NOTES, ids=str)
def test_a_sealed_note_of_other_types_is_no_note(root, note):
    """Of somebody who can seal: a traceback of every command."""
    cache = Cache(root)
    cache.remember(KEY, Known("content"))
    (cache.notes / f"{KEY}.json").write_bytes(seal.to_json(note))
    assert cache.recall(KEY, partial=True) is None
    assert cache.known(KEY, lambda: make(cache)).bad == ()


def test_a_damaged_note_of_what_is_known_is_no_note(root):
    cache = Cache(root)
    known = cache.known(KEY, lambda: make(cache))
    for text in ("", "[]", '{"content": 3}', '{"bad": []}'):
        (cache.notes / f"{KEY}.json").write_text(text)
        assert cache.recall(KEY) is None, text
    assert cache.known(KEY, lambda: make(cache)) == known


def test_what_leaves_pictures_out_is_taken_only_where_that_will_do(root):
    cache = Cache(root)
    partial = cache.known(KEY, lambda: make(cache)._replace(bad=("a",)))
    assert cache.known(KEY, refuse, partial=True) == partial == Known(partial.content, ("a",))
    assert cache.recall(KEY) is None


def test_of_two_that_want_the_same_one_makes_it(root):
    made: list[int] = []
    both = threading.Barrier(2)

    def want(_: int) -> Known:
        cache = Cache(root)
        assert cache.recall(KEY) is None
        both.wait(timeout=30)
        return cache.known(KEY, lambda: made.append(1) or make(cache))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(want, range(2))
    assert first == second
    assert made == [1]


CRASH = """
import os, sys
from pathlib import Path
import numpy as np
from degrade.data.cache import Cache
def pictures():
    yield np.zeros((3, 5, 4), np.uint8)
    os._exit(9)
def make(cache):
    with cache.draft() as draft:
        draft.add("train", pictures())
cache = Cache(Path(sys.argv[1]))
cache.known(sys.argv[2], lambda: make(cache))
"""


def test_a_crash_leaves_nothing_that_looks_finished(root):
    assert subprocess.run([sys.executable, "-c", CRASH, str(root), KEY]).returncode == 9
    cache = Cache(root)
    assert folders(cache) == ["draft"]
    assert cache.recall(KEY) is None
    known = cache.known(KEY, lambda: make(cache))
    assert folders(cache) == [known.content]


def test_an_error_leaves_nothing_behind(root):
    cache = Cache(root)

    def fail() -> Known:
        with cache.draft() as draft:
            draft.add("train", iter(pixels(2)))
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"\.degrade: cannot be written \(No space left on device\)"):
        cache.known(KEY, fail)
    assert folders(cache) == []
    assert cache.empty


def no_folder(cache: Path) -> None:
    cache.write_text("a file where the folder should be: nothing can be made in it")


def no_lock(cache: Path) -> None:
    (cache / ".lock").mkdir(parents=True)  # not to be opened, as one of another user


@pytest.mark.parametrize("hinder", [no_folder, no_lock])
def test_a_root_that_takes_no_files_has_its_cache_in_the_users_folder(root, user, hinder):
    hinder(root / ".degrade")
    cache = Cache(root)
    known = cache.known(KEY, lambda: make(cache))
    assert (user / known.content / "about.json").exists()
    assert Cache(root).known(KEY, refuse) == known


def test_no_place_at_all_is_one_line(root, user):
    (root / ".degrade").write_text("")
    user.parent.write_text("")
    with pytest.raises(DataError, match=r"cannot write into .*\.degrade or .*user/degrade; set XDG_CACHE_HOME"):
        Cache(root).known(KEY, refuse)


def test_without_a_root_the_users_folder_is_used(monkeypatch, tmp_path, user):
    assert Cache(None).home == user
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache(None).home == tmp_path / ".cache" / "degrade"


def test_names_that_are_no_text_survive(root):
    cache = Cache(root)
    with cache.draft() as draft:
        for split in ("train", "test"):
            draft.add(split, iter(pixels(1)))
        content = draft.publish({split: np.array([0]) for split in ("train", "test")}, ("caf\udce9",))
    assert cache.load(content)[0].classes == ("caf\udce9",)
    assert json.loads((cache.home / content / "about.json").read_bytes())["train"] == [1, 3, 5, 4]


WORKER = """
import sys
from pathlib import Path
from degrade import data
from degrade.spec import parse
from degrade.train.fit import Fit

def written():  # kB that this process alone has: pages of a file that it only reads are not among them
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

pictures = {"name": "image_folder", "root": sys.argv[1], "content": sys.argv[2], "size": 32}
recipe = {"batch": 16, "clean_images": 100, "iterations": 2, "eval_every": 2}
spec = parse({"depth": 8, "width": 4, "data": pictures, "recipe": recipe})
fit = Fit(spec, data.load(spec.data))
fit.advance(1)
print(1024 * written(), fit.train.pixels.numel())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="looks for what is private in /proc")
def test_a_worker_has_no_copy_of_the_pixels(root):
    """Two workers, one with few pictures and one with many: what torch and the kernels take is in both."""
    cache, noise = Cache(root), np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    private, pixels = {}, {}
    for images in (300, 30_000):
        n = {"train": images, "test": 10}
        with cache.draft() as draft:
            for split, count in n.items():
                draft.add(split, (noise for _ in range(count)))
            content = draft.publish({split: np.arange(count) % 2 for split, count in n.items()}, ("a", "b"))
        said = subprocess.check_output([sys.executable, "-c", WORKER, str(root), content], text=True)
        private[images], pixels[images] = map(int, said.split())
    assert pixels == {images: images * 3 * 32 * 32 for images in (300, 30_000)}
    assert private[30_000] - private[300] < pixels[30_000] / 2
