"""A picture file of any kind as pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest
from noise import picture, png, png16, tiff
from PIL import Image

from degrade.data.pictures import Unreadable, decode, strictly


def saved(image: Image.Image, path: Path, **options) -> bytes:
    image.save(path, **options)
    return path.read_bytes()


def read(content: bytes, size: int | None = None) -> np.ndarray:
    with strictly():
        return decode(content, size)


def test_every_kind_of_picture_becomes_rgb(tmp_path):
    red = Image.new("RGB", (6, 4), (255, 0, 0))
    animated = {"save_all": True, "append_images": [Image.new("RGB", (6, 4), (0, 0, 255))]}
    kinds = {
        "palette": saved(red.quantize(4), tmp_path / "p.png"),
        "cmyk": saved(red.convert("CMYK"), tmp_path / "c.jpg", quality=100),
        "cmyk tiff": saved(red.convert("CMYK"), tmp_path / "c.tif"),
        "alpha": saved(red.convert("RGBA"), tmp_path / "a.png"),
        "webp": saved(red, tmp_path / "w.webp", lossless=True),
        "bmp": saved(red, tmp_path / "b.bmp"),
        "ppm": saved(red, tmp_path / "b.ppm"),
        "animated gif": saved(red, tmp_path / "g.gif", **animated),
        "animated png": saved(red, tmp_path / "g.png", **animated),
        "16-bit colour": png16(2, 6, [struct.pack(">HHH", 65535, 0, 0) * 6] * 4),
    }
    for name, content in kinds.items():
        pixels = read(content)
        assert pixels.shape == (3, 4, 6), name
        assert pixels.dtype == np.uint8
        assert abs(pixels.astype(int) - np.array([255, 0, 0])[:, None, None]).max() <= 2, name


def test_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
    wanted = [[[0, 1, 128, 255]]] * 3
    assert read(saved(Image.fromarray(ramp), tmp_path / "16.png")).tolist() == wanted
    assert read(saved(Image.fromarray(ramp), tmp_path / "16.tif")).tolist() == wanted
    assert read(saved(Image.fromarray((ramp // 257).astype(np.uint8)), tmp_path / "8.png")).tolist() == wanted
    assert (
        read(saved(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"), tmp_path / "1.png")).tolist()
        == [[[0, 255]]] * 3
    )


def test_what_is_transparent_is_laid_on_white(tmp_path):
    clear = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    wanted = [[[255, 10]], [[255, 20]], [[255, 30]]]
    assert read(saved(clear, tmp_path / "rgba.png")).tolist() == wanted
    assert read(saved(clear.quantize(4), tmp_path / "palette.png")).tolist() == wanted
    marked = Image.fromarray(np.array([[7, 9]], np.uint8))
    assert read(saved(marked, tmp_path / "grey.png", transparency=7)).tolist() == [[[255, 9]]] * 3


TWELVE = bytes([0x00, 0x0F, 0xFF, 0x80, 0x0F, 0xFF])  # 0, 4095, 2048, 4095
GREYS = {
    "12 bits": (tiff(TWELVE, 4, 12, 1), [0, 255, 127, 255]),
    "12 bits, packed": (tiff(TWELVE, 4, 12, 1, packed=1), [0, 255, 127, 255]),
    "16 bits": (tiff(struct.pack("<HHH", 0, 257, 65535), 3, 16, 1), [0, 1, 255]),
    "16 bits, the least is white": (tiff(struct.pack("<HHH", 0, 257, 65535), 3, 16, 0), [255, 254, 0]),
    "16 bits, the least is white, packed": (tiff(struct.pack("<HH", 0, 65535), 2, 16, 0, packed=1), [255, 0]),
    "8 bits, the least is white": (tiff(bytes([0, 1, 255]), 3, 8, 0), [255, 254, 0]),
    "4 bits, the least is white": (tiff(bytes([0x0F]), 2, 4, 0), [255, 0]),
    "1 bit, the least is white": (tiff(bytes([0b01000000]), 2, 1, 0), [255, 0]),
    "multiplied by alpha": (tiff(bytes([10, 255, 0, 0]), 2, 8, 1, samples=2, extra=1), [10, 255]),
    "PGM of 12 bits": (b"P5 3 1 4095\n" + struct.pack(">HHH", 0, 2048, 4095), [0, 127, 255]),
    "PGM of 4 bits": (b"P5 2 1 15\n" + bytes([0, 15]), [0, 255]),
    "PNG of 16 bits, one clear": (png(16, 0, 3, [struct.pack(">HHH", 300, 0, 65535)], b"\1\x2c"), [255, 0, 255]),
    "PNG of 4 bits, one clear": (png(4, 0, 2, [bytes([0x12])], b"\0\1"), [255, 34]),
    "PNG of 2 bits, one clear": (png(2, 0, 4, [bytes([0b00011011])], b"\0\2"), [0, 85, 255, 255]),
    "PNG of 1 bit, black clear": (png(1, 0, 2, [bytes([0b01000000])], b"\0\0"), [255, 255]),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey_of_any_bits_and_either_sense_is_right(name):
    """12 bits were 16 times too dark, and 16 bits whose least is white came out as a negative."""
    content, wanted = GREYS[name]
    assert read(content).tolist() == [[wanted]] * 3


UNKNOWN = {
    "floating-point values, of no known range": tiff(struct.pack("<ff", 0, 1), 2, 32, 1, sign=3),
    "grey values of 32 bits, of no known range": tiff(struct.pack("<II", 0, 2**32 - 1), 2, 32, 1),
    "signed values, of no known range": tiff(struct.pack("<hh", -5, 32767), 2, 16, 1, sign=2),
    "signed values, of no known ran": tiff(struct.pack("bb", -5, 127), 2, 8, 1, sign=2),
    "a TIFF of a kind that Pillow does not read": tiff(TWELVE, 4, 12, 0),
    "a transparent colour of 16 bits": png(16, 2, 1, [struct.pack(">HHH", 1, 2, 3)], struct.pack(">HHH", 1, 2, 3)),
}


@pytest.mark.parametrize("reason", UNKNOWN)
def test_values_whose_meaning_nobody_knows_are_refused(reason):
    """They were clipped, or taken for others."""
    with pytest.raises(Unreadable, match=reason):
        read(UNKNOWN[reason])


def test_lab_becomes_the_colour_it_names():
    row = bytes([128, 236, 30, 255, 0, 0])  # L 50.2, a -20, b 30; white
    wanted = [[98, 255], [128, 255], [66, 255]]  # by the formulas of CIE, D50 to sRGB
    assert abs(read(tiff(row, 2, 8, 8, samples=3))[:, 0].astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_turned_picture_is_turned_once(tmp_path, form):
    """Pillow itself turns a TIFF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = saved(Image.fromarray(np.array([[0, 255]] * 2, np.uint8)), tmp_path / "x", format=form, exif=exif)
    assert (read(lying)[0] > 127).tolist() == [[False, False], [True, True]]


def test_a_picture_is_turned_as_the_camera_was_held(tmp_path):
    upright = picture(3, (4, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    lying = saved(upright.transpose(Image.Transpose.ROTATE_90), tmp_path / "x.png", exif=exif)
    assert (read(lying).transpose(1, 2, 0) == np.asarray(upright)).all()


def test_the_shorter_side_is_brought_to_size_and_the_middle_kept(tmp_path):
    wide = picture(4, (48, 16))
    middle = wide.resize((12, 4), Image.Resampling.BILINEAR).crop((4, 0, 8, 4))
    assert (read(saved(wide, tmp_path / "wide.png"), 4).transpose(1, 2, 0) == np.asarray(middle)).all()
    tall = read(saved(wide.transpose(Image.Transpose.TRANSPOSE), tmp_path / "tall.png"), 4)
    assert (tall.transpose(2, 1, 0) == np.asarray(middle)).all()
    assert read(saved(Image.new("RGB", (2, 3)), tmp_path / "small.png"), 8).shape == (3, 8, 8)


def test_shrinking_is_antialiased(tmp_path):
    """Stripes finer than a pixel become grey; without a filter they would be black or white."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(read(saved(Image.fromarray(stripes), tmp_path / "s.png"), 8).astype(int) - 127).max() <= 6


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_with_nearly_the_same_result(tmp_path):
    small = picture(8, (16, 16))
    large = small.resize((512, 512), Image.Resampling.BICUBIC)
    quick = read(saved(large, tmp_path / "l.jpg", quality=95), 16).astype(int)
    exact = read(saved(large, tmp_path / "l.png"), 16).astype(int)
    assert abs(quick - exact).mean() < 4
