"""One picture file as RGB bytes, whatever it was saved as."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# Not all that Pillow knows: EPS, for one, is a program, which it would have Ghostscript run.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)


class Unreadable(Exception):  # noqa: N818 - not for the user: it becomes one word in a list of names
    """Why a picture cannot be used."""


def decode(content: bytes, size: int | None) -> NDArray[np.uint8]:
    """RGB bytes (3, size, size): the shorter side brought to `size` with antialiasing, the longer cropped around its
    centre; at None as it is, (3, H, W). Of an animation, the first picture.

    Raises Unreadable. To be called inside `strictly`.
    """
    if not content:
        raise Unreadable("empty file")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            if size:
                # a JPEG of many times the size is decoded at 1/2, 1/4 or 1/8, but never below twice what is wanted
                picture.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(picture, in_place=True)  # cameras note how they were held
            whole = rgb(picture)
            return np.asarray(fitted(whole, size) if size else whole).transpose(2, 0, 1)
    except UnidentifiedImageError:
        raise Unreadable("not a picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from None


@contextmanager
def strictly() -> Generator[None]:
    """Pillow's warnings off, but for that of a decompression bomb, which becomes an error.

    Held around all threads, not in each: filters of warnings belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def rgb(picture: Image.Image) -> Image.Image:
    """In RGB: 16 bits of grey are scaled (Pillow would clip them), what is transparent is laid on white."""
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture), 0, 65535).astype(np.int32) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise Unreadable("floating-point values, of no known range")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def fitted(picture: Image.Image, size: int) -> Image.Image:
    """The middle square at size x size; untouched where it has that size."""
    if picture.size == (size, size):
        return picture
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # bilinear, widened by the scale when it shrinks: what torchvision's Resize does
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
