"""Verdicts and interactions as sheets for people to read."""

from collections import Counter
from typing import Any

import pandas as pd

from degrade.analysis.judge import ONE_RUN, OPEN, UNJUDGED
from degrade.analysis.lines import SCALES, list_depths
from degrade.views.phrases import number, probability
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
            odds = own.scale.iloc[0] == "odds"
            columns = (
                "layers",
                ">odds ratio" if odds else ">training error",
                ">test error",
                ">p worse",
                "verdict",
            )
            if own.p.isna().all():
                columns, cells = (*columns[:3], columns[4]), [(*each[:3], each[4]) for each in cells]
            sheets.append(Sheet(f"{line}, deeper minus shallower: {protocol}", columns, cells, notes))
    return sheets


_SINGLE = (
    "( ): one of the two nets has a single run, or both have, so this is no evidence about depth. If both have, the "
    "interval is over images alone; else it is the prediction interval of one more run, if both spread alike."
)


_P = (
    "small if the deeper net is worse by more than {}, or fails to train more often, whichever shows more clearly; "
    "large where nothing speaks for that. One-sided, and corrected for all pairs of the line."
)


def _notes(rows: pd.DataFrame) -> tuple[str, ...]:
    margin = f"{rows.margin.iloc[0]:g} {SCALES[rows.scale.iloc[0]].unit}"
    return (
        "Differences in points [95 % interval over seeds; at least as wide as chance over images makes it]. Each "
        "deeper net is compared with the shallowest, and with the shallower net that trains best.",
        *([f"p worse: {_P.format(margin)}"] if rows.p.notna().any() else []),
        *([_SINGLE] if {*rows.basis} - {"seeds"} else []),
    )


def _verdict_cells(row: Any) -> tuple[str, ...]:
    pair = f"{row['than']} to {row['depth']}"
    if row["verdict"] == UNJUDGED:
        return pair, "", "", "", row["verdict"]
    train = _interval(row, "odds", "odds_low", "odds_high") if row["scale"] == "odds" else _interval(row)
    test = _interval(row, "test_difference", "test_low", "test_high")
    return pair, train, test, "" if row["p"] != row["p"] else probability(row["p"]), row["verdict"]


def _interval(row: Any, value: str = "difference", low: str = "low", high: str = "high") -> str:
    """1.10 [0.82, 1.38], or in ( ) where a net has a single run."""
    ends = f"{number(row[low])}, {number(row[high])}"
    return f"{number(row[value])} [{ends}]" if row["basis"] == "seeds" else f"{number(row[value])} ({ends})"


def _seed_notes(rows: pd.DataFrame) -> list[str]:
    """How many seeds would decide each open pair, and which depths have single runs."""
    said: list[str] = []
    for row in rows[rows.verdict == OPEN].to_dict("records"):
        pair = f"{row['than']} to {row['depth']}"
        if (row["odds_low"] if row["scale"] == "odds" else row["low"]) > row["margin"]:
            continue  # width is not what is open there
        if row["failed"] or row["failed_than"]:
            said.append(
                f"{pair}: some runs failed to train, so no number of seeds can be worked out from their spread."
            )
            continue
        many = "not even 1,000" if pd.isna(row["seeds"]) else f"about {row['seeds']}"
        goal = f"± {row['width']:.2g} points" if row["scale"] == "points" else f"a factor of {row['width']:.3g}"
        said.append(
            f"{pair}: {many} seeds of each would narrow the interval to {goal}, if mean and spread stay as they are."
        )
    single = rows[rows.verdict.isin(ONE_RUN)]
    alone = {*single.depth[single.runs == 1], *single.than[single.runs_than == 1]}
    if alone:
        said.append(
            f"{list_depths(alone)} layers have one run each: how far seeds differ is not known; train 3 or more."
        )
    return said


def interactions(frame: pd.DataFrame) -> list[Sheet]:
    """How much more depth costs a plain net, one sheet per protocol."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(frame, "protocol"):
        columns = ("net", ">depths", ">plain", ">this net", ">interaction")
        cells = [_interaction_cells(row) for row in rows.to_dict("records")]
        note = (
            "By how many points the clean training error rises from the shallowest to the deepest shared depth: in the "
            "plain net, in this net, and the first minus the second [95 % interval over seeds]."
        )
        single = ["( ): some net has a single run; the interval is over images, and says nothing about other seeds."]
        notes = (note, *(single if "images" in {*rows.basis} else ()), *_mixed(rows))
        sheets.append(Sheet(f"interaction of depth and net, points: {protocol}", columns, cells, notes))
    return sheets


def _interaction_cells(row: Any) -> tuple[str, ...]:
    if row["unjudged"]:
        found = f"cannot be judged: {row['unjudged']} failed to train"
    else:
        found = _interval(row, "interaction")
        found += ", mixed with warm-up" if row["warmed"] else ""
    rises = ("", "") if row["unjudged"] else (number(row["plain"]), number(row["other"]))
    return row["line"], f"{row['shallow']} to {row['deep']}", *rises, found


def _mixed(rows: pd.DataFrame) -> list[str]:
    """Where some of the nets warm up and others do not, and where runs failed to train."""
    said = [
        f"{row['line']}: of the four nets only {row['warmed']} warmed up, so this is not depth and net alone; "
        "recipe.warmup=on warms up all."
        for row in rows.to_dict("records")
        if row["warmed"]
    ]
    failing = rows[(rows.failed > 0) & (rows.unjudged == "")]
    return said + [
        f"{row['line']}: runs of the four nets that failed to train: {row['failed']}; they are in the means."
        for row in failing.to_dict("records")
    ]


def absences(left_out: pd.DataFrame) -> list[Sheet]:
    """How many runs are in no table, and why."""
    if left_out.empty:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(left_out.state).items()))
    failed = left_out[left_out.state == "failed"]
    reasons = tuple(f"{run}: {reason}" for run, reason in zip(failed.run, failed.reason, strict=True) if reason)
    return [Sheet(f"not counted, since unfinished: {counts}", notes=reasons)]


def mixtures(machines: pd.DataFrame) -> list[Sheet]:
    """Which runs more than one machine computed."""
    if machines.empty:
        return []
    said = tuple(f"{row['run']}: {row['machine']}: {row['computed_by']}" for row in machines.to_dict("records"))
    return [Sheet("not all steps on one known machine, so their last bits come out once", notes=said)]
