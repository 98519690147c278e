"""The rows that are measured, and the columns of every table: meaning, unit, type and possible values."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from degrade.spec.parts import CHOICES, SHORTCUTS
from degrade.spec.run import ORIGIN_LABEL

SPLITS = ("train", "train_clean", "test", "val")
_MEASURED_ON = ("train", "test")  # images of responses, without augmentation
_BN_STATISTICS = ("running", "batch")
_COUNT = 2**53  # integers up to here are exact as float64 too
LARGE = 1e40  # the largest rate, time or speed
FURTHEST = 1e100  # the largest other finite number: numbers are of float32, or ratios of two


class Column(NamedTuple):
    """One column of a table, and the values it can hold."""

    kind: str  # string | int64 | float64: arrow's name
    meaning: str  # and unit; stored in every parquet file
    words: tuple[str, ...] = ()  # the possible strings; empty: any
    pattern: str = ""  # matches the whole string; empty: any
    low: float | None = None  # the least number; None: any integer, or any float, inf and NaN too
    high: float | None = None  # the greatest number; None as for `low`
    infinite: bool = False  # whether inf is allowed besides the numbers from low to high


Columns = dict[str, Column]  # in the order of the file


def text(meaning: str, words: tuple[str, ...] = (), pattern: str = "") -> Column:
    """A column of words."""
    return Column("string", meaning, words, pattern)


def whole(meaning: str, low: int | None = None, high: int | None = None) -> Column:
    """A column of integers."""
    return Column("int64", meaning, low=low, high=high)


def real(meaning: str, low: float | None = None, high: float | None = None, *, infinite: bool = False) -> Column:
    """A column of floating-point numbers."""
    return Column("float64", meaning, low=low, high=high, infinite=infinite)


def foreign_label(group: str) -> str:
    """The label of a net from a file of others: its group without the hash."""
    return re.sub(r"-[0-9a-f]{8}(?=@\d+$|$)", "", group)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of one split. CURVE below has the units."""

    iteration: int
    epoch: float
    split: str
    loss: float
    error: float
    n: int
    lr: float
    grad_norm: float
    images_per_second: float
    seconds: float


ITERATION = whole("SGD steps done", 0, _COUNT)
_IMAGES = whole("images it was measured on", 1, _COUNT)
_DEPTH = whole("weighted layers", 1, 2**31)
FOREIGN = "foreign"  # the protocol of nets from files of others, whose group is their label and eight digits of a hash
LABELS: Columns = {  # they say which run a row belongs to
    "run": text("name of the run: a readable slug and a hash of all that defines its result"),
    "group": text("runs that differ in nothing but the seed"),
    "protocol": text("groups that differ in nothing but net, shortcut, depth and width: may be compared"),
    "net": text("what a block computes: a key of degrade.nets.NETS", tuple(SHORTCUTS)),
    "family": text("cifar: the 6n+2 nets of He et al. 2015, Sec. 4.2"),
    "shortcut": text("option A | B | C of Sec. 3.3; none for plain nets", CHOICES["shortcut"]),
    "depth": _DEPTH,
    "width": whole("channels of the first stage", 1, 2**31),
    "seed": whole("seed of initial weights, order of the data and augmentation"),
    "data": text("name of the dataset"),
    "recipe": text("name of the recipe"),
    "precision": text("arithmetic of the training step"),
    "origin": text(
        "nothing: weights drawn at random; constructed-20: a trained net of 20 layers and identities",
        pattern=ORIGIN_LABEL.pattern,
    ),
}
CURVE: Columns = {
    **LABELS,
    "iteration": ITERATION,
    "epoch": real("passes over the training set", 0, LARGE),
    "split": text(
        "train: mean since the last point, augmented, training mode; "
        "train_clean: evaluation mode, no augmentation; test; val",
        SPLITS,
    ),
    "loss": real("mean cross-entropy, nats"),
    "error": real("top-1 error, %", 0, 100),
    "n": _IMAGES,
    "lr": real("learning rate of the last step", 0, LARGE),
    "grad_norm": real("Euclidean norm of the gradient of the loss in the last step, without weight decay"),
    "images_per_second": real("training images per second since the last point, evaluation not counted", 0, LARGE),
    "seconds": real("wall time of the run so far, evaluation counted", 0, LARGE),
}
TIMINGS = ("images_per_second", "seconds")  # a repeated run may differ in these two columns alone

_PLACE: Columns = {
    "name": text("of the module inside the net: stages.0.2.first"),
    "stage": whole("0: the stem; 1, 2, 3: the stages of Sec. 4.2; 4: the last layer"),
    "block": whole("place of the block in its stage, from 1; 0 outside the stages"),
}
_MEASURED_UNDER: Columns = {
    "iteration": whole("SGD steps done when it was measured", 0, _COUNT),
    "split": text("the images it was measured on: train | test, as they are, without augmentation", _MEASURED_ON),
    "bn": text("statistics of batch normalisation: running (evaluation mode) | batch", _BN_STATISTICS),
}


@dataclass(frozen=True, slots=True)
class LayerResponse:
    """Responses of one 3x3 layer: its output after BN, before ReLU or addition (Sec. 4.2, Fig. 7)."""

    iteration: int
    split: str
    bn: str
    layer: int
    name: str
    stage: int
    block: int
    place: int
    std: float
    std_channel: float
    mean: float
    n: int


RESPONSES: Columns = {
    **_MEASURED_UNDER,
    "layer": whole("index of the 3x3 layer, from 1 (the stem) to 6n+1, as on the x axis of Fig. 7", 1, 2**31),
    **_PLACE,
    "place": whole("place of the layer in its block, from 1; 0 outside the stages"),
    "std": real("standard deviation over images, channels and positions together"),
    "std_channel": real("mean over channels of the standard deviation over images and positions"),
    "mean": real("mean over images, channels and positions"),
    "n": _IMAGES,
}


@dataclass(frozen=True, slots=True)
class BlockResponse:
    """How much one block changes its input x. Norms are over all images and positions together."""

    iteration: int
    split: str
    bn: str
    index: int
    name: str
    stage: int
    block: int
    change: float
    distance: float
    opening: float
    n: int


BLOCKS: Columns = {
    **_MEASURED_UNDER,
    "index": whole("place of the block in the net, from 1 to 3n", 1, 2**31),
    **_PLACE,
    "change": real("||F(x)|| / ||x||, F being what the block's last 3x3 layer puts out"),
    "distance": real("||H(x) - x|| / ||x||, H being the block; where it changes the shape, x goes by option A"),
    "opening": real(
        "mean opening of the shortcut: 0 in plain nets, 1 in residual nets, 1 - T(x) where a gate T decides"
    ),
    "n": _IMAGES,
}


@dataclass(frozen=True, slots=True)
class LayerGradient:
    """What a probe sees of one weighted layer just before an SGD step, in training mode on the batch of the step."""

    iteration: int
    layer: int
    name: str
    stage: int
    block: int
    place: int
    grad_norm: float
    weight_norm: float
    ratio: float
    std: float
    cosine: float


PROBE: Columns = {
    "iteration": whole("SGD steps done before; the probe sees the batch of the next one", 0, _COUNT),
    "layer": whole("index of the weighted layer, from 1 (the stem) to 6n+2 (the last layer)", 1, 2**31),
    **_PLACE,
    "place": whole("place of the layer in its block, from 1; 0 outside the stages"),
    "grad_norm": real("Euclidean norm of the gradient of the loss by the layer's weight"),
    "weight_norm": real("Euclidean norm of the weight"),
    "ratio": real("grad_norm / weight_norm"),
    "std": real("standard deviation of the layer's responses over images, channels and positions"),
    "cosine": real("cosine similarity of the gradients of the batch's two halves; NaN where one is 0"),
}


def find_impossible(column: Column, words: list[str]) -> list[str]:
    """The words that a column cannot hold, out of its distinct words."""
    if column.pattern:
        return [word for word in words if not re.fullmatch(column.pattern, word)]
    return [word for word in words if column.words and word not in column.words]


def bounds_of(column: Column) -> tuple[float, float] | None:
    """(least, greatest) number of a column; None: no bounds. A float column without bounds may also hold inf or NaN."""
    if column.low is not None and column.high is not None:
        return column.low, column.high
    return (-FURTHEST, FURTHEST) if column.kind == "float64" else None
