import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from noise import picture
from photos import refused, spec, whole
from PIL import Image

from degrade import data
from degrade.data import folder
from degrade.data.pictures import decode
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec

CLASSES = ("cat", "dog")

pytestmark = pytest.mark.usefixtures("user")


@pytest.fixture
def root(tmp_path) -> Path:
    """4 + 2 pictures of each class; the first is known by its bytes."""
    root = tmp_path / "photos"
    for place, (split, n) in enumerate((("train", 4), ("test", 2))):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                picture(100 * place + 10 * label + i).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def decodings(monkeypatch) -> list[int]:
    """A mark for each picture that is decoded."""
    marks: list[int] = []

    def counted(content: bytes, size: int | None) -> np.ndarray:
        marks.append(1)
        return decode(content, size)

    monkeypatch.setattr(folder, "decode", counted)
    return marks


def test_pictures_labels_and_classes_are_those_of_the_tree(root):
    train, test, val = whole(root)
    assert (train.pixels.shape, test.pixels.shape, val) == ((8, 3, 8, 8), (4, 3, 8, 8), None)
    assert train.classes == test.classes == CLASSES
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    for i, seed in enumerate([0, 1, 2, 3, 10, 11, 12, 13]):
        assert (train.pixels[i].transpose(1, 2, 0) == np.asarray(picture(seed))).all()
    assert (test.pixels[3].transpose(1, 2, 0) == np.asarray(picture(111))).all()


def test_nested_folders_and_val_instead_of_test(root):
    (root / "test").rename(root / "val")
    (root / "train" / "cat" / "more").mkdir()
    picture(77).save(root / "train" / "cat" / "more" / "x.PNG")
    train, test, _ = whole(root)
    assert (len(train), len(test)) == (9, 4)
    assert (train.pixels[4].transpose(1, 2, 0) == np.asarray(picture(77))).all()


def test_the_second_call_decodes_nothing(root, decodings):
    first = data.prepare(spec(root))
    assert len(decodings) == 12
    assert data.prepare(spec(root)) == first
    assert len(decodings) == 12


def test_what_was_copied_or_touched_is_known_by_its_bytes(root, tmp_path, decodings):
    first = data.prepare(spec(root))
    os.utime(root / "train" / "cat" / "0.png", ns=(1, 1))
    assert data.prepare(spec(root)).content == first.content
    shutil.copytree(root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "train" / "cat" / "1.png", ns=(2, 2))
    assert data.prepare(spec(tmp_path / "copy")).content == first.content
    assert len(decodings) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda root: picture(55).save(root / "train" / "cat" / "0.png"),
        lambda root: (root / "train" / "cat" / "0.png").unlink(),
        lambda root: (root / "train" / "cat" / "0.png").rename(root / "train" / "dog" / "9.png"),
        lambda root: [(root / split / "cat").rename(root / split / "cow") for split in ("train", "test")],
    ],
    ids=["bytes", "gone", "class", "name of a class"],
)
def test_another_content_has_another_fingerprint(root, change):
    before = data.prepare(spec(root)).content
    change(root)
    assert data.prepare(spec(root)).content != before


def test_the_fingerprint_is_of_the_pixels_wherever_they_lie(root, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "train" / "cat" / "0.png").rename(tmp_path / "elsewhere" / "train" / "cat" / "00.png")
    assert data.prepare(spec(root)).content == data.prepare(spec(tmp_path / "elsewhere")).content


def test_a_worker_gets_what_its_run_is_named_after(root):
    prepared = data.prepare(spec(root))
    before = data.load(prepared).train.pixels.copy()
    picture(99).save(root / "train" / "cat" / "0.png")
    after = data.prepare(spec(root))
    assert after.content != prepared.content
    assert (data.load(prepared).train.pixels == before).all()
    assert (data.load(after).train.pixels[0].transpose(1, 2, 0) == np.asarray(picture(99))).all()


def test_a_worker_never_decodes(root, decodings):
    with pytest.raises(DataError, match=r"data=image_folder: not prepared; call degrade.data.prepare"):
        data.load(spec(root))
    prepared = data.prepare(spec(root))
    shutil.rmtree(root / ".degrade")
    decodings.clear()
    with pytest.raises(DataError, match="not here; start the sweep again"):
        data.load(prepared)
    assert decodings == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: shutil.rmtree(root), ["photos: no such folder", "train/<class>/"]),
        (lambda root: shutil.rmtree(root / "train"), ["has no folder train/ in it"]),
        (lambda root: shutil.rmtree(root / "test"), ["has no folder test/ or val/ in it"]),
        (lambda root: [shutil.rmtree(root / s / c) for s in ("train", "test") for c in CLASSES], ["no class folders"]),
        (lambda root: (root / "train" / "cow").mkdir(), ["only train/ has 'cow'; both need the same classes"]),
        (
            lambda root: (root / "test" / "cat").rename(root / "test" / "a\nb"),
            ["only train/ has 'cat'; only test/ has 'a\\nb'"],
        ),
        (
            lambda root: [p.unlink() for p in (root / "test" / "dog").iterdir()],
            ["'test/dog' has no pictures in it; add some or remove the class"],
        ),
    ],
)
def test_a_tree_of_another_form_is_one_line(root, change, words):
    change(root)
    text = refused(spec(root))
    assert all(word in text for word in ["data.root=", *words]), text


def test_no_root_is_one_line():
    assert "data.root=null: data=image_folder needs a folder" in refused(DataSpec(name="image_folder"), SpecError)


def spoil(root: Path) -> None:
    good = (root / "train" / "dog" / "0.png").read_bytes()
    (root / "train" / "cat" / "a cut.png").write_bytes(good[: len(good) // 2])
    (root / "train" / "cat" / "b\nempty.jpg").write_bytes(b"")
    (root / "train" / "dog" / "c-téxt.gif").write_text("this is no picture")
    (root / "test" / "dog" / ".d.jpeg").symlink_to("nowhere")
    os.mkfifo(root / "test" / "dog" / "e.webp")


def test_unreadable_pictures_are_named_and_counted(root):
    spoil(root)
    text = refused(spec(root))
    assert "5 unreadable pictures: 'train/cat/a cut.png' (" in text
    assert "'train/cat/b\\nempty.jpg' (empty file), 'train/dog/c-téxt.gif' (not a picture) and 2 more;" in text
    assert "data.skip_bad=true" in text
    assert not list(root.glob(".degrade/*/about.json"))


def test_skip_bad_goes_on_without_them_and_says_so(root, decodings):
    clean = data.prepare(spec(root))
    spoil(root)
    remarks: list[str] = []

    def note(what: str, done: int, total: int) -> None:
        remarks.extend([what] if total == 0 else [])

    skipping = data.prepare(spec(root, skip_bad=True), note)
    assert skipping.content == clean.content
    assert len(remarks) == 1
    assert remarks[0].startswith("data.skip_bad=true: left out 5 unreadable pictures: 'train/cat/a cut.png'")
    decodings.clear()
    data.prepare(spec(root, skip_bad=True), note)
    assert decodings == []
    assert len(remarks) == 2
    assert "5 unreadable" in refused(spec(root))  # what was skipped once is not skipped for good


def test_a_class_without_a_readable_picture_is_refused_even_so(root):
    for path in (root / "test" / "dog").iterdir():
        path.write_bytes(b"")
    assert "no test picture of class 'dog' can be read" in refused(spec(root, skip_bad=True))


def test_what_is_no_picture_by_name_is_left_alone(root):
    before = data.prepare(spec(root)).content
    for name in (".DS_Store", "Thumbs.db", "notes.txt", ".jpg", "jpg"):
        (root / "train" / "cat" / name).write_text("not a picture")
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "cat" / ".thumbs").mkdir()
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / ".thumbs")
    (root / "train" / "file.png").write_text("beside the classes")
    assert data.prepare(spec(root)).content == before


def test_links_are_followed_and_loops_end(root, tmp_path):
    (root / "train" / "cat").rename(tmp_path / "cats")
    (root / "train" / "cat").symlink_to(tmp_path / "cats")
    before = data.prepare(spec(root)).content
    (tmp_path / "cats" / "loop").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "up").symlink_to(tmp_path / "cats" / "loop")
    (tmp_path / "cats" / "self").symlink_to("self")
    assert data.prepare(spec(root)).content == before
    assert len(data.load(data.prepare(spec(root))).train) == 8


def test_odd_names_are_fine(root):
    for name in ("with space.png", "naïve 猫.png", "new\nline.png", os.fsdecode(b"latin-\xe9.png")):
        picture(5).save(root / "train" / "cat" / name)
    assert len(whole(root).train) == 12


def test_sizes_must_agree_where_none_is_given(root):
    assert whole(root, size=None).train.pixels.shape == (8, 3, 8, 8)
    picture(5, (9, 7)).save(root / "test" / "dog" / "1.png")
    text = refused(spec(root, size=None))
    assert (
        "'train/cat/0.png' has 8x8 pixels and 'test/dog/1.png' 9x7; bring all to one size, as in data.size=32" in text
    )


def test_progress_is_told_to_the_end(root):
    said: dict[str, tuple[int, int]] = {}
    data.prepare(spec(root), lambda what, done, total: said.update({what: (done, total)}))
    assert said == {"decoding train pictures": (8, 8), "decoding test pictures": (4, 4)}


def prepare_in_a_process(root: Path) -> str:
    return data.prepare(spec(root)).content


def test_two_sweeps_may_prepare_the_same_pictures_at_once(root):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(prepare_in_a_process, [root, root])
    assert first == second == data.prepare(spec(root)).content


def test_results_keep_their_order_and_stop_at_a_failure():
    begun: list[int] = []

    def work(i: int) -> int:
        begun.append(i)
        if i == 5:
            raise ValueError("five")
        return i * i

    results = folder.map_in_order(work, range(10_000))
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(begun) < 1000


def test_a_decompression_bomb_is_unreadable(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    picture(1, (11, 10)).save(root / "train" / "cat" / "0.png")  # Pillow warns
    picture(1, (21, 20)).save(root / "train" / "cat" / "1.png")  # Pillow refuses
    text = refused(spec(root))
    assert "2 unreadable pictures: 'train/cat/0.png' (more than 100 pixels), 'train/cat/1.png' (more than" in text


def test_a_program_that_calls_itself_a_picture_is_not_run(root):
    (root / "train" / "cat" / "0.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    assert "'train/cat/0.png' (not a picture)" in refused(spec(root))
