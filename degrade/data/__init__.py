"""Datasets by name: from pictures on disk or the web to checked uint8 images, and from those to batches.

Others call `prepare`, `load` and `shape` from here, take types from `images`, and batches on the device from `batches`.
Only `batches` loads torch, so that the command line can look at images quickly.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from degrade.data import cifar, digits, folder
from degrade.data.cache import Cache
from degrade.data.images import Note, Pair, Splits, fingerprint
from degrade.errors import DataError, SpecError, pick
from degrade.spec import DataSpec, RunSpec
from degrade.spec.parts import CLASSES, TRAINING_IMAGES
from degrade.store.files import at_home


def quiet(what: str, done: int, total: int) -> None:
    """A Note that tells nobody."""


def _load_cached(spec: DataSpec) -> Pair:
    """The images that `prepare` has put into the cache. Raises DataError if they are not there."""
    if not spec.content:
        raise DataError(
            f"data={spec.name}: not prepared; call degrade.data.prepare(spec) first, and load what it returns"
        )
    return Cache(at_home(spec.root) if spec.root else None).load(spec.content)


@dataclass(frozen=True)
class Dataset:
    """How to get pictures: `prepare` once before a sweep, `load` in each worker."""

    prepare: Callable[
        [DataSpec, Note, bool], str
    ]  # finds, fetches and decodes; returns the fingerprint of what `load` returns
    load: Callable[[DataSpec], Pair] = _load_cached
    size: int | None = None  # pixels of a side; None: data.size says
    channels: int | None = None  # None: the pictures say; so for `classes`
    classes: int | None = None
    fetched: bool = False  # whether it is downloaded
    prepare_test: Callable[[DataSpec, Note], str] | None = None  # as `prepare`, where there may be no training pictures
    has_train: Callable[[DataSpec], bool] = lambda spec: True
    recall: Callable[[DataSpec], str] | None = None  # as `prepare`, "" where it would fetch or decode; None: never does
    rooted: bool = True  # whether data.root says where it lies


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        lambda spec, note, theirs: fingerprint(*digits.load()),
        lambda spec: digits.load(),
        size=8,
        channels=1,
        classes=CLASSES["digits"],
        rooted=False,
    ),
    "cifar10": Dataset(
        partial(cifar.prepare, cifar.CIFAR10),
        size=32,
        channels=3,
        classes=CLASSES["cifar10"],
        fetched=True,
        recall=partial(cifar.recall, cifar.CIFAR10),
    ),
    "cifar100": Dataset(
        partial(cifar.prepare, cifar.CIFAR100),
        size=32,
        channels=3,
        classes=CLASSES["cifar100"],
        fetched=True,
        recall=partial(cifar.recall, cifar.CIFAR100),
    ),
    "image_folder": Dataset(
        folder.prepare,
        prepare_test=partial(folder.prepare, test_only=True),
        has_train=folder.has_train,
        recall=folder.recall,
    ),
}


def prepare(spec: DataSpec, note: Note = quiet, *, theirs: bool = False) -> DataSpec:
    """The spec with its fingerprint. Called once before a sweep starts, never inside a worker.

    `note` hears of the progress. `theirs`: the spec belongs to a run, perhaps a stranger's, and nobody has asked for
    its root. Then the root is read, only the user's own cache is written to, and nothing is fetched.
    Raises SpecError for an unknown name, a size that the dataset does not have, too many validation images or numbers
    of data.normalize that do not fit the channels; DataError if the pictures cannot be had.
    """
    dataset = _pick_dataset(spec)
    return _check_prepared(spec, dataset.prepare(spec, note, theirs))


def recall(spec: DataSpec) -> DataSpec:
    """As `prepare_once`, but fetches and decodes nothing: without a fingerprint where its pictures are not known here.

    Raises as `prepare`, as far as it can be known.
    """
    dataset = _pick_dataset(spec)
    if spec.content or dataset.recall is None:
        return prepare_once(spec)
    if content := dataset.recall(spec):
        return _check_prepared(spec, content)
    if dataset.channels and not isinstance(spec.normalize, str):
        check_numbers(spec.normalize, dataset.channels)
    if spec.validation >= TRAINING_IMAGES.get(spec.name, spec.validation + 1):
        there = TRAINING_IMAGES[spec.name]
        raise SpecError(f"data.validation={spec.validation}: must leave training images; there are {there:,}")
    return spec


def prepare_test(spec: DataSpec, note: Note = quiet) -> DataSpec:
    """As `prepare_once`, to measure on: training pictures need not be there. Without them the test set stands in."""
    dataset = _pick_dataset(spec)
    if spec.content or dataset.prepare_test is None:
        return prepare_once(spec, note)
    return _check_prepared(spec, dataset.prepare_test(spec, note))


def has_train(spec: DataSpec) -> bool:
    """Whether a prepared spec has training pictures, rather than the test set in their place."""
    dataset = pick(DATASETS, spec.name, "data")
    if dataset.has_train(spec):
        return True
    train, test = dataset.load(spec)  # the folder may have gone from where its pictures were decoded
    return fingerprint(train) != fingerprint(test)


def _pick_dataset(spec: DataSpec) -> Dataset:
    """The dataset of a spec. Raises SpecError for an unknown name, or a key that the dataset does not have."""
    dataset = pick(DATASETS, spec.name, "data")
    if dataset.size and spec.size not in (None, dataset.size):
        raise SpecError(f"data.size={spec.size}: data={spec.name} has {dataset.size}x{dataset.size} pixels; use null")
    if dataset.size and spec.test is not None:
        raise SpecError(f"data.test={spec.test}: data={spec.name} has its own test set; use null")
    if spec.url is not None and not dataset.fetched:
        raise SpecError(f"data.url={spec.url}: data={spec.name} is not downloaded; use null")
    return dataset


def _check_prepared(spec: DataSpec, content: str) -> DataSpec:
    """The spec with its content, after its validation and its numbers are found to fit the pictures."""
    # where it came from matters no more, and who gets the run need not know
    prepared = replace(spec, content=content, url=None)
    train, _ = pick(DATASETS, spec.name, "data").load(prepared)
    train.check_spare(spec.validation)
    if not isinstance(spec.normalize, str):
        check_numbers(spec.normalize, train.pixels.shape[1], stored=spec.content != "")
    return prepared


def check_numbers(normalize: tuple[float, ...], channels: int, *, stored: bool = False) -> None:
    """Raises SpecError for means and deviations that are not so many, or not on the scale of 0 to 1.

    `stored`: the numbers that a run was trained with, on whatever scale they are.
    """
    given = f"data.normalize={list(normalize)}"
    if len(normalize) != 2 * channels:
        raise SpecError(f"{given}: {channels} channels need {2 * channels} numbers")
    means, deviations = normalize[:channels], normalize[channels:]
    if stored:
        return
    if not all(0 <= mean <= 1 for mean in means) or not all(0 < deviation <= 1 for deviation in deviations):
        rule = "the scale of pixels is 0 to 1, so means are from 0 to 1, and deviations above 0 and at most 1"
        raise SpecError(f"{given}: {rule}; divide numbers for pixels of 0 to 255 by 255")


def prepare_once(spec: DataSpec, note: Note = quiet) -> DataSpec:
    """As `prepare`, but a spec that has its fingerprint stays as it is."""
    return spec if spec.content else prepare(spec, note)


def identify(spec: RunSpec, prepare: Callable[[DataSpec], DataSpec] = prepare_once) -> RunSpec:
    """The run with the fingerprint of its pictures, which is part of the run's name."""
    return replace(spec, data=prepare(spec.data))


def shape(spec: DataSpec) -> tuple[int, int, int]:
    """(channels, pixels of a side, classes) of a dataset. Looks at the pictures only if these are not known.

    Raises as `prepare` does.
    """
    dataset = pick(DATASETS, spec.name, "data")
    if dataset.size and dataset.channels and dataset.classes:
        return dataset.channels, dataset.size, dataset.classes
    train = dataset.load(prepare(spec))[0]
    return train.pixels.shape[1], train.pixels.shape[-1], len(train.classes)


def check(spec: DataSpec) -> None:
    """Raises DataError if the images of a prepared spec are not there, or any byte of them is not as it was."""
    if fingerprint(*pick(DATASETS, spec.name, "data").load(spec)) != spec.content:
        raise DataError(f"data.content={spec.content}: what lies here under this name is another content")


def load(spec: DataSpec) -> Splits:
    """The splits of a prepared spec. Validation images are held out first, then the limits apply.

    Fetches and decodes nothing. Raises DataError if the images are not there or damaged, SpecError if data.validation
    leaves no training images.
    """
    train, test = pick(DATASETS, spec.name, "data").load(spec)
    train, val = train.hold_out(spec.validation) if spec.validation else (train, None)
    return Splits(train.limit(spec.train_limit), test.limit(spec.test_limit), val)
