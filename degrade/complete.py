"""What the shell offers for a half-typed KEY=VALUE: keys, groups, and values, also after a comma."""

from degrade import sweep
from degrade.errors import DegradeError
from degrade.spec import CHOICES

COMMON = {"depth": ("8", "20", "32", "44", "56", "110"), "seed": ("0", "1", "2"), "width": ("16", "32", "64")}


def overrides(incomplete: str) -> list[str]:
    """All continuations of `dep`, `net=`, `net=plain,res`; none where nothing can be said."""
    key, sign, typed = incomplete.partition("=")
    try:
        with sweep.hydra():
            if not sign:
                names = [*sweep.GROUPS, *sweep.keys(sweep.body(()))]
                return [f"{name}=" for name in dict.fromkeys(names) if name.startswith(key)]
            known = sweep.options(key) if key in sweep.GROUPS else CHOICES.get(key, COMMON.get(key, ()))
    except DegradeError:
        return []
    before, comma, last = typed.rpartition(",")
    taken = before.split(",")
    return [f"{key}={before}{comma}{value}" for value in known if value.startswith(last) and value not in taken]
