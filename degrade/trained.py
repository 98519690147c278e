"""Trained nets from wherever they lie: a run folder, a checkpoint of ours, anybody's state_dict. No file runs code."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from degrade import nets
from degrade.errors import RunError
from degrade.nets.foreign import Match, match
from degrade.spec import NetSpec, RunSpec, parse
from degrade.store import RunDir, find
from degrade.train.checkpoint import unpack

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params", "weights")  # keys people keep weights under
REFUSED = "holds more than tensors, which could run code, and is not loaded; save the net's state_dict() alone"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A trained net."""

    net: nn.Module  # in evaluation mode, on the CPU at first; this object's own
    spec: NetSpec
    label: str  # residual-A-20-s0 for runs of ours, else the file's name without its ending
    run: RunSpec | None = None  # None: not a run of ours
    folder: RunDir | None = None  # where that run lies, if it does
    iteration: int = 0  # SGD steps done, as far as known
    channels: int = 3
    classes: int = 10

    @property
    def weights(self) -> str:
        """16 hexadecimal digits of the SHA-256 of names and values of all weights and statistics."""
        total = hashlib.sha256()
        for name, value in self.net.state_dict().items():
            total.update(name.encode())
            total.update(value.detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()[:16]


def open_net(
    path: Path | str, *, results: Path = Path("results"), net: str | None = None, pad: str = "after"
) -> Trained:
    """The net in a run folder, a checkpoint or a state_dict; or of the run under `results` whose name begins so.

    A state_dict (.pt, .pth, .th, .safetensors) is matched by the order and shapes of its tensors: depth, width, classes
    and options B and C follow from them; `net` says whether one without projections is plain or residual, `pad` where
    its option A puts the zeros (after | split). Nothing in a file is ever run.

    Raises RunError for what is not there, cannot be read, would run code, or does not fit; the first misfit is named.
    """
    where = Path(path).expanduser()
    if where.is_file():
        return of_file(where, net, pad)
    if where.is_dir() and not (where / "spec.json").exists():
        raise RunError(f"{where}: is no run folder, it has no spec.json; name one of the folders in runs/")
    if not where.is_dir() and where.suffix:
        raise RunError(f"{where}: there is no such file; name a checkpoint, or a run folder")
    folder = (
        RunDir(where.resolve().parent.parent, where.resolve().name) if where.is_dir() else find(str(path), results)[0]
    )
    return of_run(folder)


def of_run(folder: RunDir) -> Trained:
    """The net at the newest good checkpoint of a run."""
    spec = folder.read_spec()
    tried: list[str] = []
    for file in folder.checkpoints:
        if file.exists():
            try:
                return restored(spec, unpack(file.read_bytes()), folder)
            except RunError as error:
                tried.append(f"{file}: {error}")
    again = "; ".join(tried) or f"{folder.path}: has no checkpoint"
    raise RunError(f"{again}; `degrade rerun {folder.run}` trains it again, beside it")


def restored(spec: RunSpec, state: Mapping[str, Any], folder: RunDir | None) -> Trained:
    """A net of ours from the state of its training. Raises RunError where the state is another run's."""
    if state["run"] != spec.run:
        raise RunError(f"is of {state['run']}, not of {spec.run}")
    weights: dict[str, Tensor] = state["net"]
    channels, classes = weights["stem.0.weight"].shape[1], len(weights["head.bias"])
    recipe: dict[str, Any] = {"norm": spec.recipe.norm, "bn_group": spec.recipe.bn_group}
    net = nets.build(spec.net, channels=channels, classes=classes, **recipe)
    net.load_state_dict(weights)
    return Trained(
        net=net.eval(),
        spec=spec.net,
        label=f"{spec.name}-s{spec.seed}",
        run=spec,
        folder=folder,
        iteration=state["iteration"],
        channels=channels,
        classes=classes,
    )


def of_file(path: Path, net: str | None, pad: str) -> Trained:
    """The net in one file: of ours if its training state says so, else whoever's."""
    content = read(path)
    if "run" in content and "iteration" in content:
        beside = RunDir(path.resolve().parent.parent.parent, path.resolve().parent.name)
        if beside.spec.exists() and beside.read_spec().run == content["run"]:
            return restored(beside.read_spec(), content, beside)
        if "spec" in content:
            return restored(parse(content["spec"]), content, None)
    try:
        found = match(unwrapped(content), net=net, pad=pad)
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    return matched(path.stem, found)


def matched(label: str, found: Match) -> Trained:
    net = nets.build(found.spec, channels=found.channels, classes=found.classes)
    net.load_state_dict(found.state)
    return Trained(net=net.eval(), spec=found.spec, label=label, channels=found.channels, classes=found.classes)


def read(path: Path) -> dict[str, Any]:
    """What is in a file, as tensors and plain values. Raises RunError for what cannot be read or would run code."""
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        unsafe = "WeightsUnpickler" in str(error) or "Unsupported" in str(error) or "weights_only" in str(error)
        raise RunError(f"{path}: {REFUSED if unsafe else 'is no checkpoint, or damaged'}") from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: cannot be read as a checkpoint ({said})") from None
    if not isinstance(content, Mapping):
        raise RunError(f"{path}: holds a {type(content).__name__}, not a state_dict; save the net's state_dict()")
    return dict(content)


def unwrapped(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state_dict, which may be wrapped in others. Raises RunError where there are none."""
    for key in WRAPPERS:
        if isinstance(inner := content.get(key), Mapping):
            return unwrapped(inner)
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, content)) or "nothing"
        raise RunError(f"has no tensors; it holds {keys}; save the net's state_dict()")
    return tensors
