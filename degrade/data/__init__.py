"""Datasets by name: uint8 images, without torch, so that the command line can look at them quickly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from degrade.data import cifar, digits, folder
from degrade.data.cache import Cache
from degrade.data.images import Note, Pair, Splits, fingerprint
from degrade.errors import DataError, SpecError, pick
from degrade.spec import DataSpec, RunSpec
from degrade.store.files import at_home


def quiet(what: str, done: int, total: int) -> None:
    """Nobody is told how far it has come."""


def cached(spec: DataSpec) -> Pair:
    """What `prepare` has put into the cache. Raises DataError where it is not there."""
    if not spec.content:
        raise DataError(
            f"data={spec.name}: not prepared; call degrade.data.prepare(spec) first, and load what it returns"
        )
    return Cache(at_home(spec.root) if spec.root else None).load(spec.content)


@dataclass(frozen=True)
class Dataset:
    """Where pictures come from: once, before a sweep, and then in each worker."""

    prepare: Callable[[DataSpec, Note, bool], str]  # finds, fetches, decodes; the fingerprint of what `load` returns
    load: Callable[[DataSpec], Pair] = cached
    size: int | None = None  # pixels of a side; None: what data.size says
    channels: int | None = None  # None: known when the pictures are
    classes: int | None = None


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        lambda spec, note, theirs: fingerprint(*digits.load()),
        lambda spec: digits.load(),
        size=8,
        channels=1,
        classes=10,
    ),
    "cifar10": Dataset(partial(cifar.prepare, cifar.CIFAR10), size=32, channels=3, classes=10),
    "cifar100": Dataset(partial(cifar.prepare, cifar.CIFAR100), size=32, channels=3, classes=100),
    "image_folder": Dataset(folder.prepare),
}


def prepare(spec: DataSpec, note: Note = quiet, *, theirs: bool = False) -> DataSpec:
    """The spec with its fingerprint. Done once before a sweep starts, never inside a worker.

    `note` hears how far it has come. `theirs`: the spec is that of a run, perhaps a stranger's, and nobody has asked
    for its root: what is there is read, but only the user's own cache is written to, and nothing is fetched. Raises
    SpecError for an unknown name, a size that the dataset does not have or too many validation images, DataError where
    the pictures are not to be had.
    """
    dataset = pick(DATASETS, spec.name, "data")
    if dataset.size and spec.size not in (None, dataset.size):
        raise SpecError(f"data.size={spec.size}: data={spec.name} has {dataset.size}x{dataset.size} pixels; use null")
    prepared = replace(spec, content=dataset.prepare(spec, note, theirs))
    train, _ = dataset.load(prepared)
    train.spares(spec.validation)
    channels, given = train.pixels.shape[1], spec.normalize
    if not isinstance(given, str) and len(given) != 2 * channels:
        raise SpecError(f"data.normalize={list(given)}: {channels} channels need {2 * channels} numbers")
    return prepared


def prepared(spec: DataSpec, note: Note = quiet) -> DataSpec:
    """As it is where it has its fingerprint, else as `prepare` has it."""
    return spec if spec.content else prepare(spec, note)


def identified(spec: RunSpec, prepare: Callable[[DataSpec], DataSpec] = prepared) -> RunSpec:
    """The run with the fingerprint of its pictures, which is part of its name."""
    return replace(spec, data=prepare(spec.data))


def shape(spec: DataSpec) -> tuple[int, int, int]:
    """(channels, pixels of a side, classes) of a dataset; its pictures are looked at only where that is not known.

    Raises as `prepare` does.
    """
    dataset = pick(DATASETS, spec.name, "data")
    if dataset.size and dataset.channels and dataset.classes:
        return dataset.channels, dataset.size, dataset.classes
    train = dataset.load(prepare(spec))[0]
    return train.pixels.shape[1], train.pixels.shape[-1], len(train.classes)


def load(spec: DataSpec) -> Splits:
    """The splits of a prepared spec: validation images are held out first, then the limits apply.

    Nothing is fetched or decoded. Raises DataError where the images are not there or damaged, SpecError where
    data.validation leaves nothing.
    """
    train, test = pick(DATASETS, spec.name, "data").load(spec)
    train, val = train.without(spec.validation) if spec.validation else (train, None)
    return Splits(train.limited(spec.train_limit), test.limited(spec.test_limit), val)
