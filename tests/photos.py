"""Folders of pictures: what is asked of one, and what comes of it."""

from pathlib import Path

import pytest

from degrade import data
from degrade.errors import DataError, DegradeError
from degrade.spec import DataSpec


def spec(root: Path, **changes) -> DataSpec:
    return DataSpec(name="image_folder", root=str(root), **{"size": 8, **changes})


def whole(root: Path, **changes) -> data.Splits:
    return data.load(data.prepare(spec(root, **changes)))


def refused(wanted: DataSpec, kind: type[DegradeError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        data.prepare(wanted)
    text = str(caught.value)
    assert "\n" not in text
    return text
