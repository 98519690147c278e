"""Recognises anybody's net of the CIFAR family by its tensors and the numbers in their names: the readings that fit."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from degrade.errors import RunError, SpecError
from degrade.nets import sketch
from degrade.nets.grouping import ForeignLayer, check_shape, group_layers, keeps_order
from degrade.nets.pairing import NormByConv, Ordering, check_activation, pair_norms, sort_convs
from degrade.spec import NetSpec
from degrade.spec.parts import CHOICES

EPS = 1e-5  # of our batch norm and of torch's; no state dict says with which epsilon a net was trained


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """A net that a state dict can be. Several differ in net, in pad, in the order of layers or in epsilon."""

    spec: NetSpec
    state: dict[str, Tensor]  # for the net of `spec`, whose BN has EPS: another epsilon is folded into running_var
    channels: int
    classes: int
    eps: float  # of batch norm, as the net was trained
    norms: tuple[str, ...]  # BN layers of `state` that the file has; the others do nothing
    placed: bool = True  # whether names tell that BN comes after its convolution, or there is none
    by_file: bool = False  # some layers are in the order of the file, where names tell none or another
    open: tuple[str, str] | None = None  # two tensors whose order neither the names nor the file tells

    def build_state(self, eps: float) -> dict[str, Tensor]:
        """The state for another epsilon: (var + eps - EPS) + EPS is var + eps."""
        moved = {f"{name}.running_var" for name in self.norms}
        return {key: value + (eps - self.eps) if key in moved else value for key, value in self.state.items()}

    def with_eps(self, eps: float) -> "Reading":
        return replace(self, eps=eps, state=self.build_state(eps))


@dataclass(frozen=True, eq=False)
class _Parts:
    """The layers of a state dict in the order of a 6n+2 net."""

    threes: list[ForeignLayer]
    ones: list[ForeignLayer]
    head: ForeignLayer
    norms: NormByConv
    n: int
    placed: bool


def match(
    tensors: Mapping[str, Tensor], net: str | None = None, pad: str | None = None, eps: float | None = None
) -> Reading:
    """Finds depth, width, channels, classes and shortcut option of a state dict (float32), by its tensors alone.

    Plain nets and residual nets with option A have the same tensors. Between these `net` decides, and `pad` says where
    option A puts its zeros. Biases of convolutions are folded into BN exactly. A projection without BN gets a BN that
    does nothing. No tensor tells the epsilon of BN or the place of a stride: `match` assumes 1e-5, and a stride in the
    first layer of a stage. Raises RunError, which names the first tensor that does not fit or says what stays open, and
    SpecError for an unknown `net` or `pad`.
    """
    found = readings(tensors, net, pad, eps)
    if said := describe_open(found):
        raise RunError(said)
    return found[0]


def readings(
    tensors: Mapping[str, Tensor], net: str | None = None, pad: str | None = None, eps: float | None = None
) -> list[Reading]:
    """Finds every net that a state dict can be, as far as `net` and `pad` leave it open. Raises as `match` does.

    Layers of one shape are in the order of the numbers in their names. Where words alone tell two names apart, they are
    in the order of the file. A file as it was written, in another order than its names, is read both ways.
    """
    if net not in (None, "plain", "residual"):
        raise SpecError(f"--net={net}: a state dict of others is of a plain or a residual net; use one of these")
    if pad is not None and pad not in CHOICES["pad"]:
        raise SpecError(f"pad={pad}: must be {' or '.join(CHOICES['pad'])}")
    layers = group_layers(tensors)
    written = keeps_order(tensors, layers.all)
    places = {layer.name: place for place, layer in enumerate(layers.all)}
    by_name = Ordering(places)
    parts = _sort_parts(layers.all, by_name)
    between = by_name.open or layers.open
    found = [
        replace(each, by_file=between is not None, open=None if written and not by_name.by_kind else between)
        for each in _read(parts, net, pad, eps)
    ]
    if written and between is None:
        with suppress(RunError):  # the order of the file is that of no such net
            other = _sort_parts(layers.all, Ordering(places, by_file=True))
            if _list_names(other) != _list_names(parts):
                found += [replace(each, by_file=True) for each in _read(other, net, pad, eps)]
    return found


def describe_open(found: Sequence[Reading]) -> str:
    """Says what tensors leave open, and what to do about it; "" for one reading whose order is known."""
    if between := found[0].open:
        return (
            f"which comes first, {between[0]} or {between[1]}? Neither their names nor the order of the file tells; "
            "save the net as it is, by torch.save(net.state_dict(), 'weights.pt'), without sorting its names"
        )
    specs = {each.spec for each in found}
    if len({each.net for each in specs}) > 1:
        return (
            "plain and residual nets with option A have the same tensors; say --net plain or residual, and for a "
            "residual net --pad after or split, where option A puts its zeros"
        )
    if len({each.pad for each in specs}) > 1:
        return "option A, and no tensor tells where it puts its zeros; say --pad after or --pad split"
    if len(found) > 1:
        return (
            "the order of the file is not that of the numbers in its names, and nothing tells which one the net has; "
            "measure it on the pictures it was trained on"
        )
    return ""


def _list_names(parts: _Parts) -> list[tuple[str, str]]:
    """Convolutions in their order, each with its batch norm."""
    norms = {name: norm.name for name, norm in parts.norms.items()}
    return [(layer.name, norms.get(layer.name, "")) for layer in parts.threes + parts.ones]


def _sort_parts(layers: Sequence[ForeignLayer], ordering: Ordering) -> _Parts:
    """Sorts the layers of a 6n+2 net. Raises RunError where they are not those of such a net."""
    convs, norms = [layer for layer in layers if layer.side], [layer for layer in layers if layer.weight.ndim == 1]
    placed = check_activation(convs, norms)
    pairs = pair_norms(convs, norms, ordering.sort)
    threes = sort_convs([conv for conv in convs if conv.side == 3], ordering)
    ones = sort_convs([conv for conv in convs if conv.side == 1], ordering)
    heads = [layer for layer in layers if layer.weight.ndim == 2]
    n, rest = divmod(len(threes) - 1, 6)
    if rest or n < 1:
        raise RunError(_explain_count(threes))
    if len(heads) != 1:
        extra = f", the second being {heads[1].key}" if heads else ""
        raise RunError(f"{len(heads)} linear layers{extra}, where the nets of Sec. 4.2 have one")
    return _Parts(threes, ones, heads[0], pairs, n, placed)


def _explain_count(threes: Sequence[ForeignLayer]) -> str:
    widths = list(dict.fromkeys(conv.cout for conv in threes))
    said = f"{len(threes)} 3x3 convolutions, where the nets of Sec. 4.2 have 6n+1: 7, 13, 19, ..."
    if len(widths) == 4:
        said += (
            f"; four widths ({', '.join(map(str, widths))}) are those of the nets of Table 1, as ResNet-18, not 6n+2"
        )
    return said


def _read(parts: _Parts, net: str | None, pad: str | None, eps: float | None) -> list[Reading]:
    """Reads the layers as each net that they can be. Raises RunError where they do not fit."""
    depth, width, shortcut = 6 * parts.n + 2, parts.threes[0].cout, _infer_shortcut(parts.ones, 3 * parts.n, net)
    kinds = ["residual"] if parts.ones else [each for each in ("plain", "residual") if net in (None, each)]
    specs: list[NetSpec] = []
    for kind in kinds:
        given = pad if kind == "residual" and shortcut == "A" else "after"
        pads = [each for each in CHOICES["pad"] if given in (None, each)]
        specs += [NetSpec(net=kind, shortcut=shortcut, depth=depth, width=width, pad=where) for where in pads]
    channels, classes = parts.threes[0].cin, parts.head.cout
    ours = sketch(specs[0], channels, classes)
    said = f"a net of {specs[0].depth} layers and width {specs[0].width}"
    names: list[str] = []
    state = _place_convs(parts.threes, 3, ours, parts.norms, names, said)
    state |= _place_convs(parts.ones, 1, ours, parts.norms, names, said) | _place_head(parts.head, ours, said)
    base = Reading(
        spec=specs[0],
        state=state,
        channels=channels,
        classes=classes,
        eps=EPS,
        norms=tuple(names),
        placed=parts.placed,
    )
    found = [replace(base, spec=spec) for spec in specs]
    return found if eps is None else [each.with_eps(eps) for each in found]


def _infer_shortcut(ones: Sequence[ForeignLayer], blocks: int, net: str | None) -> str:
    """Tells the shortcut option from the number of projections. "A": there are none, and the net may be plain too."""
    if not ones:
        return "A"
    if len(ones) not in (2, blocks):
        raise RunError(
            f"{ones[0].key}: one of {len(ones)} 1x1 convolutions, where {2 * blocks + 2} layers have 2 (option B), "
            f"{blocks} (option C) or none"
        )
    if net == "plain":
        raise RunError(f"{ones[0].key}: a projection, which plain nets do not have; use --net residual")
    return "B" if len(ones) == 2 else "C"


def _place_convs(
    convs: Sequence[ForeignLayer], side: int, ours: nn.Module, norms: NormByConv, stored: list[str], said: str
) -> dict[str, Tensor]:
    """Renames tensors as in `ours`, where each convolution has its BN after it; adds the BN of the file to `stored`."""
    state: dict[str, Tensor] = {}
    places = {k: m for k, m in ours.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] == side}
    for conv, (name, place) in zip(convs, places.items(), strict=True):
        check_shape(conv, place.weight.shape, f"as {name} of {said}")
        state[f"{name}.weight"] = conv.weight
        norm, after = norms.get(conv.name), f"{name.removesuffix('0')}1"
        stored += [after] if norm else []
        state |= {f"{after}.{each}": value for each, value in _fold_bias(conv, norm).items()}
    return state


def _fold_bias(conv: ForeignLayer, norm: ForeignLayer | None) -> dict[str, Tensor]:
    """Folds a convolution's bias into its BN: (Wx + b - mean) / s = (Wx - (mean - b)) / s. No BN: the identity."""
    cout = conv.weight.shape[:1]
    nothing = {"weight": torch.ones(cout), "bias": torch.zeros(cout), "running_mean": torch.zeros(cout)}
    values = norm.tensors if norm else {**nothing, "running_var": torch.full(cout, 1 - EPS)}
    return {**values, "running_mean": values["running_mean"] - conv.tensors.get("bias", torch.zeros(cout))}


def _place_head(head: ForeignLayer, ours: nn.Module, said: str) -> dict[str, Tensor]:
    """Renames the last layer; where it has no bias, it gets zeros."""
    place = ours.get_submodule("head")
    check_shape(head, place.get_parameter("weight").shape, f"as head of {said}")
    return {"head.weight": head.weight, "head.bias": head.tensors.get("bias", torch.zeros(len(head.weight)))}
