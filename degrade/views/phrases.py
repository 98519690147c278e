"""A pair of depths in words: what changes, by how much, and how sure that is."""

from typing import Any

from degrade.analysis.judge import DEGRADES, FAILS, GAINS, ONE_RUN, OPEN, OVERFITS, SAME
from degrade.analysis.lines import SCALES

_SHORT = {DEGRADES: "worse", GAINS: "better", SAME: SAME, OPEN: OPEN, OVERFITS: "overfits"}  # of a pair among others


def predict(row: Any) -> str:
    several, one = (row["than"], row["depth"]) if row["runs"] == 1 else (row["depth"], row["than"])
    low, high = row["predicted_low"], row["predicted_high"]
    error = row["error"] if row["runs"] == 1 else row["error_than"]
    inside = "within" if low <= error <= high else "outside"
    return (
        f"one more run of {several} layers would end at {low:.2f} to {high:.2f} % (95 % prediction), and the one run "
        f"of {one} layers is {inside} that; whether {one} layers spread more is not known"
    )


def change(row: Any) -> str:
    """From 20 to 56 layers training error rises by 0.45 points [0.22, 0.68] (3 runs each)."""
    return f"from {row['than']} to {row['depth']} layers {effect(row)} {_runs(row)}"


def effect(row: Any) -> str:
    low, high = ends(row)
    if row["scale"] == "odds":
        size = f"{number(row['odds'])} times as great [{number(low)}, {number(high)}]"
        return f"the odds of a training mistake are {size}"
    value = row["difference"]
    if low > 0:
        return f"training error rises by {number(value)} points [{number(low)}, {number(high)}]"
    if high < 0:
        return f"training error falls by {number(-value)} points [{number(-high)}, {number(-low)}]"
    return f"training error changes by {number(value, '+')} points [{number(low)}, {number(high)}]"


def ends(row: Any) -> tuple[float, float]:
    """The ends of the interval, on the scale of the verdict."""
    return (row["odds_low"], row["odds_high"]) if row["scale"] == "odds" else (row["low"], row["high"])


def pair(row: Any) -> str:
    """+3.00 [2.61, 3.39], worse."""
    size = f"x{number(row['odds'])}" if row["scale"] == "odds" else number(row["difference"], "+")
    if row["verdict"] in ONE_RUN:
        more = f": {predict(row)}" if row["basis"] == "prediction" else ""
        word = FAILS if row["verdict"] == FAILS else "in single runs" if row["basis"] == "images" else row["verdict"]
        return f"{size}, {word}{more}"
    low, high = ends(row)
    word = _SHORT[row["verdict"]]
    if row["verdict"] == OPEN and low > row["margin"]:
        word += f" after correction (p {probability(row['p'])})"
    return f"{size} [{number(low)}, {number(high)}], {word}"


def mistakes(row: Any) -> str:
    """How many times as many mistakes, where points hide it: beyond the margin on the scale of odds alone."""
    least = SCALES["odds"].margin
    hidden = row["scale"] == "points" and row["verdict"] not in (DEGRADES, GAINS)
    failed = row["failed"] or row["failed_than"]
    if not hidden or failed or (row["odds_low"] <= least and row["odds_high"] >= 1 / least):
        return ""
    between = f"[{number(row['odds_low'])}, {number(row['odds_high'])}]"
    if row["error_than"] > 0:
        times = f"{number(row['error'] / row['error_than'])} times as many mistakes"
        return f"; these are {times} (odds ratio {number(row['odds'])} {between})"
    return f"; the odds of a mistake are {number(row['odds'])} times as great {between}"


def count_failures(row: Any) -> str:
    ours, theirs = (f"{row[f'failed{end}']} of {row[f'runs{end}']} runs" for end in ("", "_than"))
    return f"{ours} of {row['depth']} layers fail to train, {theirs} of {row['than']} layers"


def _runs(row: Any) -> str:
    """(3 runs each), or (5 and 3 runs)."""
    deep, shallow = row["runs"], row["runs_than"]
    return f"({deep} runs each)" if deep == shallow else f"({shallow} and {deep} runs)"


def margin(row: Any) -> str:
    return f"{row['margin']:g} {SCALES[row['scale']].unit}"


def beyond_margin(row: Any) -> bool:
    """Whether the interval of the means lies above the margin."""
    return ends(row)[0] > row["margin"]


def number(value: float, sign: str = "") -> str:
    """Two decimals below 10, else one: a hundredth of a point does not matter beside 77 points."""
    if abs(value) >= 1e6:
        return ">1e6" if value > 0 else "<-1e6"
    value = round(value, 2) + 0.0  # no minus zero
    return f"{value:{sign}.2f}" if abs(value) < 9.995 else f"{value:{sign}.1f}"


def probability(p: float) -> str:
    """<.001, or .034."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
