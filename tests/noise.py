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
    return png(16, colours, width, rows)


def png(bits: int, colours: int, width: int, rows: list[bytes], clear: bytes = b"") -> bytes:
    """A PNG of any bits a channel; `clear`: its transparent value, as stored."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colours, 0, 0, 0)
    body = part(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + (part(b"tRNS", clear) if clear else b"") + body


def tiff(row: bytes, width: int, bits: int, photometric: int, *, sign: int = 1, samples: int = 1, **more: int) -> bytes:
    """A TIFF of one row, of kinds that Pillow does not write. `sign`: 1 unsigned, 2 signed, 3 floating point; `more`:
    extra (what a sample beyond colour means), packed (1: deflate).
    """
    row = zlib.compress(row) if more.get("packed") else row
    tags = {256: [width], 257: [1], 258: [bits] * samples, 259: [8 if more.get("packed") else 1], 262: [photometric]}
    tags |= {273: [0], 277: [samples], 278: [1], 279: [len(row)], 339: [sign] * samples}
    tags |= {338: [more["extra"]]} if "extra" in more else {}
    end = 8 + 2 + 12 * len(tags) + 4
    beyond = b""
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for number, values in sorted(tags.items()):
        content = struct.pack(f"<{len(values)}H", *values)
        if len(content) > 4:
            content, beyond = struct.pack("<I", end + len(beyond)), beyond + content
        if number == 273:  # where the row lies: after all that stands beyond
            content = struct.pack("<I", end + 2 * samples * sum(len(v) > 2 for v in tags.values()))
            head += struct.pack("<HHI", number, 4, 1) + content
            continue
        head += struct.pack("<HHI", number, 3, len(values)) + content.ljust(4, b"\0")
    return head + b"\0" * 4 + beyond + row


def batches(spec: RunSpec, *, size: int = 8, channels: int = 3, classes: int = 10, width: int | None = None) -> Batches:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (90, channels, size, width or size), dtype=np.uint8)
    images = Images(pixels, draw.integers(0, classes, 90), tuple(map(str, range(classes))))
    resident = Resident(images, scale_of(images, spec.data.normalize), torch.device("cpu"))
    return Batches(resident, batch=spec.recipe.batch, seed=spec.seed, augment=spec.recipe.augment)
