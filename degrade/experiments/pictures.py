"""The pictures to measure a net on, and their scale: whose it is, and how it is said."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from degrade import data
from degrade.data.batches import Resident, Scale, scale_of
from degrade.data.images import Images, Note, Splits
from degrade.errors import DataError, RunError, SpecError
from degrade.experiments.checkpoints import Trained
from degrade.experiments.known import KNOWN
from degrade.spec import DataSpec, RunSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Pictures for one net: the splits of a dataset, and the scale to show them in."""

    spec: DataSpec
    splits: Splits
    scale: Scale
    scaled: str = ""  # by which numbers, and whence: "data.normalize=pixel of its own training set"
    trains: bool = True  # whether there is a training set; without one, splits.train holds the test set

    def images(self, split: str) -> Images:
        """Picks train, test or val, after data.validation and the limits. Raises SpecError for a missing split."""
        found = {"train": self.splits.train, "test": self.splits.test, "val": self.splits.val}.get(split)
        if found is None:
            rule = "there are none; set data.validation" if split == "val" else "must be train, test or val"
            raise SpecError(f"--split={split}: {rule}")
        if split != "test" and not self.trains:
            raise SpecError(f"--split={split}: data.root={self.spec.root} has no folder train/; measure on test")
        return found

    def resident(self, split: str, device: torch.device) -> Resident:
        """Puts the images of `split` on the device; they are scaled when they are taken. Raises as `images` does."""
        return Resident(self.images(split), self.scale, device)


class Scaling(NamedTuple):
    """Whose scale pictures are shown in, before anybody has looked at them."""

    normalize: str | tuple[float, ...]
    own: bool  # computed over the training set of the net's own run, rather than of the pictures
    said: str


def choose_scaling(trained: Trained, asked: DataSpec | None, *, given_scale: bool) -> Scaling:
    """Chooses the scale: what is said beside the net, else data.normalize, else as=NAME, else the run's own.

    For a net of others of which nothing is said, the scale is that of the pictures' own training set, an assumption.
    """
    hints, run = trained.hints, trained.run
    if hints.normalize is not None:
        return _scale_by(hints.normalize, "said of this net")
    if given_scale and asked is not None:
        return _scale_by(asked.normalize, "data.normalize")
    if hints.known is not None:
        return _scale_by(KNOWN[hints.known].normalize[trained.classes], f"as={hints.known}")
    if run is not None:
        of = "as in its own training" if isinstance(run.data.normalize, tuple) else "of its own training set"
        return Scaling(run.data.normalize, True, f"{_show(run.data.normalize)} {of}")
    if trained.measured is not None:
        return _scale_by(trained.measured, "measured: its BN statistics agree")
    normalize = (asked or DataSpec()).normalize
    return Scaling(normalize, False, f"{_show(normalize)} of the training set of the pictures (assumed)")


def _scale_by(normalize: str | tuple[float, ...], whence: str) -> Scaling:
    of = "" if isinstance(normalize, tuple) else " of the training set of the pictures"
    return Scaling(normalize, False, f"{_show(normalize)}{of} ({whence})")


def _show(normalize: str | tuple[float, ...]) -> str:
    """The scale in words: the mean image; mean and deviation of each channel; or the numbers."""
    if isinstance(normalize, tuple):
        half = len(normalize) // 2
        means, deviations = (", ".join(f"{value:g}" for value in part) for part in (normalize[:half], normalize[half:]))
        return f"mean {means}, deviation {deviations}"
    return {"pixel": "the mean image", "channel": "mean and deviation of each channel"}[normalize]


def pictures(
    trained: Trained, asked: DataSpec | None = None, *, given_scale: bool = False, note: Note = data.quiet
) -> Pictures:
    """The pictures to measure a net on, and their scale.

    `asked` None: the pictures that a run of ours was trained on. Else the pictures asked for. `choose_scaling` says how
    they are scaled; with `given_scale`, asked.normalize counts. A net of others needs `asked`. `note` hears how far
    fetching and decoding has come. Pictures without a training set will do where the scale does not need it. Raises
    RunError where the pictures do not fit the net, DataError where they cannot be had.
    """
    run = trained.run
    if asked is None and run is None:
        raise RunError(f"{trained.label}: trained on which pictures? say data=..., as in data=cifar10")
    spec = _find_own(trained, run, asked, note) if run and not asked else data.prepare_test(asked or DataSpec(), note)
    splits = data.load(spec)
    _check_shape(trained, spec, splits.test)
    scaling = choose_scaling(trained, asked, given_scale=given_scale)
    scale = _compute_scale(trained, scaling, asked, spec, splits, note)
    _check_mean(trained, spec, splits.test, scale)
    return Pictures(spec=spec, splits=splits, scale=scale, scaled=scaling.said, trains=data.has_train(spec))


def _compute_scale(
    trained: Trained, scaling: Scaling, asked: DataSpec | None, spec: DataSpec, splits: Splits, note: Note
) -> Scale:
    """Computes the scale. `spec` and `splits` are those of the pictures to show."""
    run = trained.run
    if isinstance(scaling.normalize, tuple):
        if not scaling.own:  # a stored run has the numbers that it was trained with
            data.check_numbers(scaling.normalize, trained.channels)
        return scale_of(splits.test, scaling.normalize)
    if scaling.own and run is not None and asked is not None:
        return scale_of(data.load(_find_own(trained, run, asked, note)).train, scaling.normalize)
    if not data.has_train(spec):
        raise RunError(
            f"data.root={spec.root}: has no folder train/, and the scale of {trained.label} is {scaling.said}; "
            "say data.normalize=[means...,deviations...], or as=NAME"
        )
    return scale_of(splits.train, scaling.normalize)


def _find_own(trained: Trained, run: RunSpec, asked: DataSpec | None, note: Note) -> DataSpec:
    """Finds the data of a run by its content, else decodes it again into the user's own cache and checks the content.

    Looks where the pictures asked for lie, too: they may be the run's own, which have moved. Fetches nothing that a
    stranger's run names, and makes no cache where it points. For a checkpoint that lies in no run folder it only looks
    for the pictures. Raises RunError, and DataError where they cannot be had.
    """
    if _is_here(run.data):
        return run.data
    if asked is not None and asked.root is not None and asked.name == run.data.name:
        moved = replace(run.data, root=asked.root)
        if _is_here(moved):
            return moved
        with suppress(DataError, SpecError):  # other pictures: then they are not the run's own
            if data.prepare(moved, note).content == run.data.content:
                return moved
    gone = RunError(
        f"{trained.label}: its scale is {_show(run.data.normalize)} of the pictures it was trained on, which are "
        "neither where they were nor among those named; say data.normalize=[means...,deviations...]"
    )
    if trained.folder is None:
        raise (
            gone
            if asked
            else RunError(
                f"{trained.label}: the pictures it was trained on are not here; say data={run.data.name} and where, by "
                "data.root=..."
            )
        )
    try:
        found = data.prepare(run.data, note, theirs=True).content
    except DataError:
        if asked is None:
            raise
        raise gone from None
    if found != run.data.content:
        raise RunError(f"{run.run}: the pictures under {run.data.root} are not those it was trained on")
    return run.data


def _is_here(spec: DataSpec) -> bool:
    """Whether the pictures are in the cache, every byte as it was."""
    try:
        data.check(spec)
    except DataError:
        return False
    return True


def _check_shape(trained: Trained, spec: DataSpec, images: Images) -> None:
    """Raises RunError where channels or the number of classes do not fit the net."""
    channels, classes = images.pixels.shape[1], len(images.classes)
    if (channels, classes) != (trained.channels, trained.classes):
        has, wants = f"{channels} channels, {classes} classes", f"{trained.channels} and {trained.classes}"
        raise RunError(f"data={spec.name}: {has}, where {trained.label} has {wants}; name other data")


def _check_mean(trained: Trained, spec: DataSpec, images: Images, scale: Scale) -> None:
    """Raises RunError where the mean image has another size than the pictures."""
    side = images.pixels.shape[-1]
    if scale.mean.shape[-1] not in (1, side):
        raise RunError(
            f"data={spec.name}: {side}x{side} pixels, where the mean image of {trained.label} has "
            f"{scale.mean.shape[-1]}; say data.normalize=channel, or bring them to that by data.size"
        )
