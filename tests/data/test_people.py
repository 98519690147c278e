"""Folders as people have them: each gives the right pictures and labels and says what it leaves out, or is refused in
one line that names the way out.
"""

import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from photos import refused, spec
from PIL import Image

from degrade import data

SHADES = {"cat": 40, "dog": 160}
COMPOSED, APART = unicodedata.normalize("NFC", "chiã"), unicodedata.normalize("NFD", "chiã")

pytestmark = pytest.mark.usefixtures("user")


def put(place: Path, shade: int) -> None:
    """A picture of one grey, in the form that its name says."""
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(place)


def splits(root: Path, train: str = "train", test: str | None = "test", **shades: int) -> None:
    """Three pictures of each class to train on, two to test."""
    for folder, count in ((train, 3), *([(test, 2)] if test else [])):
        for name, shade in (shades or SHADES).items():
            for i in range(count):
                put(root / folder / name / f"{i}.png", shade)


def write(place: Path, content: bytes | str = b"of another kind") -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)


class Folder(NamedTuple):
    """What a folder has besides `splits`, and what must come of it."""

    make: Callable[[Path], object]
    says: tuple[str, ...] = ()  # parts of the remark, or of the refusal
    counts: tuple[int, int] | None = (6, 4)  # pictures to train and test on; None: refused
    classes: tuple[str, ...] = ("cat", "dog")
    given: dict[str, object] = {}  # noqa: RUF012 - keys of data
    plain: bool = True  # begins from `splits`


def of_a_nas(root: Path) -> None:
    for split in ("train", "test"):
        put(root / split / "@eaDir" / "SYNOPHOTO_THUMB_M.jpg", 255)
        put(root / split / "cat" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.jpg", 255)
        put(root / split / "dog" / ".thumbnails" / "x.png", 255)
        write(root / split / "cat" / "Thumbs.db")


def with_trash(root: Path) -> None:
    for name in (".Trash-1000", "$RECYCLE.BIN"):
        put(root / "train" / name / "files" / "x.png", 255)
    put(root / "train" / "cat" / ".trashed-1700000000-x.png", 255)


def from_a_mac(root: Path) -> None:
    for i in range(3):
        write(root / "train" / "cat" / f"._{i}.png", b"\0\5\x16\7\0\2\0\0Mac OS X")
    write(root / "__MACOSX" / "train" / "cat" / "._0.png")
    put(root / "train" / "__MACOSX" / "cat" / "x.png", 255)
    write(root / "train" / ".DS_Store")


def two_of_one_name(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "cat").rename(root / split / COMPOSED)
        shutil.copytree(root / split / COMPOSED, root / split / APART)


def one_name_in_two_forms(root: Path) -> None:
    (root / "train" / "dog").rename(root / "train" / APART)
    (root / "test" / "dog").rename(root / "test" / COMPOSED)


def unlabelled_test(root: Path) -> None:
    (root / "test").rename(root / "val")
    for i in range(5):
        put(root / "test" / f"{i}.jpg", 255)


def mixed(root: Path) -> None:
    for split in ("train", "test"):
        for i, end in enumerate(("JPG", "JPEG", "bmp", "GIF", "tiff", "WebP", "ppm")):
            put(root / split / "cat" / f"IMG {i}.{end}", 40)


def linked(root: Path) -> None:
    (root / "train" / "cat").rename(root.parent / "cats elsewhere")
    (root / "train" / "cat").symlink_to(root.parent / "cats elsewhere")


def gone_link(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "cow").symlink_to("/mnt/disk that is not there/cow")


def deeper(root: Path) -> None:
    splits(root / "photos-main")
    put(root / "__MACOSX" / "train" / "x.png", 255)


def twice_train(root: Path) -> None:
    for split in ("train", "test"):
        (root / split).rename(root / "x")
        (root / "x").rename(root / split) if split == "test" else shutil.move(root / "x", root / split / split)


def level_between(root: Path) -> None:
    for split in ("train", "test"):
        (root / split).rename(root / "x")
        (root / split).mkdir()
        (root / "x").rename(root / split / "images")


def flat_with_a_list(root: Path) -> None:
    for split in ("train", "test"):
        for i in range(4):
            put(root / split / f"{i}.png", 60 * i)
    write(root / "train_labels.csv", "file,label\n0.png,cat\n")


FOLDERS = {
    "train and val": Folder(lambda root: (root / "test").rename(root / "val")),
    "both test and val": Folder(lambda root: splits(root, "x", "val"), ("folders beside train and test (val, x)",)),
    "another name for test": Folder(
        lambda root: splits(root, "x", "held out"), given={"test": "held out"}, says=("(test, x)",)
    ),
    "test has no labels, val has": Folder(unlabelled_test, ("1 folder without classes (test)",)),
    "test has no labels, and no val": Folder(
        lambda root: [shutil.rmtree(root / "test"), put(root / "test" / "0.png", 9)],
        ("test/ has no class folders",),
        None,
    ),
    "no test": Folder(lambda root: shutil.rmtree(root / "test"), ("has no folder test/ or val/ in it",), None),
    "test of another name": Folder(
        lambda root: (root / "test").rename(root / "Testing"), ("is the test set 'Testing'? say data.test=NAME",), None
    ),
    "a test that is not there": Folder(
        lambda root: None, ("has no folder valid/ in it", "'test'"), None, given={"test": "valid"}
    ),
    "unpacked one level deeper": Folder(
        deeper,
        ("has no folder train/ in it", "'photos-main' has train/ in it: data.root=", "/photos-main"),
        None,
        plain=False,
    ),
    "not unpacked": Folder(lambda root: write(root / "train.zip"), ("unpack 'train.zip' first",), None, plain=False),
    "classes not unpacked": Folder(
        lambda root: [write(root / split / "cat.tar.gz") for split in ("train", "test")],
        ("train/ has no class folders", "unpack 'train/cat.tar.gz' first"),
        None,
        plain=False,
    ),
    "an archive left beside the pictures": Folder(
        lambda root: write(root / "train" / "cat" / "cats.zip"), ("1 file packed (.zip)",)
    ),
    "capital extensions and many formats": Folder(mixed, counts=(13, 11)),
    "names of all scripts, and spaces": Folder(
        lambda root: [put(root / split / "ねこ と いぬ" / "ы 1.png", 99) for split in ("train", "test")],
        counts=(7, 5),
        classes=("cat", "dog", "ねこ と いぬ"),
    ),
    "a class that is a link": Folder(linked),
    "a class that is a link to nothing": Folder(
        gone_link, ("'train/cow' is a link that leads nowhere; mend it",), None
    ),
    "a test set that is a link to nothing": Folder(
        lambda root: [(root / "test").rename(root / "val"), (root / "test").symlink_to("nothing")],
        ("'test' is a link that leads to no folder; mend it",),
        None,
    ),
    "a link to nothing among the pictures": Folder(
        lambda root: (root / "train" / "cat" / "more").symlink_to("nothing"), ("1 file behind a broken link (more)",)
    ),
    "a link back to all classes among the pictures of one": Folder(
        lambda root: (root / "train" / "cat" / "all").symlink_to(root / "train"),
        ("1 folder behind a link back (all)",),
    ),
    "of a NAS": Folder(of_a_nas, ("6 folders of thumbnails (.thumbnails, @eaDir)", "2 files besides pictures (.db)")),
    "with trash": Folder(
        with_trash, ("2 folders of trash ($RECYCLE.BIN, .Trash-1000)", "1 file of trash (.trashed-*)")
    ),
    "from a Mac": Folder(from_a_mac, ("3 files of macOS (._*)", "1 folder of the system (__MACOSX)", "(.DS_Store)")),
    "hidden files and folders": Folder(
        lambda root: [put(root / "train" / ".old" / "x.png", 9), put(root / "train" / "cat" / ".git" / "x.png", 9)],
        ("2 folders with a hidden name (.git, .old)",),
    ),
    "an empty class": Folder(
        lambda root: [(root / split / "cow").mkdir() for split in ("train", "test")],
        ("'train/cow' has no pictures in it; add some or remove the class",),
        None,
    ),
    "a class of pictures that nothing decodes": Folder(
        lambda root: [write(root / split / "cow" / "1.CR2") for split in ("train", "test")],
        ("'train/cow' has no pictures that can be read", "1 file of kinds that are not read (.cr2)"),
        None,
    ),
    "one class only": Folder(
        lambda root: [shutil.rmtree(root / split / "dog") for split in ("train", "test")],
        ("has one class, so there is nothing to tell apart",),
        (3, 2),
        ("cat",),
    ),
    "a folder between": Folder(
        level_between, ("'train/images' holds folders: if they are the classes, move them up",), None
    ),
    "train in train": Folder(
        twice_train, ("only train/ has 'train'", "'train/train' holds folders", "move them up"), None
    ),
    "a class in test alone": Folder(
        lambda root: put(root / "test" / "cow" / "1.png", 9),
        ("only test/ has 'cow'; both need the same classes",),
        None,
    ),
    "classes in other capitals": Folder(
        lambda root: (root / "test" / "cat").rename(root / "test" / "Cat"),
        ("they differ in capitals: rename some",),
        None,
    ),
    "one name in two forms of Unicode": Folder(one_name_in_two_forms, classes=("cat", COMPOSED)),
    "two classes of one name to people": Folder(
        two_of_one_name, (f"train/ has '{COMPOSED}' twice, as", "put them together"), None
    ),
    "a picture cut short": Folder(
        lambda root: write(root / "train" / "cat" / "a.png", (root / "train" / "cat" / "0.png").read_bytes()[:50]),
        ("1 unreadable picture: 'train/cat/a.png' (", "data.skip_bad=true"),
        None,
    ),
    "a picture of no bytes": Folder(
        lambda root: write(root / "test" / "dog" / "a.jpg", b""), ("'test/dog/a.jpg' (empty file)",), None
    ),
    "text among the pictures": Folder(
        lambda root: [
            write(root / "train" / "cat" / name, "cat") for name in ("0.txt", "1.txt", "notes.json", "README")
        ],
        ("4 files besides pictures (.json, .txt, README)",),
    ),
    "pictures beside the classes": Folder(
        lambda root: put(root / "train" / "9.png", 9), ("1 file beside the classes of train (.png)",)
    ),
    "no classes but a list of labels": Folder(
        flat_with_a_list,
        ("train/ has no class folders", "labels in 'train_labels.csv' are not read: sort the pictures"),
        None,
        plain=False,
    ),
}


def look(root: Path, given: dict[str, object]) -> tuple[data.Splits, Sequence[str]]:
    """The pictures of a folder, and the remarks on it."""
    remarks: list[str] = []
    found = data.prepare(spec(root, **given), lambda what, _, total: remarks.extend([] if total else [what]))
    return data.load(found), remarks


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_as_people_have_them_is_read_right_or_refused(tmp_path, name):
    folder, root = FOLDERS[name], tmp_path / "photos"
    root.mkdir()
    if folder.plain:
        splits(root)
    folder.make(root)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*") if not path.is_dir()}
    if folder.counts is None:
        text = refused(spec(root, **folder.given))
        assert all(words in text for words in ("data.root=", *folder.says)), text
    else:
        (train, test, _), remarks = look(root, folder.given)
        assert (len(train), len(test)) == folder.counts
        assert train.classes == test.classes == folder.classes
        for images in (train, test):
            for label, own in enumerate(folder.classes[:2]):
                shade = SHADES.get(own, SHADES["dog"])
                assert abs(images.pixels[images.labels == label].astype(int) - shade).max() <= 3
        assert len(remarks) == bool(folder.says)
        assert all(words in remarks[0] for words in folder.says), remarks
    now = {
        path: path.lstat().st_mtime_ns for path in root.rglob("*") if not path.is_dir() and ".degrade" not in path.parts
    }
    assert now == before  # nobody's picture is touched


def test_a_root_that_is_the_training_folder_itself_is_led_up(tmp_path):
    splits(tmp_path)
    text = refused(spec(tmp_path / "train"))
    assert text.endswith(f"; name the folder above it: data.root={tmp_path}")


def test_what_is_left_out_is_told_of_a_folder_that_is_known_too(tmp_path):
    splits(tmp_path / "photos")
    of_a_nas(tmp_path / "photos")
    first = look(tmp_path / "photos", {})[1]
    assert len(first) == 1
    assert look(tmp_path / "photos", {})[1] == first


@pytest.mark.parametrize("name", ["../other", "/etc", "train", "", ".."])
def test_the_test_set_is_a_folder_beside_train(name):
    with pytest.raises(data.SpecError, match="must be the name of a folder beside train/"):
        spec(Path("photos"), test=name)


@pytest.mark.parametrize("keys", [{"test": "val"}, {"url": "https://host/x"}])
def test_keys_that_a_dataset_does_not_take_are_refused(keys):
    with pytest.raises(data.SpecError, match=r"data\.(test|url)=.*: data=digits"):
        data.prepare(data.DataSpec(name="digits", **keys))


def test_which_test_set_is_told_by_its_content_and_no_key_changes_an_old_name(tmp_path):
    splits(tmp_path)
    splits(tmp_path, "x", "val", cat=41, dog=161)
    ours, other = (data.prepare(spec(tmp_path, **keys)) for keys in ({}, {"test": "val"}))
    assert ours.content != other.content
    assert data.prepare(spec(tmp_path, test="test")).content == ours.content
    from degrade.spec.rules import identity_of

    named = spec(tmp_path, test="test", label="My photos")
    assert identity_of(named) == identity_of(spec(tmp_path))


def test_names_that_both_folders_write_apart_keep_their_form_and_order(tmp_path):
    """As before forms were compared: the names and the order are part of the content, and so of a run's name."""
    apart, last = unicodedata.normalize("NFD", "éclair"), "waffle"
    splits(tmp_path, **{apart: 40, last: 160})
    assert look(tmp_path, {})[0].train.classes == (apart, last)  # composed, é would come after w


HEIC = b"\0\0\0\x18ftypheic"


def test_heic_is_left_out_with_the_way_out_where_nothing_decodes_it(tmp_path, monkeypatch):
    monkeypatch.setattr("degrade.data.pictures._optional_formats", lambda: frozenset())
    monkeypatch.setattr("degrade.data.leftovers.extensions", lambda: frozenset([".png"]))
    splits(tmp_path)
    write(tmp_path / "train" / "cat" / "IMG_1.HEIC", HEIC)
    assert "1 file without a decoder here (.heic: pip install pillow-heif)" in look(tmp_path, {})[1][0]


def test_heic_is_read_where_a_decoder_is_registered(tmp_path, monkeypatch):
    """As pillow-heif registers one. This one sees a grey picture in any file of the kind."""
    from degrade.data import pictures

    def open_heic(file, _name):
        content = file.read()
        return Image.fromarray(np.full((8, 8, 3), content[-1], np.uint8))

    for clear in (pictures._optional_formats, pictures.extensions):
        clear.cache_clear()
    with monkeypatch.context() as patch:
        Image.init()
        patch.setitem(Image.OPEN, "HEIF", (open_heic, lambda prefix: prefix[4:12] == b"ftypheic"))
        splits(tmp_path)
        for split in ("train", "test"):
            write(tmp_path / split / "cat" / "IMG_1.HEIC", HEIC + bytes([40]))
        (train, test, _), remarks = look(tmp_path, {})
    for clear in (pictures._optional_formats, pictures.extensions):
        clear.cache_clear()
    assert (len(train), len(test), remarks) == (7, 5, [])
    assert (train.pixels[train.labels == 0] == 40).all()


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path):
    splits(tmp_path)
    (tmp_path / "train" / "cat" / "loop").symlink_to("loop")
    assert len(look(tmp_path, {})[0].train) == 6
    (tmp_path / "train").rename(tmp_path / "x")
    (tmp_path / "train").symlink_to("train")
    assert "'train' is a link that leads to no folder" in refused(spec(tmp_path))
