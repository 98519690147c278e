"""The paper's results as data: paper.csv, one row per number. A number that we read off a figure is `digitised`."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

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


def band(number: Stated, runs: int) -> tuple[float, float]:
    """value ± (1.96 · 0.16 · sqrt(1/n_paper + 1/n_ours) + reading): the 95 % band (%) for a mean over `runs` of ours.

    The band assumes that our runs have the paper's mean and spread. The spread of ResNet-110 stands for every net, and
    for training error too, because the paper gives no other. For a bound, the band is every error that keeps the bound.
    """
    if number.bound:
        return (number.value, 100.0) if number.bound == ">" else (0.0, number.value)
    half = 1.96 * SEED_STD * math.sqrt(1 / number.runs + 1 / runs) + number.reading
    return max(0.0, number.value - half), min(100.0, number.value + half)
