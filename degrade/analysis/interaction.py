"""The interaction of depth and net, the paper's claim in one number: how much more depth costs a plain net."""

from collections.abc import Collection, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from degrade.analysis.lines import groups_of, list_warmed
from degrade.analysis.pairs import Group
from degrade.analysis.stats import contrast
from degrade.spec import RunSpec

INTERACTION = {
    "protocol": "groups that may be compared",
    "base": "the plain nets: plain, plain-w32",
    "line": "the nets set against them: residual-A",
    "shallow": "the shallowest depth that both lines have",
    "deep": "the deepest",
    "plain": "clean training error of the deep plain net less that of the shallow one, points",
    "other": "the same of the line, points",
    "interaction": "the first less the second, points: how much more depth costs a plain net; missing where `unjudged`",
    "low": "lower end of its 95 % interval, points",
    "high": "its upper end, points",
    "basis": "seeds | images: some group has a single run, which says nothing about seeds",
    "runs": "of the group that has the fewest",
    "unjudged": "the nets whose runs all failed to train, where that leaves no number; else nothing",
    "failed": "runs of the four groups that failed to train",
    "warmed": "which of the four nets warm up, where not all or none of them do: depth and schedule are mixed then",
}


def interaction(ends: pd.DataFrame, failed: Collection[str], specs: Mapping[str, RunSpec]) -> pd.DataFrame:
    """(plain deep - plain shallow) - (other deep - other shallow) of training errors: the columns of INTERACTION.

    Above 0, depth costs the plain net more than the other net. Each line that shares two depths with the plain nets of
    its protocol and width has a row. There is no number if all runs of a shallow net failed to train, or all runs of
    both deep ones: errors at chance have nowhere to rise.
    """
    drawn = ends[ends.origin == ""]
    rows: list[dict[str, Any]] = []
    for (protocol, _), own in drawn.groupby(["protocol", "width"]):
        lines = {
            str(line): ({group.depth: group for group in groups_of(each, failed)}, each)
            for line, each in own.groupby("line")
        }
        plain = [line for line, (_, each) in lines.items() if each.net.iloc[0] == "plain"]
        for base, line in product(plain, [line for line in lines if line not in plain]):
            if len(shared := sorted({*lines[base][0]} & {*lines[line][0]})) > 1:
                depths = (shared[0], shared[-1])
                four = {(name, depth): lines[name][0][depth] for name in (base, line) for depth in depths}
                used = own[own.line.isin([base, line]) & own.depth.isin(depths)]
                found = _contrast(four, base, line, *depths)
                rows.append({"protocol": protocol, "base": base, "line": line, "warmed": _warmed(used, specs), **found})
    return pd.DataFrame(rows, columns=list(INTERACTION))


def _contrast(four: Mapping[tuple[str, int], Group], base: str, line: str, shallow: int, deep: int) -> dict[str, Any]:
    order = [(base, deep), (base, shallow), (line, deep), (line, shallow)]
    groups = [four[key] for key in order]
    found = contrast([group.trained["points"] for group in groups], [1, -1, -1, 1])
    rises = [float(groups[i].clean.mean() - groups[i + 1].clean.mean()) for i in (0, 2)]
    hopeless = [key for key in order if four[key].hopeless]
    ceiling = any(depth == shallow for _, depth in hopeless) or len(hopeless) > 1
    numbers = [np.nan] * 3 if ceiling else [float(each) for each in (found.difference, found.low, found.high)]
    return {
        "shallow": shallow,
        "deep": deep,
        "plain": rises[0],
        "other": rises[1],
        **dict(zip(("interaction", "low", "high"), numbers, strict=True)),
        "basis": "images" if any(group.runs == 1 for group in groups) else "seeds",
        "runs": min(group.runs for group in groups),
        "unjudged": ", ".join(f"{name}-{depth}" for name, depth in hopeless) if ceiling else "",
        "failed": sum(group.failures for group in groups),
    }


def _warmed(ends: pd.DataFrame, specs: Mapping[str, RunSpec]) -> str:
    """The nets of these runs that warm up, or "" if all do, or none does."""
    if not list_warmed(ends, specs):
        return ""
    warmed = {spec.name for spec in map(specs.__getitem__, ends.run.unique()) if spec.recipe.warms_up(spec.net)}
    return ", ".join(sorted(warmed))
