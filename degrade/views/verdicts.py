"""Verdicts as sheets for people to read, and as sentences."""

from collections import Counter
from typing import Any

import pandas as pd

from degrade.analysis.verdicts import OPEN
from degrade.views.sheets import Sheet
from degrade.views.summaries import within

_SINGLE = "single runs, so the interval is over images and says nothing about other seeds"


def judgements(frame: pd.DataFrame) -> list[Sheet]:
    """One sheet per line of nets. The last sheet of a protocol has the notes that explain all of them."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(frame, "protocol"):
        lines = list(within(rows, "line"))
        for (line,), own in lines:
            last = own.line.iloc[0] == lines[-1][0][0]
            cells = [_verdict_cells(row) for row in own.to_dict("records")]
            notes = (*_seed_notes(own), *(_notes(rows) if last else ()))
            sheets.append(Sheet(f"{line}, deeper less shallower: {protocol}", _VERDICT_COLUMNS, cells, notes))
    return sheets


_VERDICT_COLUMNS = ("layers", ">clean training error", ">test error", ">p", "verdict")


def _notes(rows: pd.DataFrame) -> tuple[str, ...]:
    margin = f"{rows.margin.iloc[0]:g}"
    return (
        "Points of error [95 % interval], against the shallowest net and, where that is another, the shallower one "
        "that trains best. "
        f"p: that training error rises by no more than {margin} points (one-sided, Holm over all pairs).",
        *([f"*: {_SINGLE}."] if "images" in {*rows.basis} else []),
    )


def _verdict_cells(row: Any) -> tuple[str, ...]:
    train = _difference(row["difference"], row["low"], row["high"])
    test = _difference(row["test_difference"], row["test_low"], row["test_high"])
    p = "<.001" if row["p"] < 0.001 else f"{row['p']:.3f}".removeprefix("0")
    star = "*" if row["basis"] == "images" else ""
    return f"{row['depth']} - {row['than']}", train, test, p, row["verdict"] + star


def _difference(value: float, low: float, high: float) -> str:
    return f"{_points(value)} [{_points(low)}, {_points(high)}]"


def _points(points: float) -> str:
    """Two decimals below 10 points, else one: a hundredth of a point does not matter beside 77 points."""
    return f"{points:.2f}" if abs(points) < 9.995 else f"{points:.1f}"


def _seed_notes(rows: pd.DataFrame) -> list[str]:
    """A sentence for each open pair: how many seeds would decide it."""
    said: list[str] = []
    for row in rows[rows.verdict == OPEN].to_dict("records"):
        pair = f"{row['depth']} - {row['than']}"
        if row["basis"] == "images":
            said.append(f"{pair}: how far seeds differ is not known; train 3 of both, or more.")
        else:
            many = "more than 1,000 seeds" if pd.isna(row["seeds"]) else f"about {row['seeds']} seeds"
            said.append(f"{pair}: {many} of both for ± {row['width']:.2g} points, if mean and spread stay as they are.")
    return said


def answers(verdicts: pd.DataFrame, summary: pd.DataFrame) -> list[Sheet]:
    """Does training error rise with depth? A sentence for each line of each protocol, or why there is no verdict."""
    drawn = summary[(summary.origin == "") & (summary.split == "train_clean")]
    sheets: list[Sheet] = []
    for (protocol,), rows in within(drawn, "protocol"):
        notes: list[str] = []
        for (line,), own in within(rows, "line"):
            judged = verdicts[(verdicts.protocol == protocol) & (verdicts.line == line)]
            alone = f"{line}: no verdict, since its runs have one depth, {own.depth.iloc[0]}; train another."
            notes.append(alone if judged.empty else _answer_line(line, judged))
        sheets.append(Sheet(f"does training error rise with depth? {protocol}", notes=tuple(notes)))
    return sheets


def _answer_line(line: str, rows: pd.DataFrame) -> str:
    """The verdict on one line of nets, in a sentence or two."""
    worse = rows[rows.verdict == "degrades"]
    unsure = rows[(rows.verdict == OPEN) & (rows.high > rows.margin) & ~rows.depth.isin(worse.depth)]
    tail = f" At {_layers(unsure)} there are not enough runs to say." if len(unsure) else ""
    if len(worse):
        row, others = worse.iloc[-1], worse[worse.depth < worse.depth.max()]
        more = f"{_difference(row.difference, row.low, row.high)} points more clean training error than {row.than}"
        also = f" So does it at {_layers(others)}." if len(others) else ""
        return f"{line} degrades: {row.depth} layers have {more}{_single_runs(worse)}.{also}{tail}"
    if len(unsure):
        return f"{line}: no degradation found, but not excluded{_single_runs(rows)}.{tail}"
    margin = f"{rows.margin.iloc[0]:g}"
    never = f"no deeper net has {margin} points more clean training error than the shallowest or the best shallower one"
    return f"{line} does not degrade: {never}{_single_runs(rows)}.{_other_effects(rows)}"


def _single_runs(rows: pd.DataFrame) -> str:
    """Says at which depths an answer rests on single runs."""
    own = rows[rows.basis == "images"]
    if own.empty:
        return ""
    return f" (from {_SINGLE})" if len(own) == len(rows) else f" (at {_layers(own)} from {_SINGLE})"


def _other_effects(rows: pd.DataFrame) -> str:
    """Says what else depth does if it does not harm training: gains and overfitting."""
    found = {"It gains": rows[rows.verdict == "gains"], "It overfits": rows[rows.verdict == "overfits"]}
    return "".join(f" {words} at {_layers(own)}." for words, own in found.items() if len(own))


def _layers(rows: pd.DataFrame) -> str:
    return f"{', '.join(str(depth) for depth in sorted({*rows.depth}))} layers"


def interactions(frame: pd.DataFrame) -> list[Sheet]:
    """How much more depth costs a plain net, one sheet per protocol."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(frame, "protocol"):
        columns = ("net", ">depths", ">plain", ">this net", ">interaction")
        cells = [_interaction_cells(row) for row in rows.to_dict("records")]
        note = (
            "By how many points the clean training error rises from the shallowest to the deepest shared depth: in the "
            "plain net, in this net, and the first less the second [95 % interval]."
        )
        single = [f"*: {_SINGLE}."] if "images" in {*rows.basis} else []
        sheets.append(Sheet(f"interaction of depth and net, points: {protocol}", columns, cells, (note, *single)))
    return sheets


def _interaction_cells(row: Any) -> tuple[str, ...]:
    found = _difference(row["interaction"], row["low"], row["high"]) + ("*" if row["basis"] == "images" else "")
    return row["line"], f"{row['shallow']} to {row['deep']}", f"{row['plain']:.2f}", f"{row['other']:.2f}", found


def absences(left_out: pd.DataFrame) -> list[Sheet]:
    """How many runs are in no table, and why."""
    if left_out.empty:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(left_out.state).items()))
    failed = left_out[left_out.state == "failed"]
    reasons = tuple(f"{run}: {reason}" for run, reason in zip(failed.run, failed.reason, strict=True))
    return [Sheet(f"left out, since not over: {counts}", notes=reasons)]
