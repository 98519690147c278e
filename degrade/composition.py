"""Hydra's side of a command line: words are parsed, groups found in conf/, trees composed. No code is named there.

Hydra is used by its Compose API: `hydra.main` does not start on Python 3.14.
"""

import re
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

GROUPS = ("data", "recipe", "engine", "study")  # folders of conf/
MOST = 100_000  # combinations of a sweep
PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # the only code a configuration can name


@contextmanager
def initialised() -> Generator[None]:
    """Hydra, initialised on conf/; its complaints become SpecErrors of one line."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name="degrade", version_base="1.3"):
            yield
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError(line_of(error)) from None
    finally:
        for cached in (composed, body, options):
            cached.cache_clear()


def line_of(error: Exception) -> str:
    """One line, with the key that it is about where that is known, and the reason where that is the second."""
    said, *more = str(error).strip().splitlines() or [type(error).__name__]
    said = f"{said} {more[0].strip()}" if said.endswith(":") and more else said
    key = getattr(error, "full_key", None)
    return f"{key}: {said}" if key and not said.startswith(str(key)) else said


def conf_dir() -> Path:
    """conf/ inside the installed package, else beside it in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def configured(overrides: tuple[str, ...], *, whole: bool = False) -> DictConfig:
    """The composed tree with every key of `overrides` set; `whole`: with the hydra node.

    Groups are composed once and values set on a copy: 1 ms a run, where Hydra takes 40.
    """
    each = [parsed(text) for text in overrides]
    groups = tuple(text for text, o in zip(overrides, each, strict=True) if is_group(o))
    config = (composed if whole else body)(groups).copy()
    for override in (o for o in each if not is_group(o)):
        key = override.key_or_group
        if override.is_add() or override.is_delete() or key not in keys(config):
            raise SpecError(f"{override.input_line}: no such key; {nearest(key, [*keys(config), *GROUPS])}")
        OmegaConf.update(config, key, override.value())
    return config


@lru_cache(maxsize=64)
def composed(groups: tuple[str, ...]) -> DictConfig:
    try:
        config = compose("config", overrides=list(groups), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # of hydra.* keys that Hydra itself does not look at before it uses them
        raise SpecError(f"{' '.join(groups)}: Hydra refuses that ({one_line(error)})") from error
    for place, target in targets(OmegaConf.to_container(config)):
        if not (place.startswith("hydra.") and str(target).startswith(PLUGINS)):
            raise SpecError(f"{place}._target_={target}: configurations name no code to run; only Hydra's plugins are")
    for part in ("launcher", "sweeper"):
        if not OmegaConf.is_dict(config.hydra[part]):
            raise SpecError(
                f"hydra.{part}={config.hydra[part]}: must be a group of keys; pick one by hydra/{part}=NAME"
            )
    built = OmegaConf.to_yaml(OmegaConf.masked_copy(config.hydra, ["launcher", "sweeper", "callbacks"]))
    if re.search(r"\$\{(?!hydra[.:])", built):  # ${oc.create:...} is text until a launcher is made
        raise SpecError("hydra.launcher: its values may point to ${hydra.KEY} alone; there is another ${")
    return config


def targets(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(where, what) of each `_target_`: Hydra would import it and call it, at any depth."""
    if isinstance(node, dict):
        inner = cast(dict[Any, Any], node)
        yield from [(place, inner["_target_"])] if "_target_" in inner else []
        for key, value in inner.items():
            yield from targets(value, f"{place}.{key}".lstrip("."))
    elif isinstance(node, list):
        for value in cast(list[Any], node):
            yield from targets(value, place)


@lru_cache(maxsize=64)
def body(groups: tuple[str, ...]) -> DictConfig:
    """What is composed, without the hydra node."""
    config = composed(groups)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def keys(config: DictConfig) -> list[str]:
    """Every key that has a value: depth, recipe.lr, ..."""
    tree = cast(dict[str, Any], OmegaConf.to_container(config))
    parts = {key: list(cast(dict[str, Any], value)) for key, value in tree.items() if isinstance(value, dict)}
    return [*(key for key in tree if key not in parts), *(f"{part}.{key}" for part in parts for key in parts[part])]


@lru_cache(maxsize=1024)
def parsed(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):  # Hydra lets through what int() says of 5,000 digits
        rule = "write key=value or key=a,b,c" if "=" not in text else "put quotes around what is no plain word or list"
        raise SpecError(f"{text}: cannot be parsed; {rule}") from None


@lru_cache(maxsize=64)
def options(group: str) -> tuple[str, ...]:
    """The files of conf/<group>/; none where there is no such folder."""
    return tuple(config_loader().get_group_options(group, ObjectType.CONFIG))


def is_group(override: Override) -> bool:
    """Whether it picks a file of conf/ (data=digits) or speaks to Hydra itself, rather than setting a key."""
    name = override.key_or_group
    if name == "hydra.searchpath":  # a pkg:// there is imported
        raise SpecError(f"{override.input_line}: configurations come from conf/ alone, and from Hydra plugins")
    if name.startswith("hydra."):
        return True
    if "." in name or not options(name):
        return False
    if override.is_add() or override.is_delete():
        raise SpecError(f"{override.input_line}: write {name}=... without a sign")
    for value in values_of(override):
        if value not in options(name):
            raise SpecError(f"{name}={value}: unknown; {nearest(value, options(name))}")
    return True


def values_of(override: Override) -> Iterator[str]:
    """The values of an axis, as they would stand on a command line; one if it is no axis.

    Raises SpecError for a range without steps, and the like.
    """
    if not override.is_sweep_override():
        yield override.get_value_element_as_str()
        return
    try:
        yield from override.sweep_string_iterator()
    except (HydraException, ValueError, TypeError) as error:
        raise SpecError(f"{override.input_line}: is no list of values ({error})") from None


def combinations(axes: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Every choice of one value from each axis, the last one turning fastest, as key=value.

    Of an axis no more values are read than a sweep can have.
    """
    yield from product(*([f"{o.get_key_element()}={v}" for v in islice(values_of(o), MOST + 1)] for o in axes))


def config_loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()
