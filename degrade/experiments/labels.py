"""Labels that tell nets apart in tables and legends, as short as can be, and never with a whole path."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace

from degrade.experiments.checkpoints import Trained

_LONGEST = 60  # characters of a label in the name of a file


def tell_apart(opened: Sequence[Trained]) -> list[Trained]:
    """The same nets with labels that tell them apart: runs by hash and iteration, files by folders, else by hints.

    A net that is there twice keeps one label.
    """
    groups: dict[str, list[Trained]] = defaultdict(list)
    for net in opened:
        groups[net.label].append(net)
    labels = {identity: label for group in groups.values() for identity, label in _label_group(group).items()}
    return [replace(net, label=labels[_identify(net)]) for net in opened]


def name_file(nets: Sequence[Trained]) -> str:
    """A part of a file's name for figures of these nets alone: their labels, or the first of many with a digest."""
    labels = list(dict.fromkeys(net.label for net in nets))
    whole = "+".join(re.sub(r"[^\w.@-]+", "-", label).strip("-.") for label in labels)
    digest = hashlib.sha256(repr([(net.label, net.weights, net.iteration) for net in nets]).encode()).hexdigest()[:6]
    return whole if 0 < len(whole) <= _LONGEST else f"{whole[:_LONGEST]}+{digest}"


def _identify(net: Trained) -> Hashable:
    return net.label, net.source and net.source.resolve(), net.iteration, net.weights, str(net.hints)


def _label_group(group: Sequence[Trained]) -> dict[Hashable, str]:
    """identity -> label, for nets of one label."""
    distinct = {_identify(net): net for net in group}
    if len(distinct) == 1:
        return {identity: net.label for identity, net in distinct.items()}
    tried = dict[Hashable, str]()
    for name in _list_namings(group):
        tried = {identity: name(net) for identity, net in distinct.items()}
        if len(set(tried.values())) == len(distinct):
            break
    return tried


def _list_namings(group: Sequence[Trained]) -> Iterator[Callable[[Trained], str]]:
    """The ways to name nets of one label, the shortest first."""
    if all(net.run for net in group):
        yield lambda net: net.run.run if net.run else net.label
        yield lambda net: f"{net.run.run if net.run else net.label}@{net.iteration}"
    longest = max(len(_parts(net)) for net in group)
    for count in range(1, longest + 1):
        yield lambda net, count=count: "/".join([*_parts(net)[-count:-1], net.label])
        yield lambda net, count=count: "/".join(_parts(net)[-count:])
    yield lambda net: f"{net.label} ({net.hints})"
    yield lambda net: f"{'/'.join(_parts(net)[-longest:])} ({net.hints})"


def _parts(net: Trained) -> tuple[str, ...]:
    """The parts of a net's path below the root: of its file, or of its run's folder."""
    place = net.folder.path if net.folder else net.source
    return tuple(part for part in place.resolve().parts if part != place.resolve().anchor) if place else (net.label,)
