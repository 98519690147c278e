"""Measures the error of trained nets on any dataset, each alone or several together."""

import copy
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.data import quiet
from degrade.data.batches import EVALUATION_BATCH, Resident
from degrade.data.images import Note, fingerprint
from degrade.errors import RunError
from degrade.experiments.classes import Order, match_classes
from degrade.experiments.trained import Pictures, Trained, as_trained, choose_measuring, pictures, tell_apart
from degrade.spec import DataSpec, RunSpec
from degrade.train.fit import pick_device
from degrade.train.precision import autocast, settle_as_trained


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Loss and error of one net, or of several together, on one split: evaluation mode, no augmentation."""

    label: str  # of the net, or "ensemble of 3"
    net: str  # what it is: residual-A-20; "" for an ensemble
    iteration: int  # SGD steps done; 0 where unknown
    data: str
    split: str  # train (without augmentation) | test | val
    n: int  # images
    loss: float  # mean cross-entropy, nats
    error: float  # top-1 error, %
    weights: str  # of the net (degrade.experiments.trained.Trained); "" for an ensemble
    scale: str  # by which numbers the pictures are scaled, and whence; "" for an ensemble, as are the next two
    classes: str  # which output is which class: by name | by position, and why
    assumed: str  # what no tensor of a file of others tells: net, option A's zeros, epsilon, stride; and who says so


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """The mean of several nets' softmax outputs, beside each of them."""

    members: tuple[Evaluation, ...]
    together: Evaluation


class Measured(NamedTuple):
    """An evaluation, and the outputs that it is of."""

    evaluation: Evaluation
    logits: Tensor  # (n, classes) float32, in the order of `classes`
    labels: Tensor  # (n,) int64 into `classes`
    classes: tuple[str, ...]  # of the pictures


def evaluate(
    net: Trained | Path | str,
    asked: DataSpec | None = None,
    *,
    split: str = "test",
    given_scale: bool = False,
    device: str = "auto",
    note: Note = quiet,
) -> Evaluation:
    """Measures a net on its own pictures, or on those `asked` for, scaled as `pictures` says. `net`: also as the path
    or name that `open_net` takes. Its outputs are matched with the classes of the pictures as `match_classes` says.

    On its own pictures and the same device, a run's last measured loss and error come out again: up to rounding, and to
    the bit on a CPU if the run's backend was eager.
    Raises as `open_net`, `pictures` and `match_classes` do, and SpecError for a split or device that is not there.
    """
    return measure(net, asked, split=split, given_scale=given_scale, device=device, note=note).evaluation


def measure(
    net: Trained | Path | str,
    asked: DataSpec | None = None,
    *,
    split: str = "test",
    given_scale: bool = False,
    device: str = "auto",
    note: Note = quiet,
) -> Measured:
    """As `evaluate`, with the outputs for every picture. Raises as it does."""
    trained = as_trained(net, choose_measuring(asked, given_scale, note))
    shown = pictures(trained, asked, given_scale=given_scale, note=note)
    said, labels = compute_outputs(trained, shown, split, device)
    return Measured(_evaluate_outputs(trained, shown, split, said, labels), said, labels, shown.images(split).classes)


def ensemble(
    members: Sequence[Trained | Path | str],
    asked: DataSpec | None = None,
    *,
    split: str = "test",
    given_scale: bool = False,
    device: str = "auto",
    note: Note = quiet,
) -> Ensemble:
    """Measures several nets as one: the class of the largest mean softmax, taken in float64. Each net sees the same
    pictures in its own scale. As in Table 5 of the paper, whose members differ in depth.

    Raises as `evaluate` does, and RunError for fewer than two nets, or nets whose own pictures are not the same.
    """
    if len(members) < 2:
        raise RunError("an ensemble needs two nets or more")
    alone: list[Evaluation] = []
    total, labels, seen = torch.zeros(()), torch.zeros(()), set[str]()
    measuring = choose_measuring(asked, given_scale, note)
    opened = tell_apart([as_trained(net, measuring) for net in members])
    for trained in opened:
        shown = pictures(trained, asked, given_scale=given_scale, note=note)
        seen.add(fingerprint(shown.images(split)))
        if len(seen) > 1:
            pair = f"{opened[0].label} and {trained.label}"
            raise RunError(f"{pair}: trained on different pictures; say on which to measure, by data=...")
        said, labels = compute_outputs(trained, shown, split, device)
        alone.append(_evaluate_outputs(trained, shown, split, said, labels))
        total = total + said.double().softmax(1)
    both = _judge((total / len(members)).log(), labels)  # the softmax in cross-entropy gives the mean again
    together = Evaluation(
        label=f"ensemble of {len(members)}",
        net="",
        iteration=0,
        data=alone[0].data,
        split=split,
        n=both.n,
        loss=both.loss,
        error=both.error,
        weights="",
        scale="",
        classes="",
        assumed="",
    )
    return Ensemble(members=tuple(alone), together=together)


def compute_outputs(trained: Trained, shown: Pictures, split: str, device: str) -> tuple[Tensor, Tensor]:
    """Computes logits (n, classes) float32, in the order of the pictures' classes, and labels (n,) of a split.

    The net itself stays on its device. Raises as `match_classes` does.
    """
    place, order = pick_device(device), _match(trained, shown, split).outputs
    images = shown.resident(split, place)
    settle_as_trained(trained.run.engine if trained.run else None, place)
    precision = trained.run.engine.precision if trained.run else "fp32"
    with _use_threads(trained.run):
        said = _compute_logits(copy.deepcopy(trained.net).to(place), images, precision)
    return (said if order is None else said[:, list(order)]), images.labels


def _match(trained: Trained, shown: Pictures, split: str) -> Order:
    return match_classes(trained, shown.images(split), shown.spec.name)


def _evaluate_outputs(trained: Trained, shown: Pictures, split: str, said: Tensor, labels: Tensor) -> Evaluation:
    """Judges the logits of one net."""
    what, measure = trained.run or RunSpec(net=trained.spec), _judge(said, labels)
    return Evaluation(
        label=trained.label,
        net=what.name,
        iteration=trained.iteration,
        data=shown.spec.shown,
        split=split,
        n=measure.n,
        loss=measure.loss,
        error=measure.error,
        weights=trained.weights,
        scale=shown.scaled,
        classes=_match(trained, shown, split).said,
        assumed="; ".join(trained.assumed),
    )


@contextmanager
def _use_threads(run: RunSpec | None) -> Generator[None]:
    """Uses as many CPU threads as the run was trained with: other numbers of threads add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(run.engine.threads if run else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Measure(NamedTuple):
    """Mean cross-entropy in nats, top-1 error in %, images."""

    loss: float
    error: float
    n: int


def _compute_logits(net: nn.Module, images: Resident, precision: str = "fp32") -> Tensor:
    """Logits (n, classes) float32 in evaluation mode, on the device of the images, in the precision of the run."""
    net.eval().to(memory_format=torch.channels_last)  # as the backends have it: the same sums in the same order
    found: list[Tensor] = []
    with torch.inference_mode(), autocast(precision, images.pixels.device):
        for x, _ in images.in_order():
            found.append(net(x.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(found)


def _judge(logits: Tensor, labels: Tensor) -> _Measure:
    """Judges logits (n, classes) by labels (n,). Sums losses in the batches of Fit, so that Fit's numbers come out."""
    sums = torch.zeros(2, dtype=torch.float64, device=logits.device)
    batches = zip(logits.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    for said, y in batches:
        loss = F.cross_entropy(said, y, reduction="sum")
        sums += torch.stack((loss.double(), (said.argmax(1) != y).sum()))
    loss, wrong = sums.tolist()
    return _Measure(loss / len(labels), 100 * wrong / len(labels), len(labels))
