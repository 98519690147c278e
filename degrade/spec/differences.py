"""In which values the runs of a list differ, for people: names of runs end in a hash, which says nothing."""

from collections.abc import Iterable, Mapping
from typing import Any

from degrade.spec.rules import to_plain
from degrade.spec.run import PARTS, RunSpec

_NAMED = {("net", key) for key in ("net", "shortcut", "depth", "width")}  # the name of a run says these

_CONTENT = ("data", "content")
_SHOWN = 4  # values of a run; two studies can differ in many


def tell_differences(specs: Iterable[RunSpec]) -> dict[str, str]:
    """Name of a run -> `recipe.lr=0.01 recipe.norm=none`: the values that define its result, that its name does not
    say, and that are not the same in all of these runs.
    """
    runs = {spec.run: spec for spec in specs}
    identities = [spec.identity for spec in runs.values()]
    keys = sorted({(part, key) for each in identities for part in each for key in each[part]} - _NAMED)
    values = {place: [_read(spec, *place) for spec in runs.values()] for place in keys}
    differing = {place: each for place, each in values.items() if len({*map(repr, each)}) > 1}
    if contents := differing.pop(_CONTENT, None):
        names = [spec.data.shown for spec in runs.values()]
        if len({*names}) == len({*contents}):
            differing[("data", "name")] = names
        elif not differing:  # digits say nothing beside words
            differing[_CONTENT] = contents
    shown = [[f"{_show_key(*place)}={_show(value)}" for value in each] for place, each in sorted(differing.items())]
    return {run: _join([each[number] for each in shown]) for number, run in enumerate(runs)}


def name_protocols(specs: Iterable[RunSpec], labels: Mapping[str, str]) -> dict[str, str]:
    """Protocol -> what people call its data (`labels`), and in what it differs from the other protocols."""
    first: dict[str, RunSpec] = {}
    for spec in specs:
        first.setdefault(spec.protocol, spec)
    differs = tell_differences(first.values())
    said = {name: [labels.get(name, ""), differs[spec.run]] for name, spec in first.items()}
    return {name: ", ".join(filter(None, words)) for name, words in said.items() if any(words)}


def _join(words: list[str]) -> str:
    """The first words of a list; how many others there are."""
    more = len(words) - _SHOWN
    return " ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _read(spec: RunSpec, part: str, key: str) -> Any:
    return to_plain(getattr(spec, part))[key]


def _show_key(part: str, key: str) -> str:
    """The key as it is typed: data=digits, pad=split, recipe.lr=0.1."""
    if key == "name":
        return part
    return f"{part}.{key}" if part in PARTS else key


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{','.join(map(_show, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
