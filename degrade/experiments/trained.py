"""Trained nets from anywhere: a run, a checkpoint of ours, or anybody's state dict; and pictures to measure them on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from degrade import data, nets
from degrade.data.batches import Resident, Scale, scale_of
from degrade.data.images import Images, Note, Splits
from degrade.errors import DataError, RunError, SpecError
from degrade.nets import foreign, statedict
from degrade.spec import DataSpec, NetSpec, RunSpec, parse
from degrade.spec.rules import LIMIT
from degrade.store import seal
from degrade.store.files import at_home
from degrade.store.folder import RunDir
from degrade.store.results import find, pick_furthest, run_dirs
from degrade.train.checkpoint import unpack
from degrade.train.fit import CHECKPOINT_FORMAT
from degrade.views.terminal import console

_SUFFIXES = (".pt", ".pth", ".th", ".safetensors")
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
    label: str  # residual-A-20-s0 for runs of ours, else the file's name without its end
    run: RunSpec | None  # None: not known to be a run of ours
    folder: RunDir | None  # of the run, where the checkpoint lies in one
    iteration: int  # SGD steps done; 0 where unknown
    channels: int
    classes: int
    weights: str  # 16 hexadecimal digits of the SHA-256 of its parameters and BN statistics, names and values


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Pictures for one net: the splits of a dataset, and the scale that the net was trained with."""

    spec: DataSpec
    splits: Splits
    scale: Scale

    def images(self, split: str) -> Images:
        """train, test or val, after data.validation and the limits. Raises SpecError where there is no such split."""
        found = {"train": self.splits.train, "test": self.splits.test, "val": self.splits.val}.get(split)
        if found is None:
            rule = "there are none; set data.validation" if split == "val" else "must be train, test or val"
            raise SpecError(f"--split={split}: {rule}")
        return found

    def resident(self, split: str, device: torch.device) -> Resident:
        """The images of `split` on the device, to be scaled when they are taken. Raises as `images` does."""
        return Resident(self.images(split), self.scale, device)


def open_net(
    path: Path | str, *, results: Path = Path("results"), net: str | None = None, pad: str = "after"
) -> Trained:
    """The net in a run folder, a checkpoint of ours, anybody's state dict (torch.save or safetensors), or the run
    under `results` whose name begins so. Nothing in a file is run.

    A state dict fits if its tensors are, in order and shape, those of a 6n+2 net of Sec. 4.2, whatever their names
    (degrade.nets.foreign.match); `net` (plain or residual) and `pad` say what tensors cannot, and count for files of
    others alone. Raises RunError where there is no such file or run, or where what is in it does not fit: it is named.
    """
    where = at_home(path)
    if not where.exists():
        if where.suffix in _SUFFIXES:
            raise RunError(f"{path}: no such file")
        where = find(str(path), results)[0].path
    return _open_folder(where) if where.is_dir() else _open_file(where, net, pad)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Which nets a command is about: checkpoints, or all runs of results folders that have one."""

    ckpts: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()  # results folders; names of runs are looked up in the first of them
    net: str | None = None  # of a foreign state_dict: plain or residual
    pad: str = "after"  # of a foreign state_dict with option A

    def open(self) -> list[Trained]:
        """Raises RunError where there is nothing to open, or a net cannot be."""
        if self.ckpts:
            known = {"results": self.roots[0]} if self.roots else {}
            return [open_net(path, net=self.net, pad=self.pad, **known) for path in self.ckpts]
        there = pick_furthest((folder, folder.read_standing()) for root in self.roots for folder in run_dirs(root))
        kept = [folder for folder, _ in there.values() if any(file.exists() for file in folder.checkpoints)]
        if missing := len(there) - len(kept):
            console.print(f"{missing} of {len(there)} runs have no checkpoint: left out")
        opened: list[Trained] = []
        for folder in kept:
            try:
                opened.append(open_net(folder.path))
            except RunError as error:  # one that is damaged hides no other
                console.print(f"left out: {error}", style="red", soft_wrap=True)
        if not opened:
            where = ", ".join(map(str, self.roots))
            raise RunError(
                f"{where}: no run there has a checkpoint that opens; train with `degrade sweep`, or name one by --ckpt"
            )
        return opened


def _open_folder(folder: Path) -> Trained:
    """The net of a run, from the newest of its checkpoints that is whole."""
    if not (folder / "spec.json").exists():
        raise RunError(f"{folder}: no run (there is no spec.json in it); name the folder of a run, or a file")
    reasons: list[str] = []
    for file in (file for file in RunDir(folder.parent.parent, folder.name).checkpoints if file.exists()):
        try:
            return _open_file(file)
        except RunError as error:
            reasons.append(str(error))
    missing = f"{folder}: no checkpoint in it; `degrade rerun {folder}` trains a finished run once more"
    raise RunError("; ".join(reasons) or missing)


def _open_file(file: Path, net: str | None = None, pad: str = "after") -> Trained:
    """The net in a file. A checkpoint of ours that does not know what it is of is taken as anybody's."""
    try:
        content = _read_contents(file)
        ours = isinstance(content, dict) and all(
            isinstance(content.get(key), kind) for key, kind in CHECKPOINT_KEYS.items()
        )
        if ours and not (type(content["iteration"]) is int and 0 <= content["iteration"] < LIMIT):
            raise RunError(f"its iteration cannot be {content['iteration']}")
        run = _identify_run(file, content) if ours else None
        if run is not None:
            return _open_checkpoint(file.resolve().parent, content, run)
        found = foreign.match(statedict.tensors_of(content["net"] if ours else content), net, pad)
        module = nets.build(found.spec, channels=found.channels, classes=found.classes)
        done = content["iteration"] if ours else 0
        return _load(module, found.state, spec=found.spec, label=file.stem, run=None, folder=None, iteration=done)
    except RunError as error:
        raise RunError(f"{file}: {error}") from None


def _read_contents(file: Path) -> Any:
    """Tensors and plain values in a file; of a checkpoint of ours, which ends in its checksum, if that is right.

    A file in a run folder must be one of ours: otherwise it is damaged.
    """
    if not file.is_file():  # of a device there is no end
        raise RunError("is no file")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror or error})") from None
    ours = seal.ends_sealed(content) or (file.parent / "spec.json").exists()
    return unpack(content) if ours else statedict.read(content, safe=file.suffix == ".safetensors")


def _identify_run(file: Path, state: Mapping[str, Any]) -> RunSpec | None:
    """What run a checkpoint of ours is of: as it says itself, or the folder it lies in; None where neither does."""
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
    tensors = list(statedict.tensors_of(state["net"]).values())
    kernels, matrices = ([tensor for tensor in tensors if tensor.ndim == ndim] for ndim in (4, 2))
    if not kernels or not matrices or len(tensors) < run.net.depth or len(kernels[0]) != run.net.width:
        raise RunError(f"holds {len(tensors)} tensors, which are not those of {run.name}, as it says")
    norm, channels, classes = run.recipe.norm, kernels[0].shape[1], matrices[-1].shape[0]
    asked = sum(p.numel() for p in nets.sketch(run.net, channels, classes).parameters())
    if asked > 10 * sum(tensor.numel() for tensor in tensors):  # before there is memory for what a file only claims
        raise RunError(f"holds tensors of too few numbers for the {asked:,} parameters of {run.name}, as it says")
    module = nets.build(run.net, channels=channels, classes=classes, norm=norm, bn_group=run.recipe.bn_group)
    place = RunDir(folder.parent.parent, folder.name)
    known: dict[str, Any] = {"label": f"{run.name}-s{run.seed}", "run": run, "iteration": state["iteration"]}
    return _load(module, state["net"], spec=run.net, folder=place if place.path == folder else None, **known)


def _load(module: nn.Module, state: Mapping[str, Tensor], **known: Any) -> Trained:
    """`module` with the tensors of `state`, and what follows from them. Raises RunError where they do not fit."""
    wanted = module.state_dict()
    given = {**wanted, **state} if known["run"] is None else state  # BN's counts are nobody's business
    for name in {**wanted, **given}:
        have = given.get(name)
        if name not in wanted or not isinstance(have, Tensor) or have.shape != wanted[name].shape:
            raise RunError(f"{name}: not of the shape it has in {known['label']}, which this says it is")
    module.load_state_dict(given)
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    classes = [layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    return Trained(
        net=module.eval(),
        channels=convs[0].in_channels,
        classes=classes,
        weights=fingerprint_weights(module),
        **known,
    )


def fingerprint_weights(net: nn.Module) -> str:
    """16 hexadecimal digits of the SHA-256 of all that a net computes with: BN's count of batches is left out."""
    total = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            total.update(repr((name, tuple(tensor.shape))).encode())
            total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def pictures(
    trained: Trained, asked: DataSpec | None = None, *, given_scale: bool = False, note: Note = data.quiet
) -> Pictures:
    """The pictures to measure a net on, and their scale.

    `asked` None: those a run of ours was trained on. Else those asked for, scaled as the run's own training set was;
    with `given_scale` as asked.normalize says, by their own training set. For a net of others that is always so, and
    `asked` is needed. `note` hears how far fetching and decoding has come.
    Raises RunError where they do not fit the net, DataError where they are not to be had.
    """
    run = trained.run
    if asked is None and run is None:
        raise RunError(f"{trained.label}: trained on which pictures? say data=..., as in data=cifar10")
    spec = (
        _find_own_data(trained, run, note)
        if asked is None and run is not None
        else data.prepare_once(asked or DataSpec(), note)
    )
    splits = data.load(spec)
    if asked is None or run is None or given_scale:
        scale = scale_of(splits.train, spec.normalize)
    else:
        scale = scale_of(data.load(_find_own_data(trained, run, note)).train, run.data.normalize)
    _check_fit(trained, spec, splits.train, scale)
    return Pictures(spec=spec, splits=splits, scale=scale)


def _find_own_data(trained: Trained, run: RunSpec, note: Note) -> DataSpec:
    """The data of a run: found by its content, else decoded again into the user's own cache, which must give the same.

    What a stranger's run names is not fetched, nor is a cache made where it points; for a checkpoint that lies in no
    run folder the pictures are only looked for. Raises RunError, and DataError where they are not to be had.
    """
    try:
        data.load(run.data)
    except DataError:
        if trained.folder is None:
            raise RunError(
                f"{trained.label}: the pictures it was trained on are not here; say data={run.data.name} and where, by "
                "data.root=..., with data.normalize= as it was trained"
            ) from None
        if data.prepare(run.data, note, theirs=True).content != run.data.content:
            raise RunError(f"{run.run}: the pictures under {run.data.root} are not those it was trained on") from None
    return run.data


def _check_fit(trained: Trained, spec: DataSpec, images: Images, scale: Scale) -> None:
    """Raises RunError where channels, classes or the mean image are not of the net's kind."""
    channels, side, classes = images.pixels.shape[1], images.pixels.shape[-1], len(images.classes)
    if (channels, classes) != (trained.channels, trained.classes):
        has, wants = f"{channels} channels, {classes} classes", f"{trained.channels} and {trained.classes}"
        raise RunError(f"data={spec.name}: {has}, where {trained.label} has {wants}; name other data")
    if scale.mean.shape[-1] not in (1, side):
        raise RunError(
            f"data={spec.name}: {side}x{side} pixels, where the mean image of {trained.label} has "
            f"{scale.mean.shape[-1]}; say data.normalize=channel, or bring them to that by data.size"
        )
