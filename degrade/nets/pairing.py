"""Finds the batch norm of each convolution of anybody's state dict, and puts convolutions into the order of the net."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from degrade.errors import RunError
from degrade.nets.grouping import ForeignLayer, check_shape
from degrade.nets.names import Order, arrange, numbers, strip_kinds

NormByConv = dict[str, ForeignLayer]  # name of a convolution -> the batch norm after it
_Pairs = list[tuple[ForeignLayer, ForeignLayer]]


class Ordering:
    """Orders layers by their names, or by their places in the file. `open` is the first pair whose names tell none."""

    def __init__(self, places: Mapping[str, int], *, by_file: bool = False) -> None:
        self.places, self.by_file = places, by_file
        self.open: tuple[str, str] | None = None
        self.by_kind = False

    def sort(self, layers: Sequence[ForeignLayer], first: ForeignLayer | None = None) -> list[ForeignLayer]:
        """Sorts layers. `first` is computed first, as shapes tell."""
        known = {layer.name: layer for layer in layers}
        if self.by_file:
            return sorted(layers, key=lambda layer: (layer is not first, self.places[layer.name]))
        found = arrange(list(known), self.places, first.name if first else None)
        self._note(found, known)
        return [known[name] for name in found.names]

    def _note(self, found: Order, known: Mapping[str, ForeignLayer]) -> None:
        self.by_kind = self.by_kind or found.by_kind
        if found.open and self.open is None:
            self.open = (known[found.open[0]].key, known[found.open[1]].key)


def sort_convs(convs: Sequence[ForeignLayer], ordering: Ordering) -> list[ForeignLayer]:
    """Sorts convolutions of one side: by width, in each width first the layer that changes it, the rest by names."""
    widths = sorted({conv.cout for conv in convs})
    found: list[ForeignLayer] = []
    for width in widths:
        own = [conv for conv in convs if conv.cout == width]
        changing = [conv for conv in own if conv.cin != width]
        first = changing[0] if len(changing) == 1 else _find_odd_group(own) if not changing else None
        found += ordering.sort(own, first)
    return found


def _find_odd_group(convs: Sequence[ForeignLayer]) -> ForeignLayer | None:
    """Finds the stem among layers of one shape: beside blocks of two layers each it stands alone."""
    by_start: dict[str, list[ForeignLayer]] = defaultdict(list)
    start = _common_start([conv.name for conv in convs])
    for conv in convs:
        by_start[conv.name[len(start) :].partition(".")[0]].append(conv)
    alone = [group[0] for group in by_start.values() if len(group) == 1]
    return alone[0] if len(alone) == 1 and len(convs) > 1 and len(by_start) > 1 else None


def _common_start(names: Sequence[str]) -> str:
    """The dotted beginning that all names share."""
    start = names[0].rpartition(".")[0]
    while start and any(not name.startswith(f"{start}.") for name in names):
        start = start.rpartition(".")[0]
    return f"{start}." if start else ""


def check_activation(convs: Sequence[ForeignLayer], norms: Sequence[ForeignLayer]) -> bool:
    """Raises RunError for a pre-activation net: one whose block has a BN as wide as what the block takes in.

    Returns whether the names tell it.

    Where a convolution changes the width, all BN beside it are as wide as what it puts out, if they come after
    convolutions. Modules that hold layers of that width alone are looked at, and names that differ in the kind of layer
    alone.
    """
    threes = sorted((conv for conv in convs if conv.side == 3), key=lambda conv: conv.cout)
    narrow, told = min((conv.cout for conv in threes), default=0), True
    for conv in (conv for conv in threes if conv.cin != conv.cout and conv.cout > narrow):
        parent = ""
        above = conv.parent
        while above and all(each.cout == conv.cout for each in threes if each.name.startswith(f"{above}.")):
            parent, above = above, above.rpartition(".")[0]
        beside = [norm for norm in norms if parent and norm.name.startswith(f"{parent}.")]
        same = [norm for norm in norms if strip_kinds(norm.name) == strip_kinds(conv.name)]  # s1_b0_bn1, s1_b0_conv1
        told = told and bool(beside or same)
        for norm in [*beside, *same]:
            if norm.cout == conv.cin:
                raise RunError(
                    f"{norm.key} ({norm.cout}): a BN before {conv.key}, so this is a pre-activation net; degrade opens "
                    "nets with BN after each convolution (Sec. 3.4)"
                )
    return told or not norms


def pair_norms(
    convs: Sequence[ForeignLayer], norms: Sequence[ForeignLayer], sort: Callable[..., list[ForeignLayer]]
) -> NormByConv:
    """Finds the batch norm of each convolution. A file without batch norms is taken to have them folded in.

    In each parent module, those of one name go together (conv1 and bn1), else the k-th with the k-th. What is left over
    is paired by the numbers in the names, else the k-th with the k-th of all. `sort` puts layers into order.
    """
    groups: dict[str, tuple[list[ForeignLayer], list[ForeignLayer]]] = defaultdict(lambda: ([], []))
    for layer in [*convs, *norms]:
        groups[layer.parent][0 if layer.side else 1].append(layer)
    found = [_pair_up(*group, sort, _last_part) for group in groups.values()]
    odd = [group for group, pairs in zip(groups.values(), found, strict=True) if pairs is None]
    if odd and norms:
        left = [[layer for group in odd for layer in group[kind]] for kind in (0, 1)]
        rest = _pair_up(left[0], left[1], sort, numbers) or _pair_up(left[0], left[1], sort, lambda name: name)
        if rest is None:
            names = max(odd[0], key=len)[-1].key
            counted = f"{len(convs)} and {len(norms)} in all"
            raise RunError(f"{names}: convolutions and batch norms do not pair up here ({counted})")
        found.append(rest)
    pairs = [pair for each in found for pair in each or ()]
    for conv, norm in pairs:
        check_shape(norm, conv.weight.shape[:1], f"as many as {conv.key} puts out")
    return {conv.name: norm for conv, norm in pairs}


def _last_part(name: str) -> tuple[str, ...]:
    return strip_kinds(name.rpartition(".")[2])


def _pair_up(
    convs: Sequence[ForeignLayer],
    norms: Sequence[ForeignLayer],
    sort: Callable[..., list[ForeignLayer]],
    read: Callable[[str], object],
) -> _Pairs | None:
    """Pairs norms with all convolutions, or with the 3x3 ones: projections may have none. None: counts differ.

    `read` reads from a name what a convolution and its norm share.
    """
    threes = [conv for conv in convs if conv.side == 3]
    chosen = next((each for each in (convs, threes) if len(each) == len(norms)), None)
    if chosen is None:
        return None
    by_name = {read(norm.name): norm for norm in norms}
    named = [conv for conv in chosen if read(conv.name) in by_name]
    rest = [conv for conv in chosen if conv not in named]
    if (
        len(by_name) < len(norms)
        or len({read(conv.name) for conv in named}) < len(named)
        or any(c in rest for c in threes)
    ):
        return list(zip(sort(chosen), sort(norms), strict=True))
    pairs = [(conv, by_name[read(conv.name)]) for conv in named]
    taken = [norm.name for _, norm in pairs]  # what is left are projections, as downsample_0 and downsample_1
    return pairs + list(zip(sort(rest), sort([norm for norm in norms if norm.name not in taken]), strict=True))
