"""Turns a Fit's state into bytes and back. The bytes are a file that `torch.load` can open, then a checksum."""

import io
import math
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from degrade.errors import NewerError, RunError
from degrade.nets.archive import rewrite
from degrade.spec.rules import LIMIT, field_types
from degrade.store import seal
from degrade.store.state import UNMARKED_LAYOUT
from degrade.train.layout import check_layout

_T = TypeVar("_T")

_NUMBERS = (int, float)
_LATER = ("spec", "probes", "layout", "machines")  # keys that checkpoints of an older degrade may lack
_ROW_LISTS = ("points", "warmup")  # lists that `parse_rows` checks


def pack(state: Mapping[str, Any]) -> bytes:
    """Turns a state into the bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(_make_nans_equal(dict(state)), buffer)
    return seal.to_end(buffer.getvalue())


def _make_nans_equal(value: Any) -> Any:
    """The same with one kind of NaN: there are many, and which one a run ends with depends on the processor."""
    if isinstance(value, Tensor):
        plain = value.is_floating_point() and value.layout == torch.strided and not value.is_meta
        return value.masked_fill(value.isnan(), math.nan) if plain and bool(value.isnan().any()) else value
    if isinstance(value, float) and math.isnan(value):
        return math.nan
    if isinstance(value, dict):
        return {key: _make_nans_equal(each) for key, each in value.items()}
    return [_make_nans_equal(each) for each in value] if isinstance(value, list) else value


def unpack(content: bytes) -> dict[str, Any]:
    """Turns bytes of `pack` back into a state of tensors and plain values; nothing in them is run.

    Raises RunError, with the reason alone, for bytes that `pack` did not make.
    """
    try:
        body = seal.of_end(content)
    except ValueError as error:
        raise RunError(str(error)) from None
    archive = rewrite(body)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these are about sparse and quantised tensors; what matters is raised
            state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common type for what it refuses
        raise RunError(
            f"torch refuses it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None
    if not isinstance(state, dict):
        raise RunError(f"holds a {type(state).__name__}, not a training")
    return state


def _find_difference(value: Any, known: Any, place: str) -> str:
    """Tells where a value differs in kind from a known value: names, lengths, shapes, types; "" where it does not.

    An integer passes for a float.
    """
    if isinstance(known, Tensor):
        fine = isinstance(value, Tensor) and (value.shape, value.dtype) == (known.shape, known.dtype)
        fine = fine and value.layout == torch.strided and value.device.type == "cpu"  # a meta tensor holds nothing
        return "" if fine else f"{place} is no tensor of shape {tuple(known.shape)}, {known.dtype}"
    if isinstance(known, dict | list):
        if type(value) is not type(known) or _part_names(value) != _part_names(known):
            return f"{place} has other parts"
        parts = (_find_difference(value[name], known[name], f"{place}[{name}]") for name in _part_names(known))
        return next(filter(None, parts), "")
    fine = type(value) is type(known) or (type(known) is float and type(value) is int)
    return "" if fine else f"{place} is a {type(value).__name__}"


def _part_names(parts: Any) -> list[Any]:
    return list(parts) if isinstance(parts, dict) else list(range(len(parts)))


def parse_rows(kind: type[_T], values: Any, place: str) -> list[_T]:
    """Makes dataclasses from lists of their values. Raises RunError where the values have other types."""
    wanted = [_NUMBERS if each is float else each for each in field_types(kind).values()]
    for row in values if isinstance(values, list) else [None]:
        if not (isinstance(row, list) and len(row) == len(wanted) and all(map(isinstance, row, wanted))):
            raise RunError(f"{place}: does not hold rows of the {len(wanted)} values of a {kind.__name__}")
    return [kind(*row) for row in values]


def read_probe(state: Mapping[str, Any]) -> int:
    """The engine.probe of a training that has begun; 0 in checkpoints of a degrade that had none."""
    tree = state.get("spec", {})
    probe = tree.get("engine", {}).get("probe", 0) if isinstance(tree, dict) else None
    if type(probe) is not int or not 0 <= probe < LIMIT:
        raise RunError(f"its engine.probe cannot be {probe!r}")
    return probe


def check(state: Mapping[str, Any], known: Mapping[str, Any], iterations: int) -> None:
    """Checks that a Fit whose state is `known` can go back to `state`; its schedule has so many `iterations`.

    Raises NewerError for a state of a newer degrade, and RunError for any other state that does not fit.
    """
    format, run = state.get("format"), known["run"]
    if type(format) is int and format > known["format"]:
        raise NewerError(f"{run}: its checkpoint is of a newer degrade; update degrade to go on with it")
    if format != known["format"]:
        raise RunError(f"is of format {format!r}, which this degrade does not know")
    if state.get("run") != run:
        raise RunError(f"is a checkpoint of {state.get('run')}, not of {run}; they are different runs")
    wanted = {key: value for key, value in known.items() if key not in (*_LATER, *_ROW_LISTS)}
    if said := _find_difference({key: state[key] for key in wanted if key in state}, wanted, "state"):
        raise RunError(f"{said}: no training of {run}")
    check_layout(state.get("layout", UNMARKED_LAYOUT))
    for key, first, last in (("iteration", 0, iterations), ("threads", 1, LIMIT)):
        if not first <= state[key] <= last:
            raise RunError(f"its {key} cannot be {state[key]}")
