"""The paper's results as data: paper.csv, one row per number. A number that we read off a figure is `digitised`."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from degrade.analysis.stats import quantile

_FILE = Path(__file__).with_name("paper.csv")
SEED_STD = 0.16  # points of test error: ResNet-110 over 5 runs (Table 6), the only spread the paper gives of its nets
# column -> what it means
PAPER_CSV = {
    "source": "where the number stands: a table, figure or section of the paper, or what else it is from",
    "data": "cifar10 | imagenet | voc | coco",
    "net": "plain | residual, or the name of another's net that the paper quotes",
    "depth": "weighted layers; empty where not stated",
    "shortcut": "option A | B | C; none for nets without",
    "metric": "test_error, train_error: at the end of training, mean over runs; test_error_best: least of them; ...",
    "value": "in `unit`",
    "unit": "% | M | G | 1",
    "std": "standard deviation over runs, in `unit`; empty where not given",
    "runs": "over which value and std are; 1 where the paper shows one curve or number; empty where not stated",
    "bound": "> or <: the paper says only that it is above or below the value",
    "digitised": "1: read off a figure by us",
    "reading": "how far such a reading may be off, in `unit`",
    "note": "what else is known of it",
}


class Stated(NamedTuple):
    """A number of the paper, in its unit (errors: %)."""

    value: float
    std: float  # over runs; NaN where not given
    runs: int  # 1 where not given
    bound: str  # ">" or "<": the paper says only that it is above or below the value; else nothing
    digitised: bool
    reading: float  # how far a digitised value may be off, else 0
    source: str


@cache
def _read_results() -> pd.DataFrame:
    text = dict.fromkeys(["source", "data", "net", "shortcut", "metric", "unit", "bound", "note"], str)
    numbers = {column: [""] for column in ("depth", "value", "std", "runs", "reading")}
    frame = pd.read_csv(_FILE, dtype=text, keep_default_na=False, na_values=numbers)
    return frame.astype({"depth": "Int64", "runs": "Int64", "digitised": bool})


def results() -> pd.DataFrame:
    """All of paper.csv, with the columns of PAPER_CSV."""
    return _read_results().copy()


def find_result(net: str, shortcut: str, depth: int, metric: str, data: str = "cifar10") -> Stated | None:
    """Finds the paper's number for a net: a printed number before a digitised one. None if the paper has no number."""
    rows = _read_results()
    rows = rows[(rows.data == data) & (rows.net == net) & (rows.shortcut == shortcut) & (rows.metric == metric)]
    rows = rows[(rows.depth == depth).fillna(False)].sort_values("digitised", kind="stable")
    if rows.empty:
        return None
    row = rows.iloc[0]
    runs = 1 if pd.isna(row.runs) else int(row.runs)
    reading = 0.0 if pd.isna(row.reading) else float(row.reading)
    return Stated(float(row.value), float(row["std"]), runs, row.bound, bool(row.digitised), reading, row.source)


def band(number: Stated, runs: int, std: float = math.nan) -> tuple[float, float]:
    """The expected band (%) of a mean over `runs` of ours: value ± (half · sqrt(1/n_paper + 1/n_ours) + reading).

    `half` is 1.96 · 0.16, with the only spread that the paper gives of its nets, that of ResNet-110 in test error. If
    t · `std` is larger, `half` is that: our own standard deviation with the t quantile of its runs - 1 degrees of
    freedom. With several runs a mean falls into the band with 95 % at least, if it has the paper's mean and the paper's
    runs spread as ours do. With one run nothing is known of the spread, and the band is no 95 % band. For a bound, the
    band is every error that keeps the bound.
    """
    if number.bound:
        return (number.value, 100.0) if number.bound == ">" else (0.0, number.value)
    own = quantile(runs - 1) * std if runs > 1 else 0.0
    half = max(1.96 * SEED_STD, own) * math.sqrt(1 / number.runs + 1 / runs) + number.reading
    return max(0.0, number.value - half), min(100.0, number.value + half)
