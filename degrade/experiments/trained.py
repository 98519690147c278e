"""Opens trained nets (a run, a checkpoint of ours, or anybody's state dict) and the pictures to measure them on."""

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
    label: str  # residual-A-20-s0 for runs of ours, else the file's name without suffix
    run: RunSpec | None  # None: not a run of ours, as far as we know
    folder: RunDir | None  # of the run, where the checkpoint lies in one
    iteration: int  # SGD steps done; 0 where unknown
    channels: int
    classes: int
    weights: str  # 16 hexadecimal digits of the SHA-256 of its parameters and BN statistics, names and values


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Pictures for one net: the splits of a dataset, and the scale to show them in."""

    spec: DataSpec
    splits: Splits
    scale: Scale

    def images(self, split: str) -> Images:
        """Picks train, test or val, after data.validation and the limits. Raises SpecError for a missing split."""
        found = {"train": self.splits.train, "test": self.splits.test, "val": self.splits.val}.get(split)
        if found is None:
            rule = "there are none; set data.validation" if split == "val" else "must be train, test or val"
            raise SpecError(f"--split={split}: {rule}")
        return found

    def resident(self, split: str, device: torch.device) -> Resident:
        """Puts the images of `split` on the device; they are scaled when they are taken. Raises as `images` does."""
        return Resident(self.images(split), self.scale, device)


def open_net(
    path: Path | str, *, results: Path = Path("results"), net: str | None = None, pad: str | None = None
) -> Trained:
    """Opens the net in a run folder, a checkpoint of ours, anybody's state dict (torch.save or safetensors), or the run
    under `results` whose name begins with `path`. Runs no code from a file.

    A state dict fits if its tensors have the order and shapes of a 6n+2 net of Sec. 4.2, whatever their names
    (degrade.nets.foreign.match). `net` (plain or residual) and `pad` say what tensors cannot say; they matter only for
    files of others. Raises RunError where there is no such file or run, or where its content does not fit; names it.
    """
    where = at_home(path)
    if not where.exists():
        if where.suffix in _SUFFIXES:
            raise RunError(f"{path}: no such file")
        where = find(str(path), results)[0].path
    return _open_folder(where) if where.is_dir() else _open_file(where, net, pad)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The nets a command is about: checkpoints, or all runs with a checkpoint in some results folders."""

    ckpts: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()  # results folders; names of runs are looked up in the first
    net: str | None = None  # of a foreign state_dict: plain or residual
    pad: str | None = None  # of a foreign state_dict with option A

    def open(self) -> list[Trained]:
        """Opens the nets. Raises RunError where there is nothing to open, or where a named net cannot be opened."""
        if self.ckpts:
            results = self.roots[0] if self.roots else Path("results")
            return [open_net(path, results=results, net=self.net, pad=self.pad) for path in self.ckpts]
        there = pick_furthest((folder, folder.read_standing()) for root in self.roots for folder in run_dirs(root))
        kept = [folder for folder, _ in there.values() if any(file.exists() for file in folder.checkpoints)]
        if missing := len(there) - len(kept):
            console.print(f"{missing} of {len(there)} runs have no checkpoint: left out")
        opened: list[Trained] = []
        for folder in kept:
            try:
                opened.append(open_net(folder.path))
            except RunError as error:  # a damaged run hides no other
                console.print(f"left out: {error}", style="red", soft_wrap=True)
        if not opened:
            where = ", ".join(map(str, self.roots))
            raise RunError(
                f"{where}: no run there has a checkpoint that opens; train with `degrade sweep`, or name one by --ckpt"
            )
        return opened


def _open_folder(folder: Path) -> Trained:
    """Opens the net of a run, from the newest whole checkpoint."""
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


def _open_file(file: Path, net: str | None = None, pad: str | None = None) -> Trained:
    """Opens the net in a file. A checkpoint of ours that does not name its run counts as anybody's state dict."""
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
    return _load(module, state["net"], spec=run.net, label=label, run=run, folder=own, iteration=state["iteration"])


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


def pictures(
    trained: Trained, asked: DataSpec | None = None, *, given_scale: bool = False, note: Note = data.quiet
) -> Pictures:
    """The pictures to measure a net on, and their scale.

    `asked` None: the pictures that a run of ours was trained on. Else the pictures asked for, scaled as the run's own
    training set was; with `given_scale` they are scaled as asked.normalize says, by their own training set. A net of
    others needs `asked`, and its pictures are always scaled by their own training set. `note` hears how far fetching
    and decoding has come. Raises RunError where the pictures do not fit the net, DataError where they cannot be had.
    """
    run = trained.run
    if asked is None and run is None:
        raise RunError(f"{trained.label}: trained on which pictures? say data=..., as in data=cifar10")
    spec = _find_own(trained, run, note) if run and not asked else data.prepare_once(asked or DataSpec(), note)
    splits = data.load(spec)
    if asked is None or run is None or given_scale:
        scale = scale_of(splits.train, spec.normalize)
    else:
        scale = scale_of(data.load(_find_own(trained, run, note)).train, run.data.normalize)
    _check_fit(trained, spec, splits.train, scale)
    return Pictures(spec=spec, splits=splits, scale=scale)


def _find_own(trained: Trained, run: RunSpec, note: Note) -> DataSpec:
    """Finds the data of a run by its content, else decodes it again into the user's own cache and checks the content.

    Fetches nothing that a stranger's run names, and makes no cache where it points. For a checkpoint that lies in no
    run folder it only looks for the pictures. Raises RunError, and DataError where they cannot be had.
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
    """Raises RunError where channels, classes or the mean image do not fit the net."""
    channels, side, classes = images.pixels.shape[1], images.pixels.shape[-1], len(images.classes)
    if (channels, classes) != (trained.channels, trained.classes):
        has, wants = f"{channels} channels, {classes} classes", f"{trained.channels} and {trained.classes}"
        raise RunError(f"data={spec.name}: {has}, where {trained.label} has {wants}; name other data")
    if scale.mean.shape[-1] not in (1, side):
        raise RunError(
            f"data={spec.name}: {side}x{side} pixels, where the mean image of {trained.label} has "
            f"{scale.mean.shape[-1]}; say data.normalize=channel, or bring them to that by data.size"
        )
