"""Where results come from: configurations and their differences, commands, versions and machines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.store.folder import RunDir
from degrade.store.private import shorten_command, shorten_places
from degrade.store.share import share_environment, share_spec
from degrade.views.sheets import Sheet

_VERSIONS = ("degrade", "commit", "python", "torch", "cuda", "numpy", "platform")
_MACHINE = ("processor", "device", "cpus", "kernels")


def configurations(specs: Sequence[RunSpec], *, private: bool) -> list[Sheet]:
    """All values of these runs: what they share, and those in which they differ."""
    trees = [dict(_flatten((spec if private else share_spec(spec)).tree())) for spec in specs]
    keys = list(dict.fromkeys(key for tree in trees for key in tree))
    values = {key: list(dict.fromkeys(tree.get(key, "") for tree in trees)) for key in keys}
    shared = [(key, each[0]) for key, each in values.items() if len(each) == 1]
    differing = [(key, ", ".join(each)) for key, each in values.items() if len(each) > 1]
    return [
        Sheet("in which the runs differ", ("key", "values"), differing),
        Sheet("the same in all runs", ("key", "value"), shared),
    ]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """recipe.lr, 0.1 and so on, as text."""
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "null" if value is None else str(value)))
    return found


def origins(folders: Sequence[RunDir], *, private: bool) -> list[Sheet]:
    """The commands that trained the runs, versions and machines, each with the number of runs."""
    said = [_read(folder, private=private) for folder in folders]
    commands = Counter(str(each["command"]) for each in said if each.get("command"))
    return [
        Sheet("commands", (">runs", "command"), [(str(count), command) for command, count in commands.most_common()]),
        _count("versions", said, _VERSIONS),
        _count("machines", said, _MACHINE),
    ]


def _read(folder: RunDir, *, private: bool) -> Mapping[str, Any]:
    """environment.json of a run; nothing where it cannot be read."""
    with suppress(RunError):
        known = folder.read(folder.environment)
        if private:
            return known
        shared = share_environment(known)
        command = shorten_command(str(shared.get("command", "")))
        return {**{key: _clean(value) for key, value in shared.items()}, "command": command}
    return {}


def _clean(value: Any) -> Any:
    return shorten_places(value) if isinstance(value, str) else value


def _count(title: str, said: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Sheet:
    """How many runs have each combination of values; without keys that no run has."""
    kept = [key for key in keys if any(each.get(key) for each in said)]
    rows = Counter(tuple(str(each.get(key) or "") for key in kept) for each in said if each)
    return Sheet(title, (">runs", *kept), [(str(count), *values) for values, count in rows.most_common()])
