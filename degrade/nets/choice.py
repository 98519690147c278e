"""Chooses the state dict in what a file holds: the only one that is a net's, or the one that is asked for."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from degrade.errors import RunError

_SAVE = "save the tensors alone, by torch.save(net.state_dict(), 'weights.pt')"
# keys under which training scripts keep the one state dict that they save; another key is said
_USUAL = (
    "state_dict",
    "model_state_dict",
    "net_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "state",
)
_ASIDE = ("optim", "sched", "scaler", "momentum", "grad", "exp_avg")  # in keys of what is no net
_DEEPEST = 8  # wrappers around a state dict, at most: a file can hold a mapping that holds itself
_FEWEST = 7  # 3x3 convolutions of the smallest net


class Choice(NamedTuple):
    """A state dict in a file."""

    key: str  # the path to it, with dots; "" where it is the whole file
    tensors: dict[str, Tensor]
    unusual: bool = False  # its key is not one that says no more than "the net"


def choose(content: Any, key: str | None = None) -> Choice:
    """Chooses the state dict in what a file holds, under any wrappers. Two that are the same count as one.

    `key` names one, by its path with dots, or by the beginning of its names where several nets share a state dict.
    Raises RunError where there is none, or where several are left.
    """
    if not isinstance(content, Mapping):
        raise RunError(f"holds a {type(content).__name__}, no state dict; {_SAVE}")
    every = [part for each in _walk(content, "", 0) for part in _split(each)]
    nets = [each for each in every if _is_net(each.tensors)]
    if key is not None:
        return _pick(every, content, key)
    found = [each for place, each in enumerate(nets) if not any(_same(each, other) for other in nets[:place])]
    found = found or [each for each in every if not _is_aside(each.key)]
    if len(found) > 1:
        found.sort(key=lambda each: _USUAL.index(each.key) if each.key in _USUAL else len(_USUAL))
        listed = " and ".join(each.key or "the file itself" for each in found)
        raise RunError(f"holds several state dicts, {listed}; say which by --key, as in --key {found[-1].key}")
    if not found:
        raise RunError(f"holds no tensors with names; {_SAVE}")
    only = found[0]
    return only._replace(unusual=bool(only.key) and any(part not in _USUAL for part in only.key.split(".")))


def _walk(content: Mapping[Any, Any], path: str, depth: int) -> Iterator[Choice]:
    """Every mapping that holds tensors, the outer ones first. Raises RunError for a mapping in itself."""
    if depth > _DEEPEST:
        raise RunError(f"holds one mapping in another without end; {_SAVE}")
    tensors = {_make_printable(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if any(value.ndim for value in tensors.values()):
        yield Choice(path, tensors)
    for name, value in content.items():
        if isinstance(value, Mapping) and value is not content:
            yield from _walk(value, f"{path}.{_make_printable(name)}" if path else _make_printable(name), depth + 1)
        elif value is content:
            raise RunError(f"holds one mapping in another without end; {_SAVE}")


def _split(found: Choice) -> list[Choice]:
    """Splits a state dict that holds several nets side by side, as `student.` and `teacher.`, by these beginnings."""
    start = ""
    while True:
        heads: dict[str, dict[str, Tensor]] = {}
        for name, tensor in found.tensors.items():
            heads.setdefault(name[len(start) :].partition(".")[0], {})[name] = tensor
        if len(heads) != 1 or not any("." in name[len(start) :] for name in found.tensors):
            break
        start += f"{next(iter(heads))}."
    nets = {head: own for head, own in heads.items() if _is_net(own)}
    if len(nets) < 2:
        return [found]
    before = f"{found.key}." if found.key else ""
    return [Choice(f"{before}{start}{head}", own) for head, own in nets.items()]


def _pick(every: list[Choice], content: Mapping[Any, Any], key: str) -> Choice:
    """Picks the state dict of a key. Raises RunError, which lists the keys that there are."""
    for each in every:
        if each.key == key:
            return each
    for each in every:  # a net beside something else
        start = key.removeprefix(f"{each.key}.") if each.key else key
        own = {name: tensor for name, tensor in each.tensors.items() if name.startswith(f"{start}.")}
        if _is_net(own):
            return Choice(key, own)
    there = ", ".join(each.key for each in every if each.key) or ", ".join(map(_make_printable, content))
    raise RunError(f"--key={key}: no state dict there; there is {there[:200]}")


def _is_net(tensors: Mapping[str, Tensor]) -> bool:
    """Whether there are enough kernels for a net, and a matrix for its last layer."""
    ndims = [tensor.ndim for tensor in tensors.values()]
    return ndims.count(4) >= _FEWEST and 2 in ndims


def _is_aside(key: str) -> bool:
    return any(word in part for part in key.lower().split(".") for word in _ASIDE)


def _same(one: Choice, other: Choice) -> bool:
    """Whether two state dicts hold the same numbers in the same order, under whatever names."""
    return len(one.tensors) == len(other.tensors) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.is_meta == b.is_meta and torch.equal(a, b)
        for a, b in zip(one.tensors.values(), other.tensors.values(), strict=True)
    )


def _make_printable(name: Any) -> str:
    """Makes a name safe to show: control characters of a stranger's file must not reach the terminal."""
    return name if isinstance(name, str) and name.isprintable() else ascii(name)
