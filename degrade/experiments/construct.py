"""Makes the solution by construction, proves it on every image, and stores it as a run that can be trained on."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from degrade import data
from degrade.analysis.constructed import lengthen
from degrade.data.batches import Resident
from degrade.errors import RunError, SpecError
from degrade.experiments.trained import Trained, as_trained
from degrade.nets.deepen import deepen
from degrade.spec import RunSpec
from degrade.spec.rows import Point
from degrade.spec.run import OriginSpec
from degrade.store.files import at_home, write
from degrade.store.folder import RunDir
from degrade.store.results import make_root
from degrade.store.state import CONSTRUCTED
from degrade.train.checkpoint import pack, unpack
from degrade.train.environment import environment
from degrade.train.fit import Fit
from degrade.train.resume import progress


class Constructed(NamedTuple):
    """A constructed run, and how it compares with the net it copies over all its images."""

    run: RunSpec
    folder: RunDir
    images: int  # training, validation and test
    differ: int  # images of which the two nets predict different classes
    gap: float  # the largest difference between two outputs (logits)
    errors: dict[str, float]  # %, by split, before its first step
    known: bool  # whether it was there already; then nothing was written


def construct(
    source: Trained | Path | str,
    depth: int,
    root: Path | str,
    *,
    exact: bool = False,
    like: RunSpec | None = None,
    command: str = "",
) -> Constructed:
    """Stores a net of `depth` layers that copies `source` and adds identities (Sec. 1), as a run under `root`.

    `source`: opened, or as the path or name that `open_net` takes.
    `like`: a run with the recipe, data and seed to train it on with; None: the source's own. To train the stored run,
    call degrade.run([constructed.run], root). `exact`: added blocks are the identity to the bit under running
    statistics, rather than close to it in training mode too.

    Raises RunError for a net that is no run of ours, or if predictions differ on more than one image in a thousand (on
    any with `exact`); SpecError for a depth that is not above the source's.
    """
    source = as_trained(source)
    if source.run is None:
        raise RunError(f"{source.label}: is no run of degrade, so its data and recipe are not known; give a run")
    begun = like or source.run
    spec = replace(begun, net=replace(source.spec, depth=depth), origin=_origin_of(source, exact=exact))
    splits = data.load(spec.data)
    fit = Fit(spec, splits)
    deeper, images, differ, gap = _prove(source, fit, exact=exact)
    folder = RunDir(at_home(root), spec.run)
    about = environment(fit.device, command, classes=splits.train.classes, kernels=fit.here.kernels)
    known = not _store(folder, fit, deeper, about)
    start = unpack(folder.kept(0).read_bytes())["points"]
    errors = {point.split: point.error for point in (Point(*values) for values in start)}
    return Constructed(spec, folder, images, differ, gap, errors, known)


def derive_run(source: Trained, change: Callable[[RunSpec], RunSpec]) -> RunSpec:
    """Derives the run of a copy: what `change` makes of the source's run.

    Raises RunError for a net that lies in no run folder, SpecError where more than depth and training differs.
    """
    if source.run is None or source.folder is None:
        raise RunError(f"{source.label}: is no run folder of degrade, so its data and recipe are not known; give a run")
    begun = change(source.run)
    same = replace(begun.net, depth=source.spec.depth)
    for part, old, new in (("", source.spec, same), ("recipe.", source.run.recipe, begun.recipe)):
        for key in (each.name for each in fields(old) if part == "" or each.name == "norm"):
            if getattr(old, key) != getattr(new, key):
                rule = f"a copy has that of {source.label}; only its depth can differ"
                raise SpecError(f"{part}{key}={getattr(new, key)}: {rule}")
    if begun.net.depth == source.spec.depth:
        raise SpecError(f"depth={source.spec.depth}: the net has it already; say a greater one, as in depth=56")
    return begun


def list_controls(sources: Sequence[Trained], likes: Sequence[RunSpec]) -> list[RunSpec]:
    """Lists the controls of copies (analysis.constructed.lengthen), each once. `likes` as for `construct`."""
    found: dict[str, RunSpec] = {}
    for source, like in zip(sources, likes, strict=True):
        assert source.run is not None  # derive_run has seen to it
        control = lengthen(replace(like, origin=_origin_of(source, exact=False)), {source.run.run: source.run})
        found.setdefault(control.run, control)
    return list(found.values())


def find_root(sources: Sequence[Trained]) -> Path:
    """Finds the results folder in which all of them lie. Raises RunError where there are several."""
    roots = {source.folder.root for source in sources if source.folder}
    if len(roots) != 1:
        raise RunError("--ckpt: the runs lie in different results folders; call the command once for each")
    return roots.pop()


def _origin_of(source: Trained, *, exact: bool) -> OriginSpec:
    assert source.run is not None
    return OriginSpec(
        run=source.run.run,
        group=source.run.group,
        depth=source.spec.depth,
        iteration=source.iteration,
        weights=source.weights,
        how="exact" if exact else "matched",
    )


def _prove(source: Trained, fit: Fit, *, exact: bool) -> tuple[nn.Module, int, int, float]:
    """Makes the deeper net on the device of `fit`, and compares it with the source over all images.

    Returns the net and what `_compare_outputs` returns. Raises RunError where they do not agree, or where the source
    has diverged.
    """
    spec, net = fit.spec, copy.deepcopy(source.net).to(fit.device).to(memory_format=torch.channels_last)
    deeper = deepen(
        net,
        source.spec,
        spec.net.depth,
        lambda: _read_inputs(fit.train),
        exact=exact,
        seed=spec.seed,
        norm=spec.recipe.norm,
        bn_group=spec.recipe.bn_group,
    ).to(fit.device)
    deeper = deeper.to(memory_format=torch.channels_last)
    try:
        images, differ, gap = _compare_outputs(net, deeper, [part for part in (fit.train, fit.val, fit.test) if part])
    except RunError as error:
        raise RunError(f"{source.label}: {error}") from None
    if differ > (0 if exact else images // 1000):
        raise RunError(
            f"depth={spec.net.depth}: {differ} of {images:,} predictions differ from {source.label}'s; nothing stored"
        )
    return deeper, images, differ, gap


def _read_inputs(images: Resident) -> Iterator[Tensor]:
    """All images without augmentation, x (N, C, H, W), channels last, which is faster."""
    return (x.contiguous(memory_format=torch.channels_last) for x, _ in images.in_order())


def _compare_outputs(one: nn.Module, other: nn.Module, splits: list[Resident]) -> tuple[int, int, float]:
    """Compares two nets: (images, images with other predicted classes, the largest difference between two logits).

    Raises RunError where the outputs of the first net are not finite.
    """
    images, differ, gap = 0, 0, 0.0
    with torch.inference_mode():
        for x in (x for split in splits for x in _read_inputs(split)):
            first, second = one(x), other(x)
            if not first.isfinite().all():
                raise RunError("its outputs are not finite: it has diverged, and there is nothing to copy")
            images += len(x)
            differ += int((first.argmax(1) != second.argmax(1)).sum())
            gap = max(gap, float((first - second).abs().max()))
    return images, differ, gap


def _store(folder: RunDir, fit: Fit, net: nn.Module, about: Mapping[str, Any]) -> bool:
    """Writes the run with its first checkpoint and the points of iteration 0. False where it is there already.

    Raises RunError where another process holds it.
    """
    make_root(folder.root)
    with folder.claimed() as mine:
        if not mine:
            raise RunError(f"{folder.path}: another process is training it; wait for its end")
        if folder.kept(0).exists():
            return False
        folder.begin(fit.spec, about)
        fit.begin_from(net.state_dict())
        folder.write_curve(fit.spec, fit.points)
        write(folder.kept(0), pack(fit.state()))
        folder.write_state(progress(fit, CONSTRUCTED, outcome="", reason=""))
        return True
