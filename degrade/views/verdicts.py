"""Verdicts and interactions as sheets for people to read."""

from collections import Counter
from typing import Any

import pandas as pd

from degrade.analysis.judge import ONE_RUN, OPEN
from degrade.analysis.lines import SCALES, list_depths
from degrade.views.answers import number, probability
from degrade.views.sheets import Sheet
from degrade.views.summaries import within


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


_VERDICT_COLUMNS = ("layers", ">clean training error", ">odds", ">test error", ">p", "verdict")
_SINGLE = (
    "( ): one of the two has a single run, so this is no evidence about depth. The interval is over images, which says "
    "nothing about other seeds; where the other has several runs, it is the prediction interval of one more run, if "
    "both spread alike."
)


def _notes(rows: pd.DataFrame) -> tuple[str, ...]:
    margin = f"{rows.margin.iloc[0]:g} {SCALES[rows.scale.iloc[0]].unit}"
    return (
        "Points of error [95 % interval], against the shallowest net and, where that is another, the shallower one "
        "that trains best. odds: of a mistake on a training image, the deeper net's over the shallower one's. "
        f"p: that the deeper net is worse by no more than {margin}, and fails to train no more often (one-sided, "
        "corrected for all pairs of the line, the deepest against the shallowest first).",
        *([_SINGLE] if {*rows.basis} - {"seeds"} else []),
    )


def _verdict_cells(row: Any) -> tuple[str, ...]:
    train = _difference(row, "", row["basis"])
    test = _difference(row, "test_", row["basis"])
    p = "" if row["p"] != row["p"] else probability(row["p"])
    return f"{row['depth']} - {row['than']}", train, number(row["odds"]), test, p, row["verdict"]


def _difference(row: Any, prefix: str, basis: str) -> str:
    value, low, high = (number(row[f"{prefix}{key}"]) for key in ("difference", "low", "high"))
    return f"{value} [{low}, {high}]" if basis == "seeds" else f"{value} ({low}, {high})"


def _seed_notes(rows: pd.DataFrame) -> list[str]:
    """How many seeds would decide each open pair, and which depths have single runs."""
    said: list[str] = []
    for row in rows[rows.verdict == OPEN].to_dict("records"):
        pair = f"{row['depth']} - {row['than']}"
        many = "more than 1,000 seeds" if pd.isna(row["seeds"]) else f"about {row['seeds']} seeds"
        goal = f"± {row['width']:.2g} points" if row["scale"] == "points" else f"a factor of {row['width']:.3g}"
        said.append(f"{pair}: {many} of both for {goal}, if mean and spread stay as they are.")
    single = rows[rows.verdict.isin(ONE_RUN)]
    alone = {*single.depth[single.runs == 1], *single.than[single.runs_than == 1]}
    if alone:
        said.append(f"{list_depths(alone)} layers: how far seeds differ is not known; train 3, or more.")
    return said


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
        single = ["( ): some net has a single run; the interval is over images, and says nothing about other seeds."]
        notes = (note, *(single if "images" in {*rows.basis} else ()), *_mixed(rows))
        sheets.append(Sheet(f"interaction of depth and net, points: {protocol}", columns, cells, notes))
    return sheets


def _interaction_cells(row: Any) -> tuple[str, ...]:
    if row["unjudged"]:
        found = f"cannot be judged: {row['unjudged']} failed to train"
    else:
        value, low, high = (number(row[key]) for key in ("interaction", "low", "high"))
        found = f"{value} [{low}, {high}]" if row["basis"] == "seeds" else f"{value} ({low}, {high})"
    return row["line"], f"{row['shallow']} to {row['deep']}", number(row["plain"]), number(row["other"]), found


def _mixed(rows: pd.DataFrame) -> list[str]:
    """Where some of the nets warm up and others do not, and where runs failed to train."""
    said = [
        f"{row['line']}: of the four nets only {row['warmed']} warm up, so depth and schedule are mixed; "
        "recipe.warmup=on warms up all."
        for row in rows.to_dict("records")
        if row["warmed"]
    ]
    failing = rows[rows.failed > 0]
    said += [f"{row['line']}: {row['failed']} runs failed to train, and count." for row in failing.to_dict("records")]
    return said


def absences(left_out: pd.DataFrame) -> list[Sheet]:
    """How many runs are in no table, and why."""
    if left_out.empty:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(left_out.state).items()))
    failed = left_out[left_out.state == "failed"]
    reasons = tuple(f"{run}: {reason}" for run, reason in zip(failed.run, failed.reason, strict=True))
    return [Sheet(f"left out, since not over: {counts}", notes=reasons)]
