"""Groups the tensors of anybody's state dict into layers: convolutions, batch norms and a linear layer."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.errors import RunError
from degrade.nets.names import arrange

NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of torch's state dicts
_ALIASES = {
    "kernel": "weight",
    "gamma": "weight",
    "scale": "weight",
    "w": "weight",
    "beta": "bias",
    "offset": "bias",
    "b": "bias",
    "mean": "running_mean",
    "moving_mean": "running_mean",
    "var": "running_var",
    "moving_var": "running_var",
    "moving_variance": "running_var",
}
_LEAVES = sorted({*NORM, *_ALIASES}, key=len, reverse=True)
_LEAF = re.compile(rf"(?:^|(?<=[a-z\d])[._/]|[./])({'|'.join(_LEAVES)})(?::0)?$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ForeignLayer:
    """The tensors of one layer and their names in the file, both by torch's names: weight, bias, ..."""

    name: str
    tensors: dict[str, Tensor]
    keys: dict[str, str]

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight"]

    @property
    def key(self) -> str:
        return self.keys["weight"]

    @property
    def parent(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def side(self) -> int:
        """The side of the kernel, 3 or 1 in this family; 0 where the layer is no convolution."""
        return self.weight.shape[-1] if self.weight.ndim == 4 else 0

    @property
    def cout(self) -> int:
        return self.weight.shape[0]

    @property
    def cin(self) -> int:
        return self.weight.shape[1]


class Layers(NamedTuple):
    """The layers of a file; `open` holds two names, where only the order of the file tells their order."""

    all: list[ForeignLayer]
    open: tuple[str, str] | None


def group_layers(tensors: Mapping[str, Tensor]) -> Layers:
    """Groups tensors into layers by their names up to the last dot, or by their order where the names are not torch's.

    Raises RunError for a tensor that has no place in these nets.
    """
    try:
        return Layers(_group_by_name(tensors), None)
    except RunError:
        found = None if any(split_name(key)[1] in NORM[2:] for key in tensors) else _group_by_order(tensors)
        if not found:
            raise
        return found


def keeps_order(tensors: Mapping[str, Tensor], layers: Sequence[ForeignLayer]) -> bool:
    """Whether the order of a file can be the one in which its net was written: sorted and shuffled files are not.

    Sorted names begin a batch norm with its bias. A net as written has the tensors of each layer side by side, in the
    order weight, bias, mean, variance.
    """
    keys = list(tensors)
    if keys == sorted(keys):
        return False
    place = {key: number for number, key in enumerate(keys)}
    for layer in layers:
        own = [place[layer.keys[each]] for each in NORM if each in layer.keys]
        if any(after - before != 1 for before, after in pairwise(dict.fromkeys(own))):
            return False
    return True


def split_name(key: str) -> tuple[str, str]:
    """Splits a name into its layer and torch's name of the tensor: `bn1/gamma:0` -> (bn1, weight); "" if unknown."""
    found = _LEAF.search(key)
    if not found or (len(found[1]) == 1 and found[0][0] == "_"):  # conv_b is a layer after conv_a
        return key.replace("/", "."), ""
    leaf = found[1].lower()
    return key[: found.start()].replace("/", "."), _ALIASES.get(leaf, leaf)


def _group_by_name(tensors: Mapping[str, Tensor]) -> list[ForeignLayer]:
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for key, tensor in tensors.items():
        name, leaf = split_name(key)
        if leaf != "weight" and tensor.ndim in (2, 4):  # a kernel that has the name of its layer
            name, leaf = key.replace("/", "."), "weight"
        if not leaf or leaf in groups[name]:
            raise _no_place_error(key, tensor)
        groups[name][leaf] = key
    return [_make_layer(name, keys, tensors) for name, keys in groups.items()]


def _make_layer(name: str, keys: dict[str, str], tensors: Mapping[str, Tensor]) -> ForeignLayer:
    """Makes a 3x3 or 1x1 convolution, a batch norm or a linear layer. Raises RunError for anything else."""
    layer = ForeignLayer(name, {each: tensors[key] for each, key in keys.items()}, keys)
    key = keys.get("weight") or keys.get("running_mean") or next(iter(keys.values()))
    main = tensors[key]
    if "gate" in name.split(".") and main.ndim == 4:
        raise RunError(f"{key}: a gate; highway nets are opened from runs and checkpoints of ours alone")
    if main.ndim == 1 and key != keys.get("bias"):
        return _make_batch_norm(layer)
    if set(keys) - {"weight", "bias"} or "weight" not in keys or main.ndim not in (2, 4):
        raise _no_place_error(key, main)
    if main.ndim == 4 and main.shape[2:] not in ((3, 3), (1, 1)):
        if main.shape[:2] in ((3, 3), (1, 1)):
            raise RunError(
                f"{key} ({_show_shape(main.shape)}): a kernel as (height, width, in, out), in the order of TensorFlow; "
                "save it as (out, in, height, width), by kernel.permute(3, 2, 0, 1)"
            )
        raise _no_place_error(key, main)
    return layer


def _make_batch_norm(layer: ForeignLayer) -> ForeignLayer:
    """Makes a batch norm; where weight and bias are missing it gets 1 and 0, which do nothing."""
    for missing in (each for each in NORM[2:] if each not in layer.tensors):
        raise RunError(f"{layer.name}.{missing}: missing; without running statistics BN has no evaluation mode")
    mean, variance = layer.tensors["running_mean"], layer.tensors["running_var"]
    if not bool((variance >= 0).all()):
        raise RunError(f"{layer.keys['running_var']}: below 0 or not a number, and no variance is")
    affine = {"weight": torch.ones_like(mean), "bias": torch.zeros_like(mean)}
    return ForeignLayer(layer.name, affine | layer.tensors, {"weight": layer.keys["running_mean"]} | layer.keys)


def _group_by_order(tensors: Mapping[str, Tensor]) -> Layers | None:
    """Groups tensors into layers by their order alone. Returns None where the counts do not fit.

    Each kernel or matrix is a layer. Each four vectors after it are a batch norm. Where one vector is left over, the
    first is the bias of the layer. Numbers in the names tell the order; where they tell none, the file does.
    """
    layers, vectors = list[ForeignLayer](), list[str]()
    ordered, between, _ = arrange(list(tensors), {key: place for place, key in enumerate(tensors)})
    for key in [*(tensors if between else ordered), ""]:
        if key and tensors[key].ndim == 1:
            vectors.append(key)
            continue
        if len(vectors) % 4 == 1 and layers:
            layers[-1].tensors["bias"] = tensors[vectors[0]]
            layers[-1].keys["bias"] = vectors.pop(0)
        if len(vectors) % 4 or (key and tensors[key].ndim not in (2, 4)):
            return None
        for start in range(0, len(vectors), 4):
            four = {each: vectors[start + place] for place, each in enumerate(NORM)}
            layer = ForeignLayer(str(len(layers)), {each: tensors[name] for each, name in four.items()}, four)
            layers.append(_make_batch_norm(layer))
        vectors = []
        if key:
            layers.append(ForeignLayer(str(len(layers)), {"weight": tensors[key]}, {"weight": key}))
    return Layers(layers, between)


def check_shape(layer: ForeignLayer, shape: torch.Size, where: str) -> None:
    """Raises RunError, which names the tensor, unless the weight has `shape` and all others its first dimension."""
    for name, tensor in layer.tensors.items():
        expected = shape if name == "weight" else shape[:1]
        if tensor.shape != expected:
            key = layer.keys.get(name, layer.name)
            raise RunError(f"{key} ({_show_shape(tensor.shape)}): must be {_show_shape(expected)}, {where}")


def _no_place_error(key: str, tensor: Tensor) -> RunError:
    return RunError(f"{key} ({_show_shape(tensor.shape)}): has no place in the nets of Sec. 4.2")


def _show_shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a number"
