"""A trained net for people without `degrade`: its tensors, what it is, and a program that plain PyTorch runs."""

import json
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from degrade.data.batches import Scale
from degrade.experiments.checkpoints import fingerprint_weights
from degrade.experiments.trained import Pictures, Trained, name_file
from degrade.nets import statedict
from degrade.spec.escape import markdown
from degrade.store import files, parquet
from degrade.store.parquet import CURVES
from degrade.store.share import share_spec

WEIGHTS, CONFIG, PROGRAM, CARD = "model.safetensors", "config.json", "model.pt2", "README.md"


class Scaled(nn.Module):
    """A net that scales its pictures itself: (N, channels, H, W) float32 from 0 to 1 -> (N, classes) logits."""

    mean: Tensor  # (channels, H, W), or (channels, 1, 1)
    deviation: Tensor | None  # (channels, 1, 1); None: no division

    def __init__(self, net: nn.Module, scale: Scale) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", scale.mean.clone())
        self.register_buffer("deviation", None if scale.deviation is None else scale.deviation.clone())

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures - self.mean
        return self.net(x if self.deviation is None else x / self.deviation)


class Bundle(NamedTuple):
    """Where a net was written to, and its size in bytes."""

    folder: Path
    size: int


def write_net(trained: Trained, shown: Pictures, out: Path) -> Bundle:
    """Writes a net and the scale of `shown` to a folder of its own under `out`.

    model.safetensors holds every tensor, the mean image among them; model.pt2 the same net as a program of torch.export
    for any number of pictures; config.json what it is; README.md a card with the two lines that load it. No file names
    a place of this machine. Raises OSError where a file cannot be written.
    """
    net = Scaled(trained.net, shown.scale).eval()
    folder = files.inside(out, name_file([trained]) if trained.run is None else trained.run.run)
    images = shown.images("test")
    config = _configure(trained, shown, images.classes, images.pixels.shape[1:])
    files.make_folder(folder)
    content = {
        WEIGHTS: statedict.render(net.state_dict(), {"format": "pt", "degrade": version("degrade")}),
        CONFIG: (json.dumps(config, indent=1) + "\n").encode(),
        CARD: _write_card(config).encode(),
    }
    for name, written in content.items():
        files.write(folder / name, written)
    beside = folder / f".{PROGRAM}-draft.pt2"  # torch.export writes to a name that ends in pt2
    try:
        _save_program(net, images.pixels.shape[1:], beside)
        beside.replace(folder / PROGRAM)
    finally:
        beside.unlink(missing_ok=True)
    return Bundle(folder, sum((folder / name).stat().st_size for name in (*content, PROGRAM)))


def _save_program(net: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Exports a net in evaluation mode for pictures of this shape."""
    count = torch.export.Dim("pictures", min=1)
    with warnings.catch_warnings():  # of torch's own parts, while it traces
        warnings.simplefilter("ignore")
        program = torch.export.export(net, (torch.zeros(2, *shape),), dynamic_shapes=({0: count},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        torch.export.save(program, path)


def _configure(trained: Trained, shown: Pictures, classes: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """What the net is, as plain values."""
    run = trained.run
    return {
        "degrade": version("degrade"),
        "label": trained.label,
        "run": None if run is None else run.run,
        "net": trained.spec.net,
        "spec": None if run is None else share_spec(run).tree(),
        "iteration": trained.iteration,
        "weights": fingerprint_weights(trained.net),
        "input": {"shape": ["pictures", *shape], "type": "float32", "from": 0, "to": 1, "scaled by": shown.scaled},
        "data": shown.spec.shown,
        "classes": list(trained.names or classes),
        "measured": _read_end(trained),
        "assumed": list(trained.assumed),
    }


def _read_end(trained: Trained) -> dict[str, float]:
    """split -> error in % at the last point of the run's curve."""
    if trained.folder is None or not trained.folder.curve.exists():
        return {}
    rows: list[dict[str, Any]] = parquet.read(trained.folder.curve, CURVES).to_pylist()
    return {row["split"]: row["error"] for row in rows if row["iteration"] == trained.iteration}


def _write_card(config: Mapping[str, Any]) -> str:
    """The model card, in the form that hubs of models read."""
    spec: Mapping[str, Any] = config["spec"] or {}
    recipe: Mapping[str, Any] = spec.get("recipe", {})
    channels, height, width = config["input"]["shape"][1:]
    lines = ["---", "library_name: pytorch", "tags: [image-classification, residual-networks, degradation]", "---", ""]
    lines += [
        f"# {markdown(config['label'])}",
        "",
        f"Trained on {markdown(config['data'])}: {config['iteration']:,} steps of SGD",
    ]
    lines[-1] += f" with batches of {recipe['batch']}, seed {spec['seed']}." if recipe else "."
    lines += ["A net of Sec. 4.2 of He et al., arXiv:1512.03385, trained and written by `degrade`.", ""]
    if config["measured"]:
        lines += ["| images | error, % |", "| --- | ---: |"]
        lines += [f"| {split} | {error:.2f} |" for split, error in sorted(config["measured"].items())]
        lines += [
            "",
            "At the last step, of one run: another seed gives another number. `train`: augmented, in training.",
        ]
        lines += ["`train_clean`: the training images as they are.", ""]
    lines += ["```python", f'net = torch.export.load("{PROGRAM}").module()']
    lines += [f'net.load_state_dict(safetensors.torch.load_file("{WEIGHTS}"))', "```", ""]
    lines += [
        f"It takes pictures (N, {channels}, {height}, {width}) as float32 from 0 to 1, subtracts the mean itself, and",
        "gives logits (N, classes) in the order of `classes` in config.json. The second line may take other weights of",
        "the same net; the program holds those of this one.",
        "",
        f"Scale: {config['input']['scaled by']}. Not for use beyond the study of training: nobody has looked for bias.",
    ]
    if config["assumed"]:
        lines += ["", f"Assumed, since no tensor tells: {'; '.join(config['assumed'])}."]
    return "\n".join(lines) + "\n"
