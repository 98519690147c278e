from dataclasses import replace

import numpy as np
import pytest

from degrade import data
from degrade.data.images import Images, fingerprint
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec
from degrade.spec.rules import identity_of


@pytest.fixture(scope="module")
def digits():
    return data.load(DataSpec(name="digits"))


def test_digits_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    train, test, _ = digits
    pixels = np.concatenate([train.pixels, test.pixels])[:, 0]
    labels = np.concatenate([train.labels, test.labels])
    ours = {(p.tobytes(), int(y)) for p, y in zip(pixels, labels, strict=True)}
    theirs = (original.images.astype(np.uint16) * 255 // 16).astype(np.uint8)
    assert len(ours) == len(pixels) == 1797  # no image twice, so none is in both splits
    assert ours == {(p.tobytes(), int(y)) for p, y in zip(theirs, original.target, strict=True)}


def test_digits_split_is_fixed_and_stratified(digits):
    train, test, _ = digits
    assert (len(train), len(test)) == (1437, 360)
    share = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert abs(share - 360 / 1797).max() < 0.005
    assert data.prepare(DataSpec(name="digits")).content == "71326816865eb8cd"


@pytest.mark.parametrize("limit", [1, 10, 57, 1436])
def test_a_limit_is_as_even_over_the_classes_as_can_be(digits, limit):
    few = digits.train.limit(limit)
    counts = np.bincount(few.labels, minlength=10)
    assert len(few) == limit
    if limit < 1300:  # no class has run out
        assert counts.max() - counts.min() <= 1


def test_limits_nest(digits):
    small, large = digits.train.limit(30), digits.train.limit(60)
    assert {p.tobytes() for p in small.pixels} <= {p.tobytes() for p in large.pixels}


def test_no_limit_or_a_large_one_keeps_all(digits):
    assert digits.train.limit(None) is digits.train
    assert digits.train.limit(5000) is digits.train


def test_the_fingerprint_sees_a_pixel_a_label_and_a_name(digits):
    train = digits.train
    other = train.pixels.copy()
    other[7, 0, 3, 3] ^= 1
    swapped = train.labels[::-1].copy()
    named = ("zero", *train.classes[1:])
    prints = {
        fingerprint(train),
        fingerprint(Images(other, train.labels, train.classes)),
        fingerprint(Images(train.pixels, swapped, train.classes)),
        fingerprint(Images(train.pixels, train.labels, named)),
    }
    assert len(prints) == 4


def test_an_unknown_dataset_is_named():
    with pytest.raises(SpecError, match="data=digit: unknown; did you mean 'digits'"):
        data.prepare(DataSpec(name="digit"))


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="no images"):
        Images(np.empty((0, 1, 8, 8), np.uint8), np.empty(0, np.int64), ("0",))


def test_validation_is_held_out_evenly_from_the_end_before_the_limit(digits):
    train, test, val = data.load(DataSpec(name="digits", validation=100, train_limit=50))
    assert val is not None
    assert np.bincount(val.labels).tolist() == [10] * 10
    assert (len(train), len(test)) == (50, 360)
    for label in range(10):  # the last ten of each class, as they stand in the whole
        whole = digits.train.pixels[digits.train.labels == label]
        assert (val.pixels[val.labels == label] == whole[-10:]).all()
    rest = data.load(DataSpec(name="digits", validation=100)).train
    assert len(rest) == 1337
    held = {p.tobytes() for p in val.pixels}
    assert len(held) == 100
    assert not held & {p.tobytes() for p in rest.pixels}
    assert {p.tobytes() for p in train.pixels} <= {p.tobytes() for p in rest.pixels}


def test_without_validation_there_is_none(digits):
    assert digits.val is None
    assert len(digits.train) == 1437


def test_validation_must_leave_something_to_train_on():
    assert data.prepare(DataSpec(name="digits", validation=1436)).validation == 1436
    with pytest.raises(SpecError, match=r"data.validation=1437: must leave training images; there are 1,437"):
        data.prepare(DataSpec(name="digits", validation=1437))


def test_what_is_held_out_belongs_to_the_name_and_the_place_does_not():
    base = data.prepare(DataSpec(name="digits"))
    assert identity_of(data.prepare(DataSpec(name="digits", root="here", size=8, skip_bad=True))) == identity_of(base)
    assert identity_of(replace(base, validation=100)) != identity_of(base)


def test_a_size_that_the_digits_do_not_have_is_refused():
    with pytest.raises(SpecError, match=r"data.size=32: data=digits has 8x8 pixels; use null"):
        data.prepare(DataSpec(name="digits", size=32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, "data.size=0: must be from 1 to 1024, or null"),
        ({"size": 1025}, "data.size=1025: must be"),
        ({"validation": -1}, "data.validation=-1: must be a number of images, or 0 for none"),
        ({"root": " "}, "data.root= : must be a folder, or null"),
        ({"root": 7}, "data.root=7: must be a word"),
        ({"skip_bad": 1}, "data.skip_bad=1: must be true or false"),
    ],
)
def test_a_wrong_value_is_one_line(changes, words):
    with pytest.raises(SpecError) as caught:
        DataSpec(**changes)
    assert str(caught.value).startswith(words)


def test_given_statistics_must_fit_the_channels():
    with pytest.raises(SpecError, match=r"data\.normalize=.*: 1 channels need 2 numbers"):
        data.prepare(DataSpec(name="digits", normalize=(0.1, 0.2, 0.3, 1.0, 1.0, 1.0)))
