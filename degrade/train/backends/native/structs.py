"""The structures of kernels.h, field by field."""

from ctypes import POINTER, Structure, c_float, c_int, c_long, c_void_p
from functools import cache
from typing import Any

KERNELS = (
    *("take", "convolve", "correlate", "moments", "normalise", "mask", "centre"),
    *("gather", "scatter", "average", "unpool"),
)  # in the order of kernels.c
FOLDS = ("fold_moments", "fold_gradient", "fold_weights", "pack", "classify")  # in the order of kernels.c


class Taps(Structure):
    _fields_ = [("count", c_int), ("at", c_int * 3), ("tap", c_int * 3)]


class Map(Structure):
    _fields_ = [("data", c_void_p), ("height", c_int), ("width", c_int), ("channels", c_int)]


class Kernel(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("weight", "momentum", "partial", "forward", "backward")),
        *((name, c_int) for name in ("taps", "cin", "cout")),
    ]


class Norm(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("gamma", "beta", "vgamma", "vbeta", "mean", "variance", "scale", "shift")),
        *((name, c_void_p) for name in ("centre", "inverse", "first", "second", "gradient", "sums")),
        ("channels", c_int),
    ]


class Head(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("weight", "bias", "momentum", "bias_momentum", "gradient", "pooled", "logits")),
        *((name, c_int) for name in ("classes", "channels")),
    ]


class Source(Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("pixels", "labels", "index")),
        ("start", c_long),
        *((name, c_void_p) for name in ("down", "right", "flip", "levels", "mean", "deviation")),
        *((name, c_int) for name in ("channels", "height", "width", "pad")),
    ]


class Call(Structure):
    _fields_ = [
        *((name, c_int) for name in ("kind", "backward", "accumulate", "plain", "stride", "offset", "kept")),
        *((name, Map) for name in ("a", "b", "c")),
        ("kernel", POINTER(Kernel)),
        ("norm", POINTER(Norm)),
        ("rows", POINTER(Taps)),
        ("columns", POINTER(Taps)),
        ("head", POINTER(Head)),
    ]


class Phase(Structure):
    _fields_ = [
        ("calls", POINTER(Call)),
        ("folds", POINTER(Call)),
        ("calls_count", c_int),
        ("folds_count", c_int),
    ]


class Descent(Structure):
    _fields_ = [
        *((name, c_float) for name in ("lr", "momentum", "decay", "other_decay")),
        *((name, c_int) for name in ("caffe", "nesterov")),
        ("squares", c_void_p),
    ]


class Step(Structure):
    _fields_ = [
        *((name, c_int) for name in ("images", "blocks", "groups", "chunks_of_group")),
        ("momentum", c_float),
        ("source", POINTER(Source)),
        ("descent", POINTER(Descent)),
        ("tally", c_void_p),
    ]


# `layout` in kernels.c tells their sizes
MIRRORED = (Taps, Map, Kernel, Norm, Head, Source, Call, Phase, Descent, Step)


@cache
def taps(source: int, side: int, stride: int, *, backward: bool = False) -> Any:
    """Lists, for each row of the destination, the rows of the source that meet the taps of a `side`-wide kernel.

    Forward, the source is the input: row = stride * destination + tap - padding, if there is such a row. Backward, the
    source is the gradient by the output and the destination is the input: the same pairs from the other end.
    """
    padding, out = side // 2, -(-source // stride)
    pairs = [(o, tap, o * stride + tap - padding) for o in range(out) for tap in range(side)]
    pairs = [(o, tap, i) for o, tap, i in pairs if 0 <= i < source]
    found = [[(i, tap) for o, tap, i in pairs if o == row] for row in range(out)]
    if backward:
        found = [[(o, tap) for o, tap, i in pairs if i == row] for row in range(source)]
    return (Taps * len(found))(
        *(Taps(len(met), (c_int * 3)(*(at for at, _ in met)), (c_int * 3)(*(tap for _, tap in met))) for met in found)
    )
