"""KEY=VALUE laid over a run that exists, rather than over the configuration."""

from collections.abc import Sequence
from typing import Any

from degrade.errors import SpecError, nearest
from degrade.spec import RunSpec, parse
from degrade.spec.run import PARTS
from degrade.sweep import compose, expand


def changed(spec: RunSpec, overrides: Sequence[str]) -> RunSpec:
    """The run with some keys set otherwise, as in changed(spec, ["depth=56", "recipe.iterations=900"]).

    Raises SpecError for what cannot be parsed, for an unknown key, a group (recipe=quickstart), several values of a
    key, or a value that breaks a rule.
    """
    tree: dict[str, Any] = spec.tree()
    known = [key for key in expand.flat(spec) if key not in ("data", "recipe", "origin")]
    for text in overrides:
        override = compose.parsed(text)
        key = override.key_or_group
        if key not in known or override.is_add() or override.is_delete():
            raise SpecError(f"{text}: no such key of a run; {nearest(key, known)}")
        if override.is_sweep_override():
            raise SpecError(f"{text}: takes one value; call the command once for each")
        part, _, name = key.rpartition(".")
        (tree[part] if part in PARTS else tree)[name] = override.value()
    with_data = parse(tree)
    return expand.identified(with_data) if with_data.data != spec.data else with_data
