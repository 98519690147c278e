"""Reads the net in a file: a checkpoint of ours, or anybody's state dict with what somebody says of it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from degrade import nets
from degrade.errors import RunError, SpecError
from degrade.experiments.hints import NO_HINTS, Hints
from degrade.experiments.known import KNOWN
from degrade.experiments.measured import Measured, Measuring, settle_on
from degrade.nets import foreign, statedict
from degrade.nets.choice import Choice, choose
from degrade.nets.settle import AGREES, Settled
from degrade.spec import NetSpec, RunSpec, parse
from degrade.spec.rules import LIMIT
from degrade.store import seal
from degrade.store.folder import RunDir
from degrade.train.checkpoint import unpack
from degrade.train.fit import CHECKPOINT_FORMAT

CHECKPOINT_KEYS = {
    "format": int,
    "run": str,
    "iteration": int,
    "net": dict,
    "momentum": dict,
}  # in every state of a Fit


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A trained net, from a run of ours or from anybody's state dict."""

    net: nn.Module  # on the CPU, in evaluation mode; (N, channels, H, W) float32 -> (N, classes) logits
    spec: NetSpec
    label: str  # residual-A-20-s0 for runs of ours, else the file's name without suffix
    run: RunSpec | None  # None: not a run of ours, as far as we know
    folder: RunDir | None  # of the run, where the checkpoint lies in one
    iteration: int  # SGD steps done; 0 where unknown
    channels: int
    classes: int
    weights: str  # 16 hexadecimal digits of the SHA-256 of its parameters and BN statistics, names and values
    source: Path | None = None  # the file
    hints: Hints = NO_HINTS  # what was said of it
    assumed: tuple[str, ...] = ()  # what no tensor tells, and where it is from: "pad=split (said)"
    measured: str | tuple[float, ...] | None = None  # the scale in which its BN statistics agree with pictures
    names: tuple[str, ...] | None = None  # of its classes, in the order of its outputs; None where they are not stored


class Told(NamedTuple):
    """What is said of a net of others."""

    own: Hints = NO_HINTS  # beside its name: this must be so
    default: Hints = (
        Hints()
    )  # for all nets of a command: where the tensors do not tell, and nothing is said beside them

    measuring: Measuring | None = None  # the pictures of a command: on these it is measured what stays open

    @property
    def hints(self) -> Hints:
        return self.own.over(self.default)


def open_folder(folder: Path, told: Told) -> Trained:
    """Opens the net of a run, from the newest whole checkpoint. Raises RunError."""
    if not (folder / "spec.json").exists():
        raise RunError(f"{folder}: no run (there is no spec.json in it); name the folder of a run, or a file")
    reasons: list[str] = []
    for file in (file for file in RunDir(folder.parent.parent, folder.name).checkpoints if file.exists()):
        try:
            return open_file(file, told)
        except RunError as error:
            reasons.append(str(error))
    missing = f"{folder}: no checkpoint in it; `degrade rerun {folder}` trains a finished run once more"
    raise RunError("; ".join(reasons) or missing)


def open_file(file: Path, told: Told) -> Trained:
    """Opens the net in a file. A checkpoint of ours that does not name its run counts as anybody's state dict.

    Raises RunError.
    """
    try:
        content = _read_contents(file)
        ours = isinstance(content, dict) and all(
            isinstance(content.get(key), kind) for key, kind in CHECKPOINT_KEYS.items()
        )
        if ours and not (type(content["iteration"]) is int and 0 <= content["iteration"] < LIMIT):
            raise RunError(f"its iteration cannot be {content['iteration']}")
        run = _identify_run(file, content) if ours else None
        if run is not None:
            made = _open_checkpoint(file.resolve().parent, content, run)
            _check_said(made, told.own)
            hints = Hints(normalize=told.hints.normalize, classes=told.hints.classes)
            return replace(made, source=file, hints=hints)
        made = _open_foreign(content["net"] if ours else content, Path(file.name.removesuffix(".tar")).stem, told)
        return replace(made, source=file, iteration=content["iteration"] if ours else 0)
    except RunError as error:
        raise RunError(f"{file}: {error}") from None


def _read_contents(file: Path) -> Any:
    """Reads tensors and plain values from a file. A checkpoint of ours ends in its checksum, which must be right.

    A file in a run folder must be a checkpoint of ours: otherwise it is damaged.
    """
    if not file.is_file():  # a device has no end
        raise RunError("is no file")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror or error})") from None
    ours = seal.ends_sealed(content) or (file.parent / "spec.json").exists()
    return unpack(content) if ours else statedict.read(content)


def _identify_run(file: Path, state: Mapping[str, Any]) -> RunSpec | None:
    """Identifies the run of a checkpoint of ours, by its own spec or its folder's; None where neither has one."""
    if state["format"] != CHECKPOINT_FORMAT:
        raise RunError(f"of another degrade (format {state['format']}); update degrade to open it")
    tree = state.get("spec") or RunDir(file.parent, "").read(file.parent / "spec.json").get("spec")
    try:
        run = parse(tree) if isinstance(tree, dict) else None
    except SpecError as error:
        raise RunError(f"its spec is not one that this degrade knows ({error})") from None
    if run is not None and run.run != state["run"]:
        raise RunError(f"the checkpoint of {state['run']!r}, but the spec with it is of {run.run}; keep them apart")
    return run


def _open_checkpoint(folder: Path, state: Mapping[str, Any], run: RunSpec) -> Trained:
    """Opens a checkpoint of ours whose run is known. Raises RunError where its tensors do not fit the run."""
    tensors = list(statedict.tensors_of(state["net"]).values())
    kernels, matrices = ([tensor for tensor in tensors if tensor.ndim == ndim] for ndim in (4, 2))
    if not kernels or not matrices or len(tensors) < run.net.depth or len(kernels[0]) != run.net.width:
        raise RunError(f"holds {len(tensors)} tensors, which are not those of {run.name}, as it says")
    norm, channels, classes = run.recipe.norm, kernels[0].shape[1], matrices[-1].shape[0]
    asked = sum(p.numel() for p in nets.sketch(run.net, channels, classes).parameters())
    if asked > 10 * sum(
        tensor.numel() for tensor in tensors
    ):  # checked before we take memory for what a file only claims
        raise RunError(f"holds tensors of too few numbers for the {asked:,} parameters of {run.name}, as it says")
    module = nets.build(run.net, channels=channels, classes=classes, norm=norm, bn_group=run.recipe.bn_group)
    place = RunDir(folder.parent.parent, folder.name)
    label, own = f"{run.name}-s{run.seed}", place if place.path == folder else None
    made = _load(module, state["net"], spec=run.net, label=label, run=run, folder=own, iteration=state["iteration"])
    names = _read_names(own)
    return replace(made, names=names if names and len(names) == classes else None)


def _open_foreign(content: Any, label: str, told: Told) -> Trained:
    """Opens anybody's state dict. What somebody says beside the file must be so; defaults fill in what is open."""
    hints = told.hints
    choice = choose(content, hints.key)
    measured = _match(statedict.tensors_of(content, hints.key), told, statedict.count_batches(content, hints.key))
    found = measured.settled.reading
    module = nets.build(found.spec, channels=found.channels, classes=found.classes)
    made = _load(module, found.state, spec=found.spec, label=label, run=None, folder=None, iteration=0)
    assumed = tuple(_list_assumed(measured.settled, hints, choice))
    hints = replace(hints, pad=hints.pad if found.spec.shortcut == "A" else None)
    made = replace(made, hints=hints, assumed=assumed, measured=measured.normalize)
    if hints.known is None:
        return made
    about = KNOWN[hints.known]
    if found.classes not in about.normalize:
        there = " or ".join(map(str, about.normalize))
        raise RunError(f"as={hints.known}: its nets have {there} classes, and this one {found.classes}; say others")
    return replace(made, names=about.names(found.classes))


def _match(tensors: Mapping[str, Tensor], told: Told, batches: int | None) -> Measured:
    """Finds the net of a state dict. Raises RunError where tensors, hints and pictures leave open which one it is."""
    hints, own = told.hints, told.own.over(NO_HINTS)
    found = foreign.readings(tensors, own.net, own.pad, hints.eps)
    if hints.net is not None:
        found = [each for each in found if each.spec.net == hints.net] or found  # a default gives way to tensors
    if hints.pad is not None:
        found = [each for each in found if each.spec.pad == hints.pad or each.spec.shortcut != "A"] or found
    try:
        return settle_on(found, told.measuring, hints, batches)
    except RunError as error:
        more = "; of this file alone by FILE:net=...,pad=..., or whose net it is by as=NAME"
        raise RunError(f"{error}{more if 'say --' in str(error) else ''}") from None


def _list_assumed(settled: Settled, hints: Hints, choice: Choice) -> Iterator[str]:
    """What no tensor tells of a net, and whether somebody said it or it was measured."""
    found, by = settled.reading, f"as={hints.known}" if hints.known else "said"
    if choice.unusual or hints.key is not None:
        yield f"key={choice.key} ({'the only net of the file' if hints.key is None else 'said'})"
    if found.spec.shortcut in ("A", "none"):
        yield f"{found.spec.net} net ({by if hints.net else 'measured'})"
    if found.spec.shortcut == "A":
        yield f"pad={found.spec.pad} ({by if hints.pad else 'measured'})"
    eps = "measured" if settled.eps_measured else "assumed" if hints.eps is None else by
    yield f"batch norm's epsilon {found.eps:g} ({eps})"
    yield f"stride in the first layer of a stage ({'assumed' if settled.distance is None else 'measured'})"
    if settled.distance is None and not found.placed:
        yield "BN after each convolution (assumed)"
    if settled.distance is not None:
        poor = "poorly " if settled.distance > AGREES else ""
        yield f"its BN statistics agree {poor}with the pictures (distance {settled.distance:.2f})"
    if found.by_file:
        yield "layers in the order of the file (assumed)"


def _check_said(made: Trained, own: Hints) -> None:
    """Raises SpecError where hints beside a run of ours contradict the run, or mean nothing there."""
    it = f"this is the run {made.label}"
    for name, value in (("as", own.known), ("key", own.key)):
        if value is not None:
            raise SpecError(f"{name}={value}: {it}, and nobody else's file; leave it out")
    for name, value, has in (
        ("net", own.net, made.spec.net),
        ("pad", own.pad, made.spec.pad),
        ("eps", own.eps, foreign.EPS),
    ):
        if value is not None and value != has:
            raise SpecError(f"{name}={value}: {it}, which has {name}={has}; leave it out")


def _read_names(folder: RunDir | None) -> tuple[str, ...] | None:
    """The names of a run's classes, from its environment; None where it has none, or where they cannot be read."""
    try:
        known = folder.read(folder.environment) if folder else {}
    except RunError:
        return None
    resumed = known.get("resumed")
    for said in [known, *(resumed if isinstance(resumed, list) else [])]:
        names = said.get("classes") if isinstance(said, dict) else None
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _load(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    spec: NetSpec,
    label: str,
    run: RunSpec | None,
    folder: RunDir | None,
    iteration: int,
) -> Trained:
    """Loads the tensors of `state` into `module`. Raises RunError where they do not fit."""
    wanted = module.state_dict()
    given = {**wanted, **state} if run is None else state  # a file of others may lack BN's counts
    for name in {**wanted, **given}:
        have = given.get(name)
        if name not in wanted or not isinstance(have, Tensor) or have.shape != wanted[name].shape:
            raise RunError(f"{name}: not of the shape it has in {label}, which this says it is")
    module.load_state_dict(given)
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    classes = [layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    return Trained(
        net=module.eval(),
        spec=spec,
        label=label,
        run=run,
        folder=folder,
        iteration=iteration,
        channels=convs[0].in_channels,
        classes=classes,
        weights=fingerprint_weights(module),
    )


def fingerprint_weights(net: nn.Module) -> str:
    """16 hexadecimal digits of the SHA-256 of all that a net computes with, so without BN's count of batches."""
    total = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            total.update(repr((name, tuple(tensor.shape))).encode())
            total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]
