"""Other people's checkpoints: tensors that are those of a 6n+2 net (Sec. 4.2) in order and shape, whatever their names.

A 3x3 convolution is known by its shape, and goes with the batch norm that stands beside it; 1x1 convolutions are
projections. So depth, width, classes and the shortcut option follow from the tensors. What does not fit is named.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.errors import RunError
from degrade.spec import NetSpec, depths_near

EPS = 1e-5  # torch's, in every batch norm of ours
NORM: tuple[str, ...] = ("weight", "bias", "running_mean", "running_var")  # torch's order


class Match(NamedTuple):
    """A net of ours that computes what a foreign one does."""

    spec: NetSpec
    state: dict[str, Tensor]  # by the names of degrade.nets.build, float32
    channels: int
    classes: int


@dataclass
class Module:
    """The tensors of one foreign layer, by torch's leaf names."""

    name: str
    tensors: dict[str, Tensor]

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight"]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    @property
    def parent(self) -> str:
        return self.name.rpartition(".")[0]


def match(tensors: Mapping[str, Tensor], *, net: str | None = None, pad: str = "after") -> Match:
    """The net of ours with these weights. `net` is needed where there are no projections: plain or residual.

    Raises RunError that names the first tensor that does not fit, and what stands in its place in a 6n+2 net.
    """
    found = [*modules(tensors)]
    try:
        return fitted(found, net, pad)
    except RunError as error:
        ordered = sorted(found, key=lambda module: natural(module.name))  # safetensors forgets the order of layers
        convs = [module for module in ordered if module.weight.ndim == 4]
        if not convs or ordered == found:
            raise
        stem = min(convs, key=lambda module: module.shape[1])  # no other layer takes so few channels as a picture has
        try:
            return fitted([stem, *(module for module in ordered if module is not stem)], net, pad)
        except RunError:
            raise error from None


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts layer1.10 behind layer1.2."""
    return [(int(part), 0, "") if part.isdigit() else (-1, 0, part) for part in re.split(r"(\d+)", name)]


def modules(tensors: Mapping[str, Tensor]) -> Iterator[Module]:
    """The layers, in the order of their first tensors: by name, or where leaves have other names, by order."""
    kept = {key: value for key, value in tensors.items() if value.ndim}  # less num_batches_tracked
    split = {key: key.rpartition(".") for key in kept}
    if not all(leaf in NORM for _, _, leaf in split.values()):
        yield from in_order(kept)
        return
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, (name, _, leaf) in split.items():
        grouped.setdefault(name, {})[leaf] = kept[key]
    for name, parts in grouped.items():
        if "weight" not in parts:
            raise RunError(
                f"{name}.{next(iter(parts))}: has no weight beside it, so it belongs to no layer of a CIFAR net"
            )
        yield Module(name, parts)


def in_order(tensors: Mapping[str, Tensor]) -> Iterator[Module]:
    """Layers by order alone: a kernel or matrix begins one and may have a bias; four vectors are a batch norm."""
    left = list(tensors.items())
    while left:
        name, weight = left.pop(0)
        vectors = 0
        while vectors < len(left) and left[vectors][1].ndim == 1:
            vectors += 1
        if weight.ndim > 1:
            parts = {"weight": weight} | ({"bias": left.pop(0)[1]} if vectors % 4 == 1 else {})
        elif vectors >= 3:
            parts = dict(zip(NORM, (weight, *(left.pop(0)[1] for _ in range(3))), strict=True))
        else:
            raise RunError(
                f"{name}: {tuple(weight.shape)} follows no convolution as part of a batch norm of four vectors"
            )
        yield Module(name, parts)


def fitted(found: Sequence[Module], net: str | None, pad: str) -> Match:
    """The match of layers that stand in the order of a net."""
    convs = [module for module in found if module.weight.ndim == 4]
    linear = [module for module in found if module.weight.ndim == 2]
    norms = [module for module in found if module.weight.ndim == 1]
    for module in convs:
        if module.shape[2:] not in ((3, 3), (1, 1)):
            raise RunError(f"{module.name}.weight: {module.shape} is neither a 3x3 layer nor a 1x1 projection")
    if odd := [module for module in found if module.weight.ndim not in (1, 2, 4)]:
        raise RunError(f"{odd[0].name}.weight: {odd[0].shape} has no place in a CIFAR net")
    for module in norms:
        if missing := [leaf for leaf in NORM if leaf not in module.tensors]:
            raise RunError(f"{module.name}.{missing[0]}: is not there; a net cannot be evaluated without it")
    layers = [module for module in convs if module.shape[2:] == (3, 3)]
    projections = [module for module in convs if module.shape[2:] == (1, 1)]
    spec, channels = shape_of(layers, projections, net, pad)
    if len(linear) != 1 or linear[0].shape[1] != 4 * spec.width:
        said = ", ".join(f"{module.name}.weight {module.shape}" for module in linear) or "none"
        raise RunError(
            f"last layer: a net of width {spec.width} has one matrix (classes, {4 * spec.width}); here: {said}"
        )
    state = dict(state_of(spec, layers, projections, paired(convs, norms)))
    head = linear[0]
    state["head.weight"] = head.weight.float()
    state["head.bias"] = head.tensors.get("bias", torch.zeros(head.shape[0])).float()
    return Match(spec, state, channels, head.shape[0])


def shape_of(layers: Sequence[Module], projections: Sequence[Module], net: str | None, pad: str) -> tuple[NetSpec, int]:
    """(the net that has these convolutions, channels of a picture)."""
    depth = len(layers) + 1
    if depth < 8 or depth % 6 != 2:
        raise RunError(
            f"{len(layers)} 3x3 layers: a 6n+2 net has one less than its depth, which is {depths_near(depth)}"
        )
    width, channels = layers[0].shape[0], layers[0].shape[1]
    for module, wanted in zip(layers, kernels(depth, width, channels), strict=True):
        misfit(module, wanted, depth, width)
    places = [(cout, cin) for cin, cout, _ in block_shapes(depth, width)]
    option = {0: "A", 2: "B", len(places): "C"}.get(len(projections))
    if option is None:
        raise RunError(f"{len(projections)} 1x1 projections: option B has 2, option C {len(places)} at depth {depth}")
    wanted = [place for place in places if place[0] != place[1]] if option == "B" else places
    for module, place in zip(projections, wanted if projections else [], strict=True):
        misfit(module, (*place, 1, 1), depth, width)
    if projections and net == "plain":
        raise RunError(f"--net=plain: {projections[0].name}.weight is a projection, which plain nets have not")
    if not projections and net not in ("plain", "residual"):
        raise RunError(
            "plain nets and residual nets with option A have the same tensors; say which it is: --net plain or residual"
        )
    return NetSpec(
        net="residual" if projections else str(net), shortcut=option, depth=depth, width=width, pad=pad
    ), channels


def misfit(module: Module, wanted: tuple[int, ...], depth: int, width: int) -> None:
    if module.shape != wanted:
        raise RunError(f"{module.name}.weight: {module.shape}, where depth {depth} and width {width} have {wanted}")


def block_shapes(depth: int, width: int) -> Iterator[tuple[int, int, str]]:
    """(channels in, channels out, path in our net) of each block."""
    cin = width
    for stage in range(3):
        for place in range((depth - 2) // 6):
            yield cin, width << stage, f"stages.{stage}.{place}"
            cin = width << stage


def kernels(depth: int, width: int, channels: int) -> Iterator[tuple[int, ...]]:
    """The shapes of the 3x3 kernels of a net, in order."""
    yield width, channels, 3, 3
    for cin, cout, _ in block_shapes(depth, width):
        yield cout, cin, 3, 3
        yield cout, cout, 3, 3


def paired(convs: Sequence[Module], norms: Sequence[Module]) -> dict[str, Module]:
    """The batch norm of each convolution by its name: in turn among those of the same parent, or else in file order.

    Projections may have none. Raises RunError where that does not come out even.
    """
    families = {module.parent for module in [*convs, *norms]}
    own = [([c for c in convs if c.parent == name], [n for n in norms if n.parent == name]) for name in families]
    groups = own if all(even(some, theirs) for some, theirs in own) else [(list(convs), list(norms))]
    found: dict[str, Module] = {}
    for some, theirs in groups:
        if not even(some, theirs):
            raise RunError(f"{len(norms)} batch norms for {len(convs)} convolutions: each 3x3 layer has one (Sec. 3.4)")
        holders = some if len(some) == len(theirs) else [conv for conv in some if conv.shape[2:] == (3, 3)]
        for conv, norm in zip(holders, theirs, strict=True):
            if norm.shape != conv.shape[:1]:
                raise RunError(f"{norm.name}.weight: {norm.shape} does not normalise {conv.name}.weight {conv.shape}")
            found[conv.name] = norm
    return found


def even(convs: Sequence[Module], norms: Sequence[Module]) -> bool:
    return len(norms) in (len(convs), sum(conv.shape[2:] == (3, 3) for conv in convs))


def state_of(
    spec: NetSpec, layers: Sequence[Module], projections: Sequence[Module], norms: Mapping[str, Module]
) -> Iterator[tuple[str, Tensor]]:
    """The weights by our names."""
    blocks = [*block_shapes(spec.depth, spec.width)]
    names = ["stem", *(f"{path}.{place}" for _, _, path in blocks for place in ("first", "second"))]
    with_projection = [path for cin, cout, path in blocks if cin != cout or spec.shortcut == "C"] if projections else []
    names += [f"{path}.shortcut" for path in with_projection]
    for name, conv in zip(names, [*layers, *projections], strict=True):
        yield f"{name}.0.weight", conv.weight.float()
        for leaf, value in normalisation(conv, norms.get(conv.name)).items():
            yield f"{name}.1.{leaf}", value


def normalisation(conv: Module, norm: Module | None) -> dict[str, Tensor]:
    """The tensors of a batch norm of ours. One that is not there is the identity; a bias of the convolution goes into
    it: BN(y + b) with mean m is BN(y) with mean m - b, exactly; without BN, b is its shift.
    """
    bias = conv.tensors.get("bias", torch.zeros(conv.shape[0])).float()
    tracked = {"num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    if norm is None:
        ones = torch.ones(conv.shape[0])
        return {"weight": ones, "bias": bias, "running_mean": 0 * ones, "running_var": ones - EPS, **tracked}
    values = {leaf: norm.tensors[leaf].float() for leaf in NORM}
    return {**values, "running_mean": values["running_mean"] - bias, **tracked}
