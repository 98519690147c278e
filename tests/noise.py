"""Pictures of noise, and batches of them."""

import struct
import zlib

import numpy as np
import torch
from PIL import Image

from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.spec import RunSpec


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """`size` is its width and height."""
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def png16(colours: int, width: int, rows: list[bytes]) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, len(rows), 16, colours, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b"")


def batches(spec: RunSpec, *, size: int = 8, channels: int = 3, classes: int = 10, width: int | None = None) -> Batches:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (90, channels, size, width or size), dtype=np.uint8)
    images = Images(pixels, draw.integers(0, classes, 90), tuple(map(str, range(classes))))
    resident = Resident(images, scale_of(images, spec.data.normalize), torch.device("cpu"))
    return Batches(resident, batch=spec.recipe.batch, seed=spec.seed, augment=spec.recipe.augment)
