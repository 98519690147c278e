"""The pictures on which it is measured which net of others a file holds, in the scales that it may have seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from degrade import data
from degrade.data.batches import scale_of
from degrade.data.images import Note
from degrade.experiments.hints import Hints
from degrade.experiments.known import CIFAR10_NUMBERS, IMAGENET_NUMBERS, KNOWN
from degrade.nets.agreement import Shown
from degrade.nets.foreign import Reading
from degrade.nets.settle import Settled, settle
from degrade.spec import DataSpec

Normalize = str | tuple[float, ...]
_PICTURES = 128  # of the test set: a right reading is then 0.02 to 0.1 from its statistics


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The pictures that a command is about."""

    asked: DataSpec
    given_scale: bool = False  # asked.normalize counts
    note: Note = data.quiet


def choose_measuring(asked: DataSpec | None, given_scale: bool, note: Note = data.quiet) -> Measuring | None:
    """The pictures that are asked for; None where nobody asks for any."""
    return None if asked is None else Measuring(asked=asked, given_scale=given_scale, note=note)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What measuring has settled."""

    settled: Settled
    normalize: Normalize | None = None  # how the pictures are scaled; None: not measured, or only one was possible


def settle_on(found: Sequence[Reading], measuring: Measuring | None, hints: Hints, batches: int | None) -> Measured:
    """Settles which of several readings a file has, on the pictures of a command if there are some and they fit.

    Raises RunError as `settle` does, and DataError where the pictures cannot be had.
    """
    if measuring is None or hints.measure == "no":
        return Measured(settled=settle(found, None))
    spec = data.prepare_test(measuring.asked, measuring.note)
    images = data.load(spec).test
    if (images.pixels.shape[1], len(images.classes)) != (found[0].channels, found[0].classes):
        return Measured(settled=settle(found, None))  # `pictures` says what does not fit
    ways = _list_scales(measuring, hints, found[0], trains=data.has_train(spec))
    train = data.load(spec).train
    kept = torch.linspace(0, len(images) - 1, min(_PICTURES, len(images))).long().unique()
    pixels = torch.from_numpy(images.pixels[kept.numpy()]).float() / 255
    scales = {name: scale_of(train, normalize) for name, normalize in ways.items()}
    settled = settle(
        found, Shown(pixels, {name: (each.mean, each.deviation) for name, each in scales.items()}), batches
    )
    only = len(ways) == 1 or settled.scale is None
    return Measured(settled=settled, normalize=None if only else ways[str(settled.scale)])


def _list_scales(measuring: Measuring, hints: Hints, reading: Reading, *, trains: bool) -> dict[str, Normalize]:
    """The scales that its pictures may have been in: the one that is said, else all that are usual."""
    if hints.normalize is not None:
        return {"the scale said of this net": hints.normalize}
    if measuring.given_scale:
        return {"data.normalize": measuring.asked.normalize}
    if hints.known is not None and reading.classes in KNOWN[hints.known].normalize:
        return {f"as={hints.known}": KNOWN[hints.known].normalize[reading.classes]}
    n = reading.channels
    usual: dict[str, Normalize] = {"channel": "channel", "pixel": "pixel"} if trains else {}
    usual |= {"0 to 1": (0.0,) * n + (1.0,) * n, "-1 to 1": (0.5,) * (2 * n), "0 to 255": (0.0,) * n + (1 / 255,) * n}
    if n == 3:
        usual |= {"numbers of ImageNet": IMAGENET_NUMBERS, "numbers of CIFAR-10": CIFAR10_NUMBERS}
    return usual
