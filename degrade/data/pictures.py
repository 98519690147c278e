"""One picture file as RGB bytes, whatever it was saved as."""

import importlib
import importlib.util
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

DECODING = 2  # part of the keys of folders: another number where files of the same bytes give other pixels
# Pillow knows more formats, but EPS, for one, is a program, and Pillow would have Ghostscript run it.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_EXTENSIONS = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
_OPTIONAL = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF"}  # where Pillow has a decoder
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF 6.0
_MIN_IS_WHITE, _SIGNED = 0, 2
_GREY, _COLOUR = 0, 2  # colour types of PNG


class Unreadable(Exception):  # noqa: N818 - not for the user: it becomes one word in a list of names
    """Why a picture cannot be used."""


@cache
def _optional_formats() -> frozenset[str]:
    """Those of _OPTIONAL that Pillow decodes here, with pillow-heif where it is installed."""
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return frozenset(_OPTIONAL.values()) & {*Image.OPEN}


@cache
def extensions() -> frozenset[str]:
    """The extensions of the pictures that are read here, in small letters."""
    there = _optional_formats()
    return frozenset((*_EXTENSIONS, *(name for name, kind in _OPTIONAL.items() if kind in there)))


def decode(content: bytes, size: int | None) -> NDArray[np.uint8]:
    """RGB bytes (3, size, size). Scales the shorter side to `size` with antialiasing and crops the longer around its
    centre. With size None the picture stays as it is, (3, H, W). An animation gives its first picture.

    Raises Unreadable. Call it only inside `strictly`.
    """
    if not content:
        raise Unreadable("empty file")
    try:
        with Image.open(BytesIO(content), formats=(*_FORMATS, *_optional_formats())) as picture:
            if size:
                # decodes a much larger JPEG at 1/2, 1/4 or 1/8 of its size, but never below twice the wanted size
                picture.draft(None, (2 * size, 2 * size))
            if picture.format == "TIFF":
                _refuse_signed(picture)
            if picture.format == "PNG":
                _scale_transparency(picture, content)
            ImageOps.exif_transpose(picture, in_place=True)  # cameras note how they were held
            whole = _to_rgb(picture)
            return np.asarray(_crop_to(whole, size) if size else whole).transpose(2, 0, 1)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        known = content[:4] in (b"II*\0", b"MM\0*")
        raise Unreadable("a TIFF of a kind that Pillow does not read" if known else "not a picture") from None
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


def _tag(picture: Image.Image, number: int, default: int) -> int:
    """The first value of a tag of a TIFF."""
    value = getattr(picture, "tag_v2").get(number, default)  # noqa: B009 - Pillow types it for TIFF alone
    return int(value[0] if isinstance(value, tuple) else value)


def _refuse_signed(picture: Image.Image) -> None:
    """Raises Unreadable for values below 0: Pillow takes those of 8 bits for large ones, and clips the others."""
    if _tag(picture, _SAMPLE_FORMAT, 1) == _SIGNED:
        raise Unreadable("signed values, of no known range")


def _scale_transparency(picture: Image.Image, content: bytes) -> None:
    """Brings the transparent value of a PNG to the scale of its pixels: it is stored in 1 to 16 bits, as they were.

    Raises Unreadable for colours of 16 bits, of which Pillow keeps 8.
    """
    clear, bits, colour = picture.info.get("transparency"), content[24], content[25]  # of IHDR, which comes first
    if colour == _COLOUR and bits == 16 and clear is not None:
        raise Unreadable("a transparent colour of 16 bits")
    if colour == _GREY and bits in (2, 4) and clear is not None:
        picture.info["transparency"] = clear * (255 // (2**bits - 1))


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB. Scales 16 bits of grey, which Pillow would clip, and lays transparent pixels on white."""
    if picture.mode.startswith("I"):
        return Image.fromarray(_scale_grey(picture)).convert("RGB")
    if picture.mode == "F":
        raise Unreadable("floating-point values, of no known range")
    if picture.mode == "La":  # already multiplied by alpha
        picture = picture.convert("LA")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _scale_grey(picture: Image.Image) -> NDArray[np.uint8]:
    """Grey of more than 8 bits as 8 bits, transparent pixels white. Raises Unreadable for more than 16 bits."""
    grey, most = np.asarray(picture).astype(np.int64), 65535  # Pillow brings PNG and PPM to 16 bits, TIFF to nothing
    if picture.format == "TIFF":
        bits = _tag(picture, _BITS, 1)
        if bits > 16:
            raise Unreadable(f"grey values of {bits} bits, of no known range")
        most = 2**bits - 1
        if _tag(picture, _PHOTOMETRIC, 1) == _MIN_IS_WHITE:
            grey = most - grey
    clear = picture.info.get("transparency")
    return np.where(grey == (-1 if clear is None else clear), 255, np.clip(grey, 0, most) * 255 // most).astype(
        np.uint8
    )


def _crop_to(picture: Image.Image, size: int) -> Image.Image:
    """The middle square, scaled to size x size. A picture of that size stays untouched."""
    if picture.size == (size, size):
        return picture
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # bilinear, widened by the scale when it shrinks, as torchvision's Resize does
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
