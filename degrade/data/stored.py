"""The files of one content in a cache folder: written as a draft, named when they are whole, mapped into memory."""

import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from degrade.data.images import Images, fingerprint

CACHE_FORMAT = 1  # of the folders; part of every key
SPLITS = ("train", "test")


def read_split(folder: Path, split: str, about: Mapping[str, Any]) -> Images:
    """One split, as about.json describes it.

    Raises what numpy raises, OSError for a path that is no file, or ValueError if shapes or labels do not fit.
    """
    # copy on write, since torch warns of arrays that may not be written to; a stray write stays in its process
    pixels: NDArray[np.uint8] = np.asarray(
        np.load(_require_file(folder / f"{split}-pixels.npy"), mmap_mode="c", allow_pickle=False)
    )
    labels: NDArray[np.int64] = np.load(_require_file(folder / f"{split}-labels.npy"), allow_pickle=False)
    classes = tuple(about["classes"])
    if [list(pixels.shape), str(pixels.dtype)] != [about[split], "uint8"] or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{split} is not of shape {about[split]}")
    if labels.dtype != np.int64 or not ((labels >= 0) & (labels < len(classes))).all():
        raise ValueError(f"{split} has labels beyond its {len(classes)} classes")
    return Images(pixels, labels, classes)


def _require_file(path: Path) -> Path:
    """The path, which must be a file. Raises OSError for a pipe, which would be waited for, or an endless device."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path.name} is no file")
    return path


class Draft:
    """A folder in the making, under a name that no reader looks for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, split: str, pictures: Iterable[NDArray[np.uint8]]) -> tuple[int, ...]:
        """Writes pictures (C, H, W) of one shape as they come, so that they need not fit into memory.

        Returns the shape of all pictures together, (0,) without pictures.
        """
        shape: tuple[int, ...] = (0,)
        with (self.path / f"{split}-pixels.npy").open("wb") as file:
            for picture in pictures:
                if shape == (0,):
                    shape = (0, *picture.shape)
                    _write_header(file, shape)
                assert shape[1:] == picture.shape
                file.write(np.ascontiguousarray(picture).data)
                shape = (shape[0] + 1, *shape[1:])
            begun = file.tell() - int(np.prod(shape))
            file.seek(0)
            _write_header(file, shape)  # numpy leaves room in a header for a first axis that grows
            assert file.tell() == begun or shape == (0,)
            _sync(file)
        return shape

    def publish(self, labels: dict[str, NDArray[np.int64]], classes: tuple[str, ...]) -> str:
        """Gives the folder its name, the content, and returns it. From then on readers find it, whole.

        Replaces a damaged folder of that name.
        """
        about: dict[str, Any] = {"format": CACHE_FORMAT, "classes": classes}
        for split in SPLITS:
            with (self.path / f"{split}-labels.npy").open("wb") as file:
                np.save(file, labels[split])
                _sync(file)
            about[split] = list(np.load(self.path / f"{split}-pixels.npy", mmap_mode="r").shape)
        with (self.path / "about.json").open("wb") as file:
            file.write(json.dumps(about).encode())
            _sync(file)
        content = fingerprint(*(read_split(self.path, split, about) for split in SPLITS))
        final = self.path.parent / content
        shutil.rmtree(final, ignore_errors=True)
        self.path.replace(final)
        return content


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Writes the header of a .npy file of uint8."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _sync(file: BinaryIO) -> None:
    """Brings a file to disk."""
    file.flush()
    os.fsync(file.fileno())
