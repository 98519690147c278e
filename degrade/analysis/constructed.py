"""The solution by construction (Sec. 1) in one row: where a constructed net begins, where training takes it, and where
nets from random weights end. Pure functions frame -> frame.
"""

from collections.abc import Collection
from typing import Any

import pandas as pd

from degrade.analysis.outcomes import GROUP, KEYS, ORDER
from degrade.spec.run import copied_depth
from degrade.views.sheets import Sheet, spread

SPLITS = {"train_clean": "clean training error", "test": "test error"}  # what is known before the first step
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


def constructed(curves: pd.DataFrame, over: Collection[str]) -> pd.DataFrame:
    """The columns of COPIES, a row a group of constructed nets and split.

    `curves` as labelled by outcomes.labelled, constructed nets that are not over among them; `over`: the runs that are
    finished or diverged.
    """
    rows = curves[curves.split.isin(list(SPLITS))]
    last = rows[rows.run.isin(list(over)) & (rows.iteration == rows.groupby("run").iteration.transform("max"))]
    random = last[last.origin == ""]
    found: list[dict[str, Any]] = []
    for _, own in rows[rows.origin != ""].groupby([*ORDER, "split"], sort=True):
        first = own.iloc[0]
        kind = ["protocol", "line", "split"]
        same = random[(random[kind] == first[kind]).all(axis=1)]
        errors = {
            "source": same[same.depth == copied_depth(first.origin)].error,
            "start": own[own.iteration == 0].error,
            "trained": last[(last.group == first.group) & (last.split == first.split)].error,
            "scratch": same[same.depth == first.depth].error,
        }
        numbers = {f"{place}{end}": value for place, each in errors.items() for end, value in numbers_of(each).items()}
        found.append({key: first[key] for key in (*KEYS, "split")} | numbers)
    return pd.DataFrame(found, columns=list(COPIES))


def numbers_of(errors: "pd.Series[float]") -> dict[str, float]:
    return {"": errors.mean(), "_std": errors.std(), "_runs": len(errors)}


def constructions(frame: pd.DataFrame) -> list[Sheet]:
    """A sheet for each protocol and split."""
    return [sheet(f"{SPLITS[split]}, %: {protocol}", rows) for (protocol, split), rows in parts(frame)]


def parts(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Clean training error first."""
    by = [((str(key[0]), str(key[1])), rows) for key, rows in frame.groupby(["protocol", "split"])]
    return sorted(by, key=lambda part: (part[0][0], list(SPLITS).index(part[0][1])))


def sheet(title: str, rows: pd.DataFrame) -> Sheet:
    columns = ("net", ">copied", ">at start", ">trained on", ">from scratch")
    cells = [(row["label"], *(mean(row, place) for place in PLACES)) for row in rows.to_dict("records")]
    note = "Mean ± std over runs. Copied: the shallow net; at start: before the first step; scratch: random weights."
    return Sheet(f"the solution by construction, {title}", columns, cells, (note,))


def mean(row: Any, place: str) -> str:
    """7.50, or 7.50 ± 0.12 of several runs; - where there are none."""
    return "-" if row[place] != row[place] else spread(row[place], row[f"{place}_std"])
