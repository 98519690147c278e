"""Recognises anybody's net of the CIFAR family by its tensors: their order and shapes count, their names do not."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade.errors import RunError, SpecError
from degrade.nets import sketch
from degrade.spec import NetSpec

_NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of torch's state dicts
_ALIASES = {
    "kernel": "weight",
    "gamma": "weight",
    "scale": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "moving_mean": "running_mean",
    "var": "running_var",
    "moving_var": "running_var",
    "moving_variance": "running_var",
}
_EPS = 1e-5  # of our batch norm and of torch's; no state dict says with which epsilon a net was trained


class Match(NamedTuple):
    """The net that a state dict belongs to."""

    spec: NetSpec
    state: dict[str, Tensor]  # for the net of `spec`
    channels: int
    classes: int


@dataclass(frozen=True, eq=False)
class _ForeignLayer:
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


_NormByConv = dict[str, _ForeignLayer]  # name of a convolution -> the batch norm after it


def match(tensors: Mapping[str, Tensor], net: str | None = None, pad: str = "after") -> Match:
    """Finds depth, width, channels, classes and shortcut option of a state dict (float32, in the order of the file).

    Plain nets and residual nets with option A have the same tensors. Between these `net` decides, and `pad` says where
    option A puts its zeros. Biases of convolutions are folded into BN exactly. A projection without BN gets a BN that
    does nothing. No tensor tells the epsilon of BN or the place of a stride: `match` assumes 1e-5, and a stride in the
    first layer of a stage. Raises RunError, which names the first tensor that does not fit, and SpecError for an
    unknown `net` or `pad`.
    """
    layers = _group_layers(tensors)
    convs = [layer for layer in layers if layer.side]
    norms = _pair_norms(convs, [layer for layer in layers if layer.weight.ndim == 1])
    threes, ones = _order_convs([c for c in convs if c.side == 3]), _order_convs([c for c in convs if c.side == 1])
    heads = [layer for layer in layers if layer.weight.ndim == 2]
    n, rest = divmod(len(threes) - 1, 6)
    if rest or n < 1:
        raise RunError(f"{len(threes)} 3x3 convolutions, where the nets of Sec. 4.2 have 6n+1: 7, 13, 19, ...")
    if len(heads) != 1:
        extra = f", the second being {heads[1].key}" if heads else ""
        raise RunError(f"{len(heads)} linear layers{extra}, where the nets of Sec. 4.2 have one")
    kind, shortcut = _infer_net(ones, 3 * n, net)
    spec = NetSpec(net=kind, shortcut=shortcut, depth=6 * n + 2, width=threes[0].weight.shape[0], pad=pad)
    channels, classes = threes[0].weight.shape[1], heads[0].weight.shape[0]
    ours = sketch(spec, channels, classes)
    said = f"a net of {spec.depth} layers and width {spec.width}"
    convolutions = _place_convs(threes, 3, ours, norms, said) | _place_convs(ones, 1, ours, norms, said)
    state = convolutions | _place_head(heads[0], ours, said)
    return Match(spec, state, channels, classes)


def _infer_net(ones: Sequence[_ForeignLayer], blocks: int, net: str | None) -> tuple[str, str]:
    """Tells net and shortcut option from the number of projections."""
    if net not in (None, "plain", "residual"):
        raise SpecError(f"--net={net}: a state dict of others is of a plain or a residual net; use one of these")
    if not ones:
        if net is None:
            raise RunError("plain and residual nets with option A have the same tensors; say --net plain or residual")
        return net, "A"  # NetSpec makes it none for plain nets
    if len(ones) not in (2, blocks):
        raise RunError(
            f"{ones[0].key}: one of {len(ones)} 1x1 convolutions, where {2 * blocks + 2} layers have 2 (option B), "
            f"{blocks} (option C) or none"
        )
    if net == "plain":
        raise RunError(f"{ones[0].key}: a projection, which plain nets do not have; use --net residual")
    return "residual", "B" if len(ones) == 2 else "C"


def _group_layers(tensors: Mapping[str, Tensor]) -> list[_ForeignLayer]:
    """Groups tensors into layers by their names up to the last dot, or by their order where the names are not torch's.

    Raises RunError for a tensor that has no place in these nets.
    """
    try:
        return _group_by_name(tensors)
    except RunError:
        found = [] if any(_leaf(key) in _NORM[2:] for key in tensors) else _group_by_order(tensors)
        if not found:
            raise
        return found


def _leaf(key: str) -> str:
    last = key.rpartition(".")[2]
    return _ALIASES.get(last, last)


def _group_by_name(tensors: Mapping[str, Tensor]) -> list[_ForeignLayer]:
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for key, tensor in tensors.items():
        keys = groups[key.rpartition(".")[0]]
        if _leaf(key) not in _NORM or _leaf(key) in keys:
            raise _no_place_error(key, tensor)
        keys[_leaf(key)] = key
    return [_make_layer(name, keys, tensors) for name, keys in groups.items()]


def _make_layer(name: str, keys: dict[str, str], tensors: Mapping[str, Tensor]) -> _ForeignLayer:
    """Makes a 3x3 or 1x1 convolution, a batch norm or a linear layer. Raises RunError for anything else."""
    layer = _ForeignLayer(name, {each: tensors[key] for each, key in keys.items()}, keys)
    key = keys.get("weight") or keys.get("running_mean") or next(iter(keys.values()))
    main = tensors[key]
    if "gate" in name.split(".") and main.ndim == 4:
        raise RunError(f"{key}: a gate; highway nets are opened from runs and checkpoints of ours alone")
    if main.ndim == 1 and key != keys.get("bias"):
        return _make_batch_norm(layer)
    if set(keys) - {"weight", "bias"} or "weight" not in keys or main.ndim not in (2, 4):
        raise _no_place_error(key, main)
    if main.ndim == 4 and main.shape[2:] not in ((3, 3), (1, 1)):
        raise _no_place_error(key, main)
    return layer


def _make_batch_norm(layer: _ForeignLayer) -> _ForeignLayer:
    """Makes a batch norm; where weight and bias are missing it gets 1 and 0, which do nothing."""
    for missing in (each for each in _NORM[2:] if each not in layer.tensors):
        raise RunError(f"{layer.name}.{missing}: missing; without running statistics BN has no evaluation mode")
    mean = layer.tensors["running_mean"]
    affine = {"weight": torch.ones_like(mean), "bias": torch.zeros_like(mean)}
    return _ForeignLayer(layer.name, affine | layer.tensors, {"weight": layer.keys["running_mean"]} | layer.keys)


def _group_by_order(tensors: Mapping[str, Tensor]) -> list[_ForeignLayer]:
    """Groups tensors into layers by their order alone. Returns no layers where the counts do not fit.

    Each kernel or matrix is a layer. Each four vectors after it are a batch norm. Where one vector is left over, the
    first is the bias of the layer.
    """
    layers, vectors = list[_ForeignLayer](), list[str]()
    for key in [*tensors, ""]:
        if key and tensors[key].ndim == 1:
            vectors.append(key)
            continue
        if len(vectors) % 4 == 1 and layers:
            layers[-1].tensors["bias"] = tensors[vectors[0]]
            layers[-1].keys["bias"] = vectors.pop(0)
        if len(vectors) % 4 or (key and tensors[key].ndim not in (2, 4)):
            return []
        for start in range(0, len(vectors), 4):
            four = {each: vectors[start + place] for place, each in enumerate(_NORM)}
            layers.append(_ForeignLayer(str(len(layers)), {each: tensors[name] for each, name in four.items()}, four))
        vectors = []
        if key:
            layers.append(_ForeignLayer(str(len(layers)), {"weight": tensors[key]}, {"weight": key}))
    return layers


def _pair_norms(convs: Sequence[_ForeignLayer], norms: Sequence[_ForeignLayer]) -> _NormByConv:
    """Finds the batch norm of each convolution. A file without batch norms is taken to have them folded in.

    The k-th convolution of a parent module goes with its k-th batch norm. Where the counts of a parent differ, the k-th
    convolution of the file goes with the k-th batch norm of the file.
    """
    groups: dict[str, tuple[list[_ForeignLayer], list[_ForeignLayer]]] = defaultdict(lambda: ([], []))
    for layer in [*convs, *norms]:
        groups[layer.parent][0 if layer.side else 1].append(layer)
    found = [_pair_up(*group) for group in groups.values()]
    odd = next((group for group, pairs in zip(groups.values(), found, strict=True) if pairs is None), None)
    if odd and norms:
        found = [_pair_up(convs, norms)]
        if found == [None]:
            left = max(odd, key=len)[-1].key
            counted = f"{len(convs)} and {len(norms)} in all"
            raise RunError(f"{left}: convolutions and batch norms do not pair up here ({counted})")
    pairs = [pair for each in found for pair in each or ()]
    for conv, norm in pairs:
        _check_shape(norm, conv.weight.shape[:1], f"as many as {conv.key} puts out")
    return {conv.name: norm for conv, norm in pairs}


def _pair_up(
    convs: Sequence[_ForeignLayer], norms: Sequence[_ForeignLayer]
) -> list[tuple[_ForeignLayer, _ForeignLayer]] | None:
    """Pairs norms with all convolutions, or with the 3x3 ones: projections may have none. None: counts differ."""
    threes = [conv for conv in convs if conv.side == 3]
    chosen = next((each for each in (convs, threes) if len(each) == len(norms)), None)
    return None if chosen is None else list(zip(chosen, norms, strict=True))


def _order_convs(convs: Sequence[_ForeignLayer]) -> list[_ForeignLayer]:
    """Sorts by width, the stem first: of the narrowest, it alone takes in a different number of channels."""
    narrow = min((conv.weight.shape[0] for conv in convs), default=0)
    return sorted(convs, key=lambda conv: (conv.weight.shape[0], tuple(conv.weight.shape[:2]) == (narrow, narrow)))


def _place_convs(
    convs: Sequence[_ForeignLayer], side: int, ours: nn.Module, norms: _NormByConv, said: str
) -> dict[str, Tensor]:
    """Renames tensors as in `ours`, where each convolution has its BN after it."""
    state: dict[str, Tensor] = {}
    places = {k: m for k, m in ours.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] == side}
    for conv, (name, place) in zip(convs, places.items(), strict=True):
        _check_shape(conv, place.weight.shape, f"as {name} of {said}")
        state[f"{name}.weight"] = conv.weight
        values = _fold_bias(conv, norms.get(conv.name))
        state |= {f"{name.removesuffix('0')}1.{each}": value for each, value in values.items()}
    return state


def _fold_bias(conv: _ForeignLayer, norm: _ForeignLayer | None) -> dict[str, Tensor]:
    """Folds a convolution's bias into its BN: (Wx + b - mean) / s = (Wx - (mean - b)) / s. No BN: the identity."""
    cout = conv.weight.shape[:1]
    nothing = {"weight": torch.ones(cout), "bias": torch.zeros(cout), "running_mean": torch.zeros(cout)}
    values = norm.tensors if norm else {**nothing, "running_var": torch.full(cout, 1 - _EPS)}
    return {**values, "running_mean": values["running_mean"] - conv.tensors.get("bias", torch.zeros(cout))}


def _place_head(head: _ForeignLayer, ours: nn.Module, said: str) -> dict[str, Tensor]:
    """Renames the last layer; where it has no bias, it gets zeros."""
    place = ours.get_submodule("head")
    _check_shape(head, place.get_parameter("weight").shape, f"as head of {said}")
    return {"head.weight": head.weight, "head.bias": head.tensors.get("bias", torch.zeros(len(head.weight)))}


def _check_shape(layer: _ForeignLayer, shape: torch.Size, where: str) -> None:
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
