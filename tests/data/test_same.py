"""What proves that a folder holds the pictures it held: the bytes, and dates only where nobody can choose them."""

import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from photos import spec, whole
from PIL import Image

from degrade import data
from degrade.data import folder, mounts
from degrade.data.cache import Cache, Known
from degrade.data.images import fingerprint
from degrade.data.tree import scan
from degrade.store import seal

DATE = (1_700_000_000, 1_700_000_000)  # of every file, as an archive gives it

pytestmark = pytest.mark.usefixtures("user")


def grey(root: Path, **shades: int) -> Path:
    """A folder with two BMPs of one grey in each class: files of one size, and all of one date."""
    for split, (name, shade), place in product(("train", "test"), shades.items(), range(2)):
        file = root / split / name / f"{place}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, shade, place)).save(file)
        os.utime(file, DATE)
    return root


@pytest.fixture
def trusted(monkeypatch) -> None:
    """A file system of this machine, whose changes are all long ago."""
    monkeypatch.setattr(mounts, "identify_systems", lambda places: (7,))
    monkeypatch.setattr(mounts, "SETTLED", -60.0)


@pytest.fixture
def digested(monkeypatch) -> list[str]:
    """The folders whose bytes were read to know them again."""
    roots: list[str] = []
    digest = folder._digest_files
    monkeypatch.setattr(folder, "_digest_files", lambda root, *rest: [roots.append(root.name), digest(root, *rest)][1])
    return roots


def shades(root: Path) -> list[int]:
    """The grey of each training picture."""
    return whole(root).train.pixels[:, 0, 0, 0].tolist()


def no_writing(root: Path) -> None:
    (root / ".degrade").write_text("so that the cache of all such folders is the user's own")


@pytest.mark.usefixtures("trusted")
def test_two_folders_of_equal_names_sizes_and_dates_have_their_own_pixels(tmp_path):
    """The second had the first one's."""
    first, second = grey(tmp_path / "a", cat=10, dog=20), grey(tmp_path / "b", cat=30, dog=40)
    for root in (first, second):
        no_writing(root)
    assert shades(first) == [10, 10, 20, 20]
    assert shades(second) == [30, 30, 40, 40]


def swap_folders(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "cat").rename(root / split / "x")
        (root / split / "dog").rename(root / split / "cat")
        (root / split / "x").rename(root / split / "dog")


def swap_links(root: Path) -> None:
    for split, name in product(("train", "test"), ("cat", "dog")):
        (root / split / name).rename(root.parent / f"{split}-{name}")
    for split, (name, other) in product(("train", "test"), (("cat", "dog"), ("dog", "cat"))):
        (root / split / name).symlink_to(root.parent / f"{split}-{other}")


def rewrite(root: Path) -> None:
    for path in (root / "train").rglob("*.bmp"):
        Image.new("RGB", (8, 8), (20, 20, 0) if path.parent.name == "cat" else (10, 10, 0)).save(path)
        os.utime(path, DATE)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("swap", [swap_folders, swap_links, rewrite])
def test_swapped_classes_have_swapped_labels_though_no_date_changes(tmp_path, swap):
    """The old labels stayed."""
    root = grey(tmp_path / "photos", cat=10, dog=20)
    assert shades(root) == [10, 10, 20, 20]
    swap(root)
    assert shades(root) == [20, 20, 10, 10]


@pytest.mark.usefixtures("trusted")
def test_what_dates_prove_is_not_read_again(tmp_path, digested):
    root = grey(tmp_path / "photos", cat=10, dog=20)
    first = data.prepare(spec(root))
    assert data.prepare(spec(root)) == first
    assert digested == []


@pytest.mark.parametrize("why", ["a kind that keeps no such times", "a change a moment ago", "no list of mounts"])
def test_where_dates_prove_nothing_the_bytes_are_read(tmp_path, monkeypatch, digested, why):
    if why == "a kind that keeps no such times":
        monkeypatch.setattr(mounts, "SETTLED", -60.0)
        monkeypatch.setattr(mounts, "_list_mounts", lambda: {"/": "vfat"})
    elif why == "no list of mounts":
        monkeypatch.setattr(mounts, "SETTLED", -60.0)
        monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "nothing")
    else:
        monkeypatch.setattr(mounts, "identify_systems", lambda places: (7,))
        monkeypatch.setattr(mounts, "SETTLED", 60.0)
    root = grey(tmp_path / "photos", cat=10, dog=20)
    first = data.prepare(spec(root))
    assert data.prepare(spec(root)) == first
    assert digested == ["photos", "photos"]  # train and test


def test_the_file_system_of_a_place_is_that_of_the_nearest_mount(tmp_path, monkeypatch):
    lines = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / {} rw shared:1 - nfs4 host:/x rw\n"
    (tmp_path / "a b" / "c").mkdir(parents=True)
    (tmp_path / "mounts").write_text(lines.format(str(tmp_path.resolve() / "a b").replace(" ", "\\040")))
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mounts")
    assert mounts.identify_systems([tmp_path]) is not None
    assert mounts.identify_systems([tmp_path, tmp_path / "a b" / "c"]) is None
    (tmp_path / "link").symlink_to(tmp_path / "a b" / "c")
    assert mounts.identify_systems([tmp_path / "link"]) is None
    assert mounts.identify_systems([tmp_path / "gone"]) is None


@pytest.mark.usefixtures("trusted")
def test_a_picture_that_the_disk_refused_once_is_tried_again(tmp_path, monkeypatch):
    """It would have been left out for good, since no date changes when a disk recovers."""
    root, read = grey(tmp_path / "photos", cat=10, dog=20), folder._read_bytes

    def refuse(at: Path, picture) -> bytes:
        if picture.name == "train/cat/0.bmp":
            raise folder.Unreadable("Input/output error")
        return read(at, picture)

    monkeypatch.setattr(folder, "_read_bytes", refuse)
    assert len(whole(root, skip_bad=True).train) == 3
    monkeypatch.setattr(folder, "_read_bytes", read)
    assert len(whole(root, skip_bad=True).train) == 4


def forge(root: Path, other: Path) -> None:
    """Puts a cache into `root` that says of its pictures what is true of those of `other`, sealed and whole."""
    known = data.prepare(spec(other)).content
    shutil.copytree(other / ".degrade", root / ".degrade")
    tree = scan(root)
    digests = {split: folder._digest_files(root, some, data.quiet) for split, some in tree.splits.items()}
    (root / ".degrade" / "keys").mkdir()
    for key in (tree.bytes_key(8, digests), tree.quick_key(8)):
        note = seal.to_json(Known(known)._asdict())
        (root / ".degrade" / "keys" / f"{key}.json").write_bytes(note)


@pytest.mark.usefixtures("trusted")
def test_a_note_that_came_with_the_pictures_is_not_believed(tmp_path):
    root, other = grey(tmp_path / "photos", cat=10, dog=20), grey(tmp_path / "other", cat=30, dog=40)
    forge(root, other)
    assert shades(root) == [10, 10, 20, 20]


def test_pixels_that_came_with_the_pictures_are_checked_against_their_name(tmp_path, user):
    """A run names the content; what lies there under that name may be another's. Both places are looked at."""
    root, other = grey(tmp_path / "photos", cat=10, dog=20), grey(tmp_path / "other", cat=30, dog=40)
    run = data.prepare(spec(root))
    shutil.rmtree(root / ".degrade")
    (root / ".degrade").mkdir()
    shutil.copytree(other / ".degrade" / data.prepare(spec(other)).content, root / ".degrade" / run.content)
    with pytest.raises(data.DataError, match="is another content"):
        data.check(run)
    again = data.prepare(run, theirs=True)  # as for a run of somebody else
    assert again.content == run.content
    data.check(again)
    assert data.load(again).train.pixels[:, 0, 0, 0].tolist() == [10, 10, 20, 20]
    assert (user / run.content).exists()


def test_a_damaged_copy_of_the_users_own_hides_no_other(tmp_path, user):
    root = grey(tmp_path / "photos", cat=10, dog=20)
    run = data.prepare(spec(root))
    shutil.copytree(root / ".degrade" / run.content, user / run.content)
    pixels = np.lib.format.open_memmap(user / run.content / "train-pixels.npy", mode="r+")
    pixels[0] ^= 1
    pixels.flush()
    assert data.prepare(spec(root)) == run
    assert fingerprint(*Cache(root).load(run.content)) == run.content


def test_without_a_place_for_notes_pictures_are_decoded_again(tmp_path, user):
    user.parent.write_text("a file, so nothing can be made in it")
    root = grey(tmp_path / "photos", cat=10, dog=20)
    first = data.prepare(spec(root))
    assert data.prepare(spec(root)) == first
    assert len(data.load(first).train) == 4
