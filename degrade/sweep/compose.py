"""Hydra's side of a command line: parses words, finds groups in conf/, composes trees. A tree names no code to run.

This module uses Hydra's Compose API, since `hydra.main` does not start on Python 3.14.
"""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degrade.errors import SpecError, nearest, one_line
from degrade.sweep.words import quote_word, refuse_spaces

GROUPS = ("data", "recipe", "engine", "study")  # folders of conf/
MAX_COMBINATIONS = 100_000  # combinations that a sweep can have
_STUDY_AXES = ("hydra.sweeper.params",)  # what a study may set of Hydra
_START_RECORDS = (
    "hydra.overrides.",
    "hydra.runtime.",
    "hydra.job.override_dirname",
)  # what Hydra records about its own start
_LOGGING = ("hydra.job_logging", "hydra.hydra_logging")


@contextmanager
def start_hydra() -> Generator[None]:
    """Initialises Hydra on conf/. Turns Hydra's errors into SpecErrors of one line."""
    GlobalHydra.instance().clear()
    _forget_other(conf_dir())
    try:
        with initialize_config_dir(str(conf_dir()), job_name="degrade", version_base="1.3"):
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError(_describe_error(error)) from None


_KNOWN = {"conf": ""}  # digest of the conf/ whose compositions the caches below hold


def _forget_other(folder: Path) -> None:
    """Clears the caches where they hold compositions of another conf/, or of other files in it."""
    total = hashlib.sha256(str(folder).encode())
    for path in sorted(folder.rglob("*.yaml")):
        total.update(str(path).encode())
        total.update(path.read_bytes())
    if total.hexdigest() != _KNOWN["conf"]:
        for cached in (compose_groups, compose_body, list_options, _compose_places):
            cached.cache_clear()
        _KNOWN["conf"] = total.hexdigest()


_MERGING = "Error merging override "  # then key=value; the reason is another error


def _describe_error(error: Exception) -> str:
    """Puts an error into one line: its key where that is known, and the reason where that stands on a second line."""
    said, *more = str(error).strip().splitlines() or [type(error).__name__]
    said = f"{said} {more[0].strip()}" if said.endswith(":") and more else said
    if said.startswith(_MERGING) and error.__cause__:
        reason, *_ = str(error.__cause__).strip().splitlines() or [type(error.__cause__).__name__]
        return f"{said.removeprefix(_MERGING)}: {reason}"
    key = getattr(error, "full_key", None)
    return f"{key}: {said}" if key and not said.startswith(str(key)) else said


def conf_dir() -> Path:
    """conf/ inside the installed package, else beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def configure(overrides: tuple[str, ...], *, whole: bool = False) -> DictConfig:
    """Composes a tree and sets every key of `overrides`; `whole`: with the hydra node.

    Groups are composed once, and values are set on a copy: 1 ms a run, where Hydra takes 40.
    """
    each = [parse_override(text) for text in overrides]
    groups = tuple(text for text, o in zip(overrides, each, strict=True) if is_group(o))
    config = (compose_groups if whole else compose_body)(groups).copy()
    for override in (o for o in each if not is_group(o)):
        key = override.key_or_group
        if override.is_add() or override.is_delete() or key not in list_keys(config):
            raise SpecError(f"{override.input_line}: no such key; {nearest(key, [*list_keys(config), *GROUPS])}")
        OmegaConf.update(config, key, override.value())
    return config


@lru_cache(maxsize=64)
def compose_groups(groups: tuple[str, ...]) -> DictConfig:
    """Composes the tree of these groups and hydra.* keys. Raises SpecError where the tree names code to run."""
    config = _call_hydra(groups)
    tree = cast(dict[str, Any], OmegaConf.to_container(config))
    ours = {key: value for key, value in tree.items() if key != "hydra"}
    named = [(place, value) for place, value in walk_leaves(ours) if place.rpartition(".")[2] == "_target_"]
    for place, value in (*named, *_find_changes(config, groups)):
        if place.endswith("._target_"):
            raise SpecError(f"{place}={value}: configurations name no code to run; only Hydra's plugins run code")
        if "${" in str(value):  # a text until a launcher is made, then whatever it resolves to
            raise SpecError(f"{place}={value}: Hydra resolves ${{...}} into what it runs; write the value itself")
        if place.startswith(_LOGGING):
            raise SpecError(f"{place}={value}: the set-up of logging names code to run; leave it out")
    for part in ("launcher", "sweeper"):
        if not OmegaConf.is_dict(config.hydra[part]):
            raise SpecError(f"hydra.{part}={config.hydra[part]}: must be a group; pick one by hydra/{part}=NAME")
    return config


def _call_hydra(groups: Sequence[str]) -> DictConfig:
    """Has Hydra compose groups and hydra.* keys."""
    try:
        return compose("config", overrides=list(groups), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        _refuse_unknown(groups)
        raise
    except Exception as error:  # from hydra.* keys that Hydra uses without checking them first
        raise SpecError(f"{' '.join(groups)}: Hydra refuses that ({one_line(error)})") from error


def _refuse_unknown(groups: Sequence[str]) -> None:
    """Raises SpecError for a hydra.* key that does not exist. Hydra says neither its value nor the known keys."""
    each = {text: parse_override(text) for text in groups}
    added = {text for text, o in each.items() if o.is_add() or o.is_force_add()}
    asked = [text for text, o in each.items() if o.key_or_group.startswith("hydra.") and text not in added]
    if not asked:
        return
    config = compose("config", overrides=[text for text in each if text not in asked], return_hydra_config=True)
    for text in asked:
        place, *names = each[text].key_or_group.split(".")
        node = cast(dict[str, Any], OmegaConf.to_container(config.hydra))
        while names and isinstance(node.get(names[0]), dict):
            node, place = node[names[0]], f"{place}.{names.pop(0)}"
        known = [key for key in node if key != "_target_"]
        if names and ".".join(names) not in node:
            way = nearest(".".join(names), known) if known else "it has none: leave it out"
            raise SpecError(f"{text}: no such key of {place}; {way}")


def _find_changes(config: DictConfig, groups: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Finds what Hydra is told beyond config.yaml and the chosen plugins, as (place, value).

    Raises SpecError for what a file tells Hydra: files may come from strangers, so they can only set axes.
    """
    chosen = {name: pick for name, pick in config.hydra.runtime.choices.items() if str(name).startswith("hydra/")}
    for name, pick in chosen.items():
        if pick is not None and pick not in list_options(str(name)):
            raise SpecError(f"{name}={pick}: unknown; {nearest(str(pick), list_options(str(name)))}")
    if (conf_dir() / "hydra").exists():
        raise SpecError(f"{conf_dir() / 'hydra'}: only Hydra's plugins tell Hydra what to run; remove it")
    known = _compose_places(tuple(f"{name}={pick}" for name, pick in chosen.items() if pick is not None))
    here, picked = (
        _list_places(config),
        tuple(text for text in groups if not parse_override(text).key_or_group.startswith("hydra.")),
    )
    found = [(place, value) for place, value in here.items() if known.get(place, ...) != value]
    by_file = here if picked == groups else _compose_places(picked)
    for place, value in found:
        if by_file.get(place, ...) == value and not place.startswith((*_STUDY_AXES, *_START_RECORDS)):
            raise SpecError(f"{place}={value}: set in conf/; say it on the command line")
    return found


@lru_cache(maxsize=64)
def _compose_places(groups: tuple[str, ...]) -> dict[str, Any]:
    """Lists the places that Hydra composes from these groups."""
    return _list_places(_call_hydra(groups))


def _list_places(config: DictConfig) -> dict[str, Any]:
    """Maps each leaf of the hydra node: place -> value."""
    return dict(walk_leaves({"hydra": OmegaConf.to_container(config.hydra)}))


def walk_leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (place, value) for each leaf of a tree; an empty branch is a leaf."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        inner = list(cast(dict[Any, Any], node).items())
    elif isinstance(node, list):
        inner = list(enumerate(cast(list[Any], node)))
    for key, value in inner:
        yield from walk_leaves(value, f"{place}.{key}".lstrip("."))
    if not inner:
        yield place, node


@lru_cache(maxsize=64)
def compose_body(groups: tuple[str, ...]) -> DictConfig:
    """Composes the tree without the hydra node."""
    config = compose_groups(groups)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def list_keys(config: DictConfig) -> list[str]:
    """Lists every key that has a value: depth, recipe.lr, ..."""
    tree = cast(dict[str, Any], OmegaConf.to_container(config))
    parts = {key: list(cast(dict[str, Any], value)) for key, value in tree.items() if isinstance(value, dict)}
    return [*(key for key in tree if key not in parts), *(f"{part}.{key}" for part in parts for key in parts[part])]


def parse_override(text: str) -> Override:
    """Parses KEY=VALUE or KEY=A,B,C; paths and free texts stand as they are. Raises SpecError for anything else."""
    try:
        return _parse(quote_word(text))
    except (HydraException, ValueError, RecursionError):  # ValueError: Hydra passes on int() of 5,000 digits
        quotes = "put quotes around the value if it is not a plain word or list"
        rule = quotes if "=" in text else "write key=value or key=a,b,c"
        if text.endswith(","):
            rule = "a comma needs a value on both sides, and no space after it, as in depth=20,56"
        raise SpecError(f"{text}: cannot be parsed; {rule}") from None


@lru_cache(maxsize=1024)
def _parse(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Parses the words of a command line. Raises SpecError as `parse_override`, and for a key that is given twice."""
    known: dict[str, str] = {}
    refuse_spaces(words)
    found = [parse_override(text) for text in words]
    for text in words:
        key = text.partition("=")[0]
        if key in known:
            raise SpecError(f"{known[key]} {text}: {key} is given twice; leave one out, or write {key}=A,B for both")
        known[key] = text
    return found


@lru_cache(maxsize=64)
def list_options(group: str) -> tuple[str, ...]:
    """Lists the files of conf/<group>/; nothing where there is no such folder."""
    return tuple(config_loader().get_group_options(group, ObjectType.CONFIG))


def is_group(override: Override) -> bool:
    """Whether an override picks a file of conf/ (data=digits) or speaks to Hydra itself, rather than setting a key."""
    name = override.key_or_group
    if name == "hydra.searchpath":  # Hydra would import a pkg:// named there
        raise SpecError(f"{override.input_line}: configurations come from conf/ alone, and from Hydra plugins")
    if name.startswith("hydra."):
        return True
    if "." in name or not list_options(name):
        return False
    if override.is_add() or override.is_delete():
        raise SpecError(f"{override.input_line}: write {name}=... without a sign")
    for value in _read_values(override):
        if value not in list_options(name):
            raise SpecError(f"{name}={value}: unknown; {nearest(value, list_options(name))}")
    return True


def _read_values(override: Override) -> Iterator[str]:
    """Yields the values of an axis as they would stand on a command line; one value if it is not an axis.

    Raises SpecError for a bad list, such as a range without steps.
    """
    if not override.is_sweep_override():
        yield override.get_value_element_as_str()
        return
    try:
        yield from override.sweep_string_iterator()
    except (HydraException, ValueError, TypeError) as error:
        raise SpecError(f"{override.input_line}: is not a list of values ({error})") from None


def combine(axes: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Yields every choice of one value from each axis as key=value; the last axis turns fastest.

    Reads no more values of an axis than a sweep can have combinations.
    """
    yield from product(
        *([f"{o.get_key_element()}={v}" for v in islice(_read_values(o), MAX_COMBINATIONS + 1)] for o in axes)
    )


def config_loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()
