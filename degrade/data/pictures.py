"""One picture file as RGB bytes, whatever it was saved as."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# Pillow knows more formats, but EPS, for one, is a program, and Pillow would have Ghostscript run it.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)


class Unreadable(Exception):  # noqa: N818 - not for the user: it becomes one word in a list of names
    """Why a picture cannot be used."""


def decode(content: bytes, size: int | None) -> NDArray[np.uint8]:
    """RGB bytes (3, size, size). Scales the shorter side to `size` with antialiasing and crops the longer around its
    centre. With size None the picture stays as it is, (3, H, W). An animation gives its first picture.

    Raises Unreadable. Call it only inside `strictly`.
    """
    if not content:
        raise Unreadable("empty file")
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as picture:
            if size:
                # decodes a much larger JPEG at 1/2, 1/4 or 1/8 of its size, but never below twice the wanted size
                picture.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(picture, in_place=True)  # cameras note how they were held
            whole = _to_rgb(picture)
            return np.asarray(_crop_to(whole, size) if size else whole).transpose(2, 0, 1)
    except UnidentifiedImageError:
        raise Unreadable("not a picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from None


@contextmanager
def strictly() -> Generator[None]:
    """Silences Pillow's warnings, but turns the warning of a decompression bomb into an error.

    Hold it around all threads, not in each, since filters of warnings belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB. Scales 16 bits of grey, which Pillow would clip, and lays transparent pixels on white."""
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture), 0, 65535).astype(np.int32) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise Unreadable("floating-point values, of no known range")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _crop_to(picture: Image.Image, size: int) -> Image.Image:
    """The middle square, scaled to size x size. A picture of that size stays untouched."""
    if picture.size == (size, size):
        return picture
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # bilinear, widened by the scale when it shrinks, as torchvision's Resize does
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
