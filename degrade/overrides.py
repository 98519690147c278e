"""KEY=VALUE for commands that look at what exists: laid over a run, or naming a dataset."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from degrade import sweep
from degrade.errors import SpecError, nearest
from degrade.spec import PARTS, RunSpec, parse

if TYPE_CHECKING:
    from degrade.evaluation import Asked


def changed(spec: RunSpec, overrides: Sequence[str]) -> RunSpec:
    """The run with some keys set otherwise, as in changed(spec, ["depth=56", "recipe.iterations=900"]).

    Raises SpecError for what cannot be parsed, for an unknown key, a group (recipe=quickstart), several values of a
    key, or a value that breaks a rule.
    """
    tree: dict[str, Any] = spec.tree()
    known = [key for key in sweep.flat(spec) if key not in ("data", "recipe", "origin")]
    for text in overrides:
        override = sweep.parsed(text)
        key = override.key_or_group
        if key not in known or override.is_add() or override.is_delete():
            raise SpecError(f"{text}: no such key of a run; {nearest(key, known)}")
        if override.is_sweep_override():
            raise SpecError(f"{text}: takes one value; call the command once for each")
        part, _, name = key.rpartition(".")
        (tree[part] if part in PARTS else tree)[name] = override.value()
    with_data = parse(tree)
    return sweep.identified(with_data) if with_data.data != spec.data else with_data


def asked(overrides: Sequence[str]) -> "Asked | None":
    """The dataset that data=... and data.KEY=VALUE name, fetched and decoded; None where nothing is named.

    Raises SpecError for other keys, several values, and where data=... itself is missing.
    """
    from degrade.evaluation import Asked  # loads torch

    if not overrides:
        return None
    with sweep.hydra():
        given = [sweep.parsed(text) for text in overrides]
        for override in given:
            if override.key_or_group != "data" and not override.key_or_group.startswith("data."):
                raise SpecError(
                    f"{override.input_line}: only the data can be chosen here, as in data=cifar10 data.root=..."
                )
            if override.is_sweep_override():
                raise SpecError(f"{override.input_line}: takes one value; call the command once for each")
        if "data" not in {override.key_or_group for override in given}:
            raise SpecError(f"{overrides[0]}: say the dataset too, as in data=image_folder data.root=photos")
        spec = sweep.described(sweep.configured(tuple(overrides)))
        return Asked(sweep.prepared(spec.data), "data.normalize" not in {o.key_or_group for o in given})
