"""From a command line to runs: expands the axes and merges identical runs."""

import re
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from degrade import data
from degrade.errors import SpecError, nearest
from degrade.spec import DataSpec, RunSpec, parse
from degrade.spec.rules import convert
from degrade.spec.run import PARTS
from degrade.store.files import at_home
from degrade.sweep.compose import (
    MAX_COMBINATIONS,
    combine,
    compose_groups,
    configure,
    is_group,
    list_keys,
    list_options,
    parse_override,
    parse_overrides,
    start_hydra,
)
from degrade.views import terminal

_SWEEP_KEYS = ("jobs", "results")  # keys of the sweep itself


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the words that ask for it, and its spec."""

    overrides: tuple[str, ...]
    spec: RunSpec


@dataclass(frozen=True)
class Plan:
    """What a command line expands to: distinct runs, longest first."""

    asked: int  # combinations, before identical runs fell together
    jobs: tuple[Job, ...]
    config: DictConfig
    root: Path
    workers: int | None
    words: tuple[str, ...] = ()  # of the command line

    @property
    def unseen(self) -> tuple[RunSpec, ...]:
        """The specs whose pictures nobody has looked at: the hash in their names is not yet that of the runs."""
        return tuple(spec for spec in self.specs if not spec.data.content)

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(job.spec for job in self.jobs)


@contextmanager
def hydra() -> Generator[None]:
    """Initialises Hydra on conf/. Turns Hydra's errors into SpecErrors of one line."""
    try:
        with start_hydra():
            yield
    finally:
        _prepare.cache_clear()
        _recall.cache_clear()


def expand(
    overrides: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    axes_of_config: bool = True,
    look: bool = True,
    recall: bool = False,
) -> Plan:
    """Lists all runs of a sweep. Call it inside `hydra()`.

    The axes are the config's (`hydra.sweeper.params`, which a study sets); `overrides` replace them and add others.
    Several values of a group (study=fig1,fig6) give the union of their sweeps. `exclude`: conditions
    KEY=VALUE,KEY=VALUE; a combination for which all parts of a condition hold is left out. Without `look` nobody looks
    at the pictures, and the names of the specs are not yet the names of the runs. With `recall` it is so for pictures
    that would have to be fetched or decoded: their specs have no data.content.

    Raises SpecError for what cannot be parsed, unknown keys and groups, wrong types and values that break a rule. It
    does so before anything starts.
    """
    given = parse_overrides(overrides)
    _refuse_axes(given)
    groups = [o for o in given if is_group(o)]
    asked, found = 0, list[Job]()
    for chosen in combine(groups):
        config = compose_groups(chosen)
        axes = _read_axes(config) if axes_of_config else {}
        axes |= {o.key_or_group: o for o in given if not is_group(o)}
        for values in combine(list(axes.values())):
            if asked >= MAX_COMBINATIONS:
                raise SpecError(
                    f"{shlex.join(overrides)}: more than {MAX_COMBINATIONS:,} combinations; leave some values out"
                )
            job = Job(chosen + values, _describe(configure(chosen + values)))
            asked += 1
            found.append(job)
    found = _exclude(found, exclude)
    _refuse_root(given, found)
    jobs: dict[str, Job] = {}
    for job in found:  # looking at pictures may take long: it comes after every combination was found right
        spec = data.identify(job.spec, _recall if recall else _prepare) if look else job.spec
        jobs.setdefault(spec.run, replace(job, spec=spec))
    longest_first = sorted(jobs.values(), key=lambda job: -job.spec.cost)
    config = configure(longest_first[0].overrides, whole=True)
    workers = convert("jobs", config.jobs, int | None)
    if workers is not None and workers < 1:
        raise SpecError(f"jobs={workers}: must be at least 1, or null for one a core")
    return Plan(asked, tuple(longest_first), config, read_root(config), workers, tuple(overrides))


def read_root(config: DictConfig) -> Path:
    """Reads the results folder. Raises SpecError where it is empty or not a text."""
    root = at_home(convert("results", config.results, str))
    if not config.results.strip():
        raise SpecError("results=: must be a folder, as in results=results")
    return root


def _read_axes(config: DictConfig) -> dict[str, Override]:
    """Reads the axes of the configuration, by key. Raises SpecError for a key of Hydra's own."""
    params = OmegaConf.select(config, "hydra.sweeper.params")
    params = cast(dict[str, Any], OmegaConf.to_container(params)) if OmegaConf.is_dict(params) else {}
    if others := [key for key in params if str(key).startswith("hydra")]:
        raise SpecError(f"hydra.sweeper.params.{others[0]}: not an axis of runs; say it on the command line")
    return {key: parse_override(f"{key}={value}") for key, value in params.items()}


def _refuse_axes(given: Sequence[Override]) -> None:
    """Raises SpecError where the sweep's own keys, or Hydra's, are given several values."""
    for override in given:
        key = override.key_or_group
        if (key in _SWEEP_KEYS or re.match(r"hydra[./]", key)) and override.is_sweep_override():
            raise SpecError(f"{override.input_line}: a sweep has one {key}; put quotes around a comma")


def _refuse_root(given: Sequence[Override], jobs: Sequence[Job]) -> None:
    """Raises SpecError for a data.root that no dataset of the sweep has."""
    names = {job.spec.data.name for job in jobs}
    if not any(data.DATASETS[name].rooted for name in names if name in data.DATASETS):
        for override in (o for o in given if o.key_or_group == "data.root" and o.value() is not None):
            way = "leave data.root out, or say data=image_folder for a folder of pictures"
            raise SpecError(f"data.root={override.value()}: data={', '.join(sorted(names))} lies in no folder; {way}")


def _exclude(found: list[Job], exclude: Sequence[str]) -> list[Job]:
    """Drops the jobs that a condition is true of. Raises SpecError for a condition that drops none, or all."""
    left = found
    read = [(text, _parse_condition(text)) for text in exclude]  # every condition is read before one is used
    for text, pairs in read:
        left, before = [job for job in left if not _holds(pairs, job.spec)], left
        if len(left) in (0, len(before)):
            what = "leaves no run" if not left else "is true of no run"
            said = f"{what} of {len(found)} combinations; `degrade sweep --dry-run` lists them"
            raise SpecError(f"--exclude {text}: {said}")
    return left


def _parse_condition(text: str) -> dict[str, Any]:
    """`net=plain,depth=110` -> {"net": "plain", "depth": 110}. Raises SpecError for a bad key or value."""
    pairs: dict[str, Any] = {}
    for part in re.split(r",(?=[\w.]+=)", text):
        override = parse_override(part) if "=" in part else None
        if override is None or override.key_or_group not in _flatten(RunSpec()):
            key = part.partition("=")[0]
            raise SpecError(f"--exclude {text}: {part} is not KEY=VALUE; {nearest(key, _flatten(RunSpec()))}")
        pairs[override.key_or_group] = override.value()
    return pairs


def _holds(pairs: Mapping[str, Any], spec: RunSpec) -> bool:
    """Whether every value of a condition is the run's."""
    values = _flatten(spec)
    return all(values[key] == value for key, value in pairs.items())


def _flatten(spec: RunSpec) -> dict[str, Any]:
    """Maps each key of a run to its value, and data and recipe to their names."""
    tree = spec.tree()
    inner = {f"{part}.{key}": value for part in PARTS for key, value in tree[part].items()}
    return {k: v for k, v in tree.items() if k not in PARTS} | inner | {p: tree[p]["name"] for p in ("data", "recipe")}


def list_values(words: Sequence[str]) -> dict[str, Any]:
    """Composes what `words` say, and lists the value of every key; an axis shows its values as they were written."""
    overrides = parse_overrides(words)
    axes = {
        o.key_or_group: text.partition("=")[2]
        for o, text in zip(overrides, words, strict=True)
        if o.is_sweep_override()
    }
    config = configure(tuple(text for o, text in zip(overrides, words, strict=True) if not o.is_sweep_override()))
    return {key: OmegaConf.select(config, key) for key in list_keys(config)} | axes


def compose_spec(overrides: Sequence[str]) -> RunSpec:
    """Composes the run that a full list of overrides describes; every key has one value."""
    return to_spec(configure(tuple(overrides)))


def compose_data(overrides: Sequence[str]) -> tuple[DataSpec | None, bool]:
    """Composes and prepares the pictures that `data=... data.KEY=...` ask for; None where nothing is asked. The flag
    says whether data.normalize is among the keys. Training pictures may be missing (data.prepare_test). Call it inside
    `hydra()`. Raises SpecError for any other key, and for several values.
    """
    given = {o.key_or_group: o for o in parse_overrides(overrides)}
    for key, override in given.items():
        if key.partition(".")[0] != "data" or override.is_sweep_override():
            rule = "here only data=NAME and keys like data.root=... count, each with one value"
            raise SpecError(f"{override.input_line}: {rule}")
    if given and "data" not in given:
        raise SpecError(f"{overrides[0]}: of which data? say data=NAME too; known: {', '.join(list_options('data'))}")
    asked = _prepare_test(_describe(configure(tuple(overrides))).data) if given else None
    return asked, "data.normalize" in given


def change(spec: RunSpec, overrides: Sequence[str]) -> RunSpec:
    """Sets some keys of a run to other values, as in change(spec, ["depth=56", "recipe.iterations=900"]).

    Raises SpecError for what cannot be parsed, for an unknown key, a group (recipe=quickstart), several values of a
    key, or a value that breaks a rule.
    """
    tree: dict[str, Any] = spec.tree()
    known = [key for key in _flatten(spec) if key not in ("data", "recipe", "origin")]
    for text, override in zip(overrides, parse_overrides(overrides), strict=True):
        key = override.key_or_group
        if key not in known or override.is_add() or override.is_delete():
            raise SpecError(f"{text}: no such key of a run; {nearest(key, known)}")
        if override.is_sweep_override():
            raise SpecError(f"{text}: takes one value; call the command once for each")
        part, _, name = key.rpartition(".")
        (tree[part] if part in PARTS else tree)[name] = override.value()
    with_data = parse(tree)
    if with_data.data == spec.data:
        return with_data
    return data.identify(with_data, _prepare)


def to_spec(config: DictConfig) -> RunSpec:
    """Turns a composed tree into a run, whose pictures are prepared."""
    return data.identify(_describe(config), _prepare)


def _describe(config: DictConfig) -> RunSpec:
    """Turns a composed tree into a run, before anybody looks at its pictures."""
    kept = [str(key) for key in config if key not in (*_SWEEP_KEYS, "hydra")]
    return parse(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.masked_copy(config, kept), resolve=True)))


@lru_cache(maxsize=64)
def _prepare(wanted: DataSpec) -> DataSpec:
    """Fetches and decodes pictures that are not there yet, once for all runs of a command."""
    with terminal.bar() as note:
        return data.prepare(_make_absolute(wanted), note)


@lru_cache(maxsize=64)
def _recall(wanted: DataSpec) -> DataSpec:
    """The pictures as they are known here."""
    return data.recall(_make_absolute(wanted))


def _prepare_test(wanted: DataSpec) -> DataSpec:
    """As `_prepare`, of pictures to measure on."""
    with terminal.bar() as note:
        return data.prepare_test(_make_absolute(wanted), note)


def _make_absolute(wanted: DataSpec) -> DataSpec:
    """The spec with an absolute root, so that a rerun elsewhere finds it too."""
    return replace(wanted, root=None if wanted.root is None else str(at_home(wanted.root).absolute()))
