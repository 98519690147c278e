"""Datasets by name: uint8 images in memory, without torch, so that the command line can look at them quickly."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from degrade.data import digits
from degrade.data.images import Images, fingerprint
from degrade.errors import pick
from degrade.spec import DataSpec

DATASETS: dict[str, Callable[[], tuple[Images, Images]]] = {"digits": digits.load}


def prepare(spec: DataSpec) -> DataSpec:
    """The spec with its fingerprint. Done once before a sweep starts, never inside a worker.

    Raises SpecError for an unknown name, DataError where the pictures are not to be had.
    """
    return replace(spec, content=fingerprint(*_whole(spec.name)))


def load(spec: DataSpec) -> tuple[Images, Images]:
    """(train, test) within the limits of the spec."""
    train, test = _whole(spec.name)
    return train.limited(spec.train_limit), test.limited(spec.test_limit)


@lru_cache(maxsize=2)
def _whole(name: str) -> tuple[Images, Images]:
    return pick(DATASETS, name, "data")()
