"""Frozen dataclasses that check themselves: types, rules, errors of one line, and the values that enter a name."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from degrade.errors import SpecError, nearest
from degrade.spec.escape import SURROGATE

LIMIT = 2**63  # all integers are below it
LARGEST = 1e30  # of rates and biases: tensors of float32 hold it, with room for a few products
_PATHS = ("data.root", "data.test")  # names of folders need not be text
ASIDE = {"identity": False}  # marks a field that cannot change the result
LATER = {**ASIDE, "later": True}  # and that 0.1.0 lacks: at its default it is not stored, so that 0.1.0 opens the spec


class Checked:
    """Converts every field to its declared type. A subclass states its rules in `check`, by `demand` and `one_of`."""

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name, kind in field_types(type(self)).items():
            object.__setattr__(self, name, convert(self.prefix + name, getattr(self, name), kind))
        self.check()

    def check(self) -> None:
        """Raises SpecError where a value breaks a rule."""

    def demand(self, ok: bool, name: str, rule: str) -> None:
        """Raises SpecError, which names the field, its value and the rule, unless `ok`."""
        if not ok:
            raise SpecError(f"{self.prefix}{name}={show(getattr(self, name))}: {rule}")

    def one_of(self, name: str, known: tuple[str, ...]) -> None:
        """Raises SpecError, which names the nearest known value or all of them, unless the field has one of them."""
        value = getattr(self, name)
        if value not in known:
            self.demand(False, name, f"unknown; {nearest(value, known)}")


@cache
def field_types(of: type[Any]) -> dict[str, Any]:
    """name of a field -> its declared type."""
    return {name: kind for name, kind in get_type_hints(of).items() if get_origin(kind) is not ClassVar}


def build_spec(kind: type[Any], values: Any, extra: tuple[str, ...] = ()) -> Any:
    """A Checked dataclass from a group of keys. Raises SpecError for an unknown key; `extra` keys are suggested too."""
    if not isinstance(values, Mapping):
        raise SpecError(f"{kind.prefix.rstrip('.')}={show(values)}: must be a group of keys")
    known = [f.name for f in fields(kind)]
    for key in values:
        if key not in known:
            raise SpecError(f"{kind.prefix}{key}: no such key; {nearest(str(key), [*known, *extra])}")
    return kind(**values)


def convert(key: str, value: Any, kind: Any) -> Any:
    """The value as `kind`. Converts an integer to a float, a list to a tuple and a path to text, and nothing else.

    Raises SpecError for a value of another type.
    """
    if type(value) is kind and (kind is float or kind is bool or (kind is str and value.isascii())):
        return value  # nearly all values are, and thousands of runs have many
    if isinstance(kind, UnionType):
        *options, last = (k for k in get_args(kind) if k is not NoneType)
        if value is None and NoneType in get_args(kind):
            return None
        return convert(key, value, next((option for option in options if type(value) is option), last))
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise SpecError(f"{key}={show(value)}: must be a list, as in [0.5,0.75]")
        return tuple(convert(key, v, get_args(kind)[0]) for v in value)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= LIMIT:  # no counter of a run and no column of a table goes so far
            raise SpecError(f"{key}={value}: must be below 2**63")
        value = float(value) if kind is float else value
    if kind is str and key in _PATHS and isinstance(value, PurePath):
        value = str(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SpecError(f"{key}={show(value)}: must be {_TYPE_WORDS.get(kind, kind.__name__)}")
    if isinstance(value, str) and key not in _PATHS and SURROGATE.search(value):
        raise SpecError(
            f"{key}={value}: has half a character (a lone surrogate), which no table can hold; use other text"
        )
    return value


_TYPE_WORDS: dict[type, str] = {int: "an integer", float: "a number", str: "a word", bool: "true or false"}


def show(value: Any) -> str:
    """A value as a command line has it: null, true, [0.5,0.75]."""
    return (
        "null" if value is None else json.dumps(value) if isinstance(value, (bool, list, tuple, dict)) else str(value)
    )


def to_plain(spec: Any) -> dict[str, Any]:
    """The values of a spec by the name of the field, tuples as lists."""
    values = {f.name: getattr(spec, f.name) for f in fields(spec)}
    values = {f.name: values[f.name] for f in fields(spec) if "later" not in f.metadata or values[f.name] != f.default}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def identity_of(spec: Any) -> dict[str, Any]:
    """The values that can change the result and differ from a released default."""
    defining = [f for f in fields(spec) if f.metadata.get("identity", True)]
    assert all(f.default is not MISSING for f in defining)
    values = to_plain(spec)
    return {f.name: values[f.name] for f in defining if getattr(spec, f.name) != f.default}


def digest(identity: Any) -> str:
    """8 hexadecimal digits of the SHA-256 of the canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
