"""What the shell offers for a half-typed KEY=VALUE: keys, groups and values, also after a comma."""

from collections.abc import Sequence
from dataclasses import fields

from degrade.errors import DegradeError
from degrade.spec.parts import CHOICES, NORMALIZES
from degrade.spec.run import PARTS
from degrade.sweep import compose

_COMMON = {
    **{
        f"{part}.{f.name}": ("true", "false")
        for part, kind in PARTS.items()
        for f in fields(kind)
        if f.type in (bool, "bool")
    },
    "data.normalize": NORMALIZES,
    "recipe.bn_group": ("null", "64"),
    "engine.probe": ("0", "100", "1000"),
    "depth": ("8", "20", "32", "44", "56", "110"),
    "gate_bias": ("-4", "-2", "0"),
    "seed": ("0", "1", "2"),
    "width": ("16", "32", "64"),
}


def complete_override(incomplete: str, before: Sequence[str] = ()) -> list[str]:
    """Lists all continuations of `dep`, `net=`, `net=plain,res`; none where nothing is known.

    bash splits `net=plain,res` into three words and replaces only the last one. Then `before` ends in `net` (the sign
    itself comes as an empty word) or in `net` and `=`, and the continuations begin after the sign.
    """
    if len(before) > 1 and before[-1] == "=":
        return _complete_value(before[-2], incomplete)
    if incomplete == "" and before and "=" not in before[-1] and before[-2:-1] != ["="]:
        return _complete_value(before[-1], "")
    key, sign, typed = incomplete.partition("=")
    return [f"{key}={value}" for value in _complete_value(key, typed)] if sign else _complete_key(key)


def _complete_key(begin: str) -> list[str]:
    """`dep` -> `depth=`: keys and groups that begin so."""
    with compose.start_hydra():
        names = [*compose.GROUPS, *compose.list_keys(compose.compose_body(()))]
    return [f"{name}=" for name in dict.fromkeys(names) if name.startswith(begin)]


def _complete_value(key: str, typed: str) -> list[str]:
    """`plain,res` -> `plain,residual`: completes the last value; offers no value twice."""
    try:
        with compose.start_hydra():
            known = compose.list_options(key) if key in compose.GROUPS else CHOICES.get(key, _COMMON.get(key, ()))
    except DegradeError:
        return []
    before, comma, last = typed.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{value}" for value in known if value.startswith(last) and value not in taken]
