"""The solution by construction (Sec. 1) in one row: where a constructed net begins, where training takes it, and where
nets from random weights end, after as many steps as its own training and after as many as were spent on it in all.

Pure functions frame -> frame.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from degrade.analysis.outcomes import GROUP, GROUP_KEYS, GROUP_ORDER
from degrade.spec import RunSpec

COMPARED = ("train_clean", "test")  # the splits that have an error before the first step
_FIRST = {  # column -> whose errors
    "source": "the runs that were copied, at the iteration that was copied",
    "start": "the constructed nets before their first step",
    "trained": "the constructed nets at the last iterate; NaN where none was trained on",
    "scratch": "nets of the constructed depth from random weights, of any seed, at the last iterate",
}
_CONTROL = "nets of the constructed depth from random weights, of as many steps as the copied and the constructed run "
_LATER = {"control": _CONTROL + "together, of any seed, at the last iterate"}
PLACES = _FIRST | _LATER


def _columns(places: Mapping[str, str]) -> dict[str, str]:
    return (
        {place: f"{what}: mean over runs, %; NaN where there are none" for place, what in places.items()}
        | {f"{place}_std": f"{what}: over runs (n - 1), points" for place, what in places.items()}
        | {f"{place}_runs": f"{what}: how many" for place, what in places.items()}
    )


COPIES = GROUP | {"split": "train_clean | test"} | _columns(_FIRST) | _columns(_LATER)


def compare_constructed(curves: pd.DataFrame, specs: Mapping[str, RunSpec], over: Collection[str]) -> pd.DataFrame:
    """Compares constructed nets with nets from random weights: the columns of COPIES, one row per (group, split).

    `curves` carry the labels of outcomes.add_labels, and hold constructed nets that are not over too. `specs` are of
    their runs. `over` names the runs that are finished or diverged. A copied run that is not among the curves is left
    out, and so is one without a point at the iteration that was copied.
    """
    rows = curves[curves.split.isin(list(COMPARED))]
    last = rows[rows.run.isin(list(over)) & (rows.iteration == rows.groupby("run").iteration.transform("max"))]
    random = last[last.origin == ""]
    found: list[dict[str, Any]] = []
    for _, own in rows[rows.origin != ""].groupby([*GROUP_ORDER, "split"], sort=True):
        first = own.iloc[0]
        kind = ["line", "split", "depth"]
        deep = random[(random[kind] == first[kind]).all(axis=1)]
        errors = {
            "source": rows[_is_copied(rows, own.run.unique(), specs) & (rows.split == first.split)].error,
            "start": own[own.iteration == 0].error,
            "trained": last[(last.group == first.group) & (last.split == first.split)].error,
            "scratch": deep[deep.protocol == first.protocol].error,
            "control": deep[deep.protocol == lengthen(specs[first.run], specs).protocol].error,
        }
        numbers = {f"{place}{end}": value for place, each in errors.items() for end, value in _numbers_of(each).items()}
        found.append({key: first[key] for key in (*GROUP_KEYS, "split")} | numbers)
    return pd.DataFrame(found, columns=list(COPIES))


def lengthen(spec: RunSpec, specs: Mapping[str, RunSpec]) -> RunSpec:
    """The control of a constructed run: the same net from random weights, with all steps that were spent on the run.

    The steps are the run's own, the steps of the run that it copies, and so on, as far as `specs` knows the copied
    runs. The schedule is stretched over all of them.
    """
    steps, origin = spec.recipe.iterations, spec.origin
    while origin is not None:
        steps += origin.iteration
        origin = specs[origin.run].origin if origin.run in specs else None
    return replace(spec, recipe=replace(spec.recipe, iterations=steps), origin=None)


def _is_copied(rows: pd.DataFrame, runs: Collection[str], specs: Mapping[str, RunSpec]) -> "pd.Series[bool]":
    """Which rows are of a run that these runs copy, at the iteration that they copy."""
    copied = {(origin.run, origin.iteration) for run in runs if (origin := specs[run].origin) is not None}
    return pd.Series([pair in copied for pair in zip(rows.run, rows.iteration, strict=True)], rows.index, dtype=bool)


def _numbers_of(errors: "pd.Series[float]") -> dict[str, float]:
    return {"": errors.mean(), "_std": errors.std(), "_runs": len(errors)}
