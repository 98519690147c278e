"""The solution by construction (Sec. 1) in one row: where a constructed net begins, where training takes it, and where
nets from random weights end.

Pure functions frame -> frame.
"""

from collections.abc import Collection
from typing import Any

import pandas as pd

from degrade.analysis.outcomes import GROUP, GROUP_KEYS, GROUP_ORDER
from degrade.spec.run import copied_depth

COMPARED = ("train_clean", "test")  # the splits that have an error before the first step
PLACES = {  # column -> whose errors
    "source": "nets of the depth that was copied, from random weights, at the last iterate",
    "start": "the constructed nets before their first step",
    "trained": "the constructed nets at the last iterate; NaN where none was trained on",
    "scratch": "nets of the constructed depth from random weights, at the last iterate",
}
COPIES = (
    GROUP
    | {"split": "train_clean | test"}
    | {place: f"{what}: mean over runs, %; NaN where there are none" for place, what in PLACES.items()}
    | {f"{place}_std": f"{what}: over runs (n - 1), points" for place, what in PLACES.items()}
    | {f"{place}_runs": f"{what}: how many" for place, what in PLACES.items()}
)


def compare_constructed(curves: pd.DataFrame, over: Collection[str]) -> pd.DataFrame:
    """Compares constructed nets with nets from random weights: the columns of COPIES, one row per (group, split).

    `curves` carry the labels of outcomes.add_labels, and hold constructed nets that are not over too. `over` names the
    runs that are finished or diverged.
    """
    rows = curves[curves.split.isin(list(COMPARED))]
    last = rows[rows.run.isin(list(over)) & (rows.iteration == rows.groupby("run").iteration.transform("max"))]
    random = last[last.origin == ""]
    found: list[dict[str, Any]] = []
    for _, own in rows[rows.origin != ""].groupby([*GROUP_ORDER, "split"], sort=True):
        first = own.iloc[0]
        kind = ["protocol", "line", "split"]
        same = random[(random[kind] == first[kind]).all(axis=1)]
        errors = {
            "source": same[same.depth == copied_depth(first.origin)].error,
            "start": own[own.iteration == 0].error,
            "trained": last[(last.group == first.group) & (last.split == first.split)].error,
            "scratch": same[same.depth == first.depth].error,
        }
        numbers = {f"{place}{end}": value for place, each in errors.items() for end, value in _numbers_of(each).items()}
        found.append({key: first[key] for key in (*GROUP_KEYS, "split")} | numbers)
    return pd.DataFrame(found, columns=list(COPIES))


def _numbers_of(errors: "pd.Series[float]") -> dict[str, float]:
    return {"": errors.mean(), "_std": errors.std(), "_runs": len(errors)}
