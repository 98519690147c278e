"""Errors of trained nets on any dataset, one by one and as an ensemble."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from degrade import data
from degrade.data.batches import Resident, scale_of
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec, RecipeSpec
from degrade.train.backends import BACKENDS
from degrade.train.fit import EVALUATION_BATCH, pick_device
from degrade.trained import Trained

SPLITS = ("test", "train", "val")


@dataclass(frozen=True)
class Asked:
    """A dataset that nets are to see, and whether the scale of its pixels was asked for too."""

    data: DataSpec  # prepared
    own_scale: bool = True  # of a run of ours: what it was trained with; False: data.normalize of this dataset


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """A dataset on the device, scaled for one net."""

    name: str
    content: tuple[object, ...]  # equal for equal pictures
    train: Resident
    test: Resident
    val: Resident | None

    def split(self, name: str) -> Resident:
        """Raises SpecError for a split that is not there."""
        images = {"train": self.train, "test": self.test, "val": self.val}.get(name)
        if name not in SPLITS or images is None:
            known = [each for each in SPLITS if each != "val" or self.val is not None]
            raise SpecError(f"--split={name}: not there; data={self.name} has {', '.join(known)}")
        return images


class Evaluation(NamedTuple):
    """One net, or an ensemble, on one split."""

    label: str
    data: str
    split: str
    n: int  # images
    loss: float  # mean cross-entropy, nats
    error: float  # top-1, %


def pictures(trained: Trained, asked: Asked | None = None, device: torch.device | None = None) -> Pictures:
    """The dataset of a run, or the one asked for, scaled for this net.

    A run of ours sees pixels by the statistics of its own training images, on whatever dataset, unless data.normalize
    was given; a foreign net by those of the dataset's training images. Raises SpecError where a foreign net comes
    without a dataset, DataError where channels, classes or the mean image do not fit.
    """
    wanted = asked.data if asked else trained.run.data if trained.run else None
    if wanted is None:
        raise SpecError(f"{trained.label}: its dataset is not known; say which, as in data=cifar10")
    train, test, val = data.load(wanted)
    own = trained.run if trained.run and (asked is None or asked.own_scale) else None
    basis = train if own is None or asked is None else data.load(own.data).train
    scale = scale_of(basis, own.data.normalize if own else wanted.normalize)
    channels, classes = train.pixels.shape[1], len(train.classes)
    if (channels, classes) != (trained.channels, trained.classes):
        takes = f"{trained.channels} channels and {trained.classes} classes"
        raise DataError(f"data={wanted.name}: {channels} channels and {classes} classes; {trained.label} has {takes}")
    if scale.mean.shape[1:] not in ((1, 1), train.pixels.shape[2:]):
        size, mean = train.pixels.shape[-1], scale.mean.shape[-1]
        raise DataError(
            f"data={wanted.name}: {size}x{size} pixels, and {trained.label} subtracts a mean image of {mean}x{mean}; "
            f"give data.normalize=channel, or data.size={mean}"
        )
    on = device or pick_device("auto")
    return Pictures(
        name=wanted.name,
        content=(wanted.name, wanted.content, wanted.validation, wanted.train_limit, wanted.test_limit),
        train=Resident(train, scale, on),
        test=Resident(test, scale, on),
        val=None if val is None else Resident(val, scale, on),
    )


def evaluate(trained: Trained, asked: Asked | None = None, *, split: str = "test") -> Evaluation:
    """Loss and error of a net on its own data or on those asked for, in evaluation mode on clean images.

    A run of ours on its own test set has the error of the last point of its curve. Raises as `pictures` does.
    """
    shown = pictures(trained, asked)
    images = shown.split(split)
    recipe = trained.run.recipe if trained.run else RecipeSpec()
    backend = BACKENDS["eager"](trained.net, recipe, images.labels.device)
    sums = torch.zeros(2, dtype=torch.float64, device=images.labels.device)
    for batch in slices(images):
        sums += backend.evaluate(*images.clean(batch))
    trained.net.eval()
    loss, wrong = sums.tolist()
    return Evaluation(trained.label, shown.name, split, len(images), loss / len(images), 100 * wrong / len(images))


def ensemble(members: Sequence[Trained], asked: Asked | None = None, *, split: str = "test") -> Evaluation:
    """The error of the mean of the members' softmax outputs (float64), each seeing the pictures by its own scale.

    The loss is the cross-entropy of that mean. Raises SpecError for fewer than two members, DataError where they do not
    see the same pictures; otherwise as `pictures` does.
    """
    if len(members) < 2:
        raise SpecError("ensemble: needs two nets or more; name another run")
    shown = [pictures(member, asked) for member in members]
    for one, member in zip(shown, members, strict=True):
        if one.content != shown[0].content:
            raise DataError(f"{member.label}: was trained on other data than {members[0].label}; say data=... for all")
    splits = [each.split(split) for each in shown]
    labels, n = splits[0].labels, len(splits[0])
    sums = torch.zeros(2, dtype=torch.float64, device=labels.device)
    for batch in slices(splits[0]):
        chances = [softmax(net, images, batch) for net, images in zip(members, splits, strict=True)]
        mean, y = torch.stack(chances).mean(0), labels[batch]
        chosen = mean.gather(1, y[:, None]).clamp(min=torch.finfo(mean.dtype).tiny)
        sums += torch.stack((-chosen.log().sum(), (mean.argmax(1) != y).sum()))
    loss, wrong = sums.tolist()
    return Evaluation(f"ensemble of {len(members)}", shown[0].name, split, n, loss / n, 100 * wrong / n)


def slices(images: Resident) -> Iterator[slice]:
    for start in range(0, len(images), EVALUATION_BATCH):
        yield slice(start, start + EVALUATION_BATCH)


def softmax(trained: Trained, images: Resident, batch: slice) -> Tensor:
    """(N, classes) float64."""
    x, _ = images.clean(batch)
    with torch.inference_mode():
        return trained.net.to(x.device).eval()(x).double().softmax(1)
