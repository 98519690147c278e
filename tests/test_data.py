import numpy as np
import pytest

from degrade import data
from degrade.data.images import Images, fingerprint
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec


@pytest.fixture(scope="module")
def digits():
    return data.load(DataSpec(name="digits"))


def test_digits_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    train, test = digits
    pixels = np.concatenate([train.pixels, test.pixels])[:, 0]
    labels = np.concatenate([train.labels, test.labels])
    ours = {(p.tobytes(), int(y)) for p, y in zip(pixels, labels, strict=True)}
    theirs = (original.images.astype(np.uint16) * 255 // 16).astype(np.uint8)
    assert len(ours) == len(pixels) == 1797  # no image twice, so none is in both splits
    assert ours == {(p.tobytes(), int(y)) for p, y in zip(theirs, original.target, strict=True)}


def test_digits_split_is_fixed_and_stratified(digits):
    train, test = digits
    assert (len(train), len(test)) == (1437, 360)
    share = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert abs(share - 360 / 1797).max() < 0.005
    assert data.prepare(DataSpec(name="digits")).content == "71326816865eb8cd"


@pytest.mark.parametrize("limit", [1, 10, 57, 1436])
def test_a_limit_is_as_even_over_the_classes_as_can_be(digits, limit):
    few = digits[0].limited(limit)
    counts = np.bincount(few.labels, minlength=10)
    assert len(few) == limit
    if limit < 1300:  # no class has run out
        assert counts.max() - counts.min() <= 1


def test_limits_nest(digits):
    small, large = digits[0].limited(30), digits[0].limited(60)
    assert {p.tobytes() for p in small.pixels} <= {p.tobytes() for p in large.pixels}


def test_no_limit_or_a_large_one_keeps_all(digits):
    assert digits[0].limited(None) is digits[0]
    assert digits[0].limited(5000) is digits[0]


def test_the_fingerprint_sees_a_pixel_a_label_and_a_name(digits):
    train, _ = digits
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
