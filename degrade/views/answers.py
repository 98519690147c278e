"""Does training error rise with depth? The answer for each line of nets, in words of docs/verdicts.md."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from degrade.analysis.gate import BY_FAILURES
from degrade.analysis.judge import (
    ALIKE,
    DEGRADES,
    GAINS,
    NEVER,
    ONE_RUN,
    OPEN,
    OVERFITS,
    PARTLY,
    SAME,
    SLIGHTLY,
    UNJUDGED,
)
from degrade.analysis.lines import LINES, list_depths
from degrade.views.phrases import (
    beyond_margin,
    change,
    count_failures,
    effect,
    ends,
    margin,
    mistakes,
    number,
    pair,
    predict,
    probability,
)
from degrade.views.sheets import Sheet, records_of
from degrade.views.summaries import within

_FAILED = "failed to train (diverged, or stayed at chance)"
_LEGEND = (
    "Training error: of clean images (not augmented), at the end of training. [ ]: 95 % interval, over seeds unless "
    "it says otherwise. The margin is the smallest rise of interest (--margin). docs/verdicts.md explains the words."
)


def answers(lines: pd.DataFrame, verdicts: pd.DataFrame) -> list[Sheet]:
    """The story of each line, one sheet per protocol. The last has the note that explains all of them."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(lines, "protocol"):
        pairs = verdicts[verdicts.protocol == protocol]
        told = [_tell(row, pairs[pairs.line == row["line"]]) for row in rows.to_dict("records")]
        title, records = f"does training error rise with depth? {protocol}", records_of(rows, LINES)
        sheets.append(Sheet(title, notes=tuple(told), name="lines", records=records))
    if len(verdicts):
        sheets[-1] = sheets[-1]._replace(notes=(*sheets[-1].notes, _LEGEND))
    return sheets


def _tell(line: Any, rows: pd.DataFrame) -> str:
    """The whole story of one line."""
    name = line["line"]
    if rows.empty:
        said = [f"{name}: no verdict, since its runs have one depth, {line['depths']}; train another."]
        return " ".join([*said, *_schedules(line), *_missing(line)])
    pairs: list[Any] = rows.to_dict("records")
    shallowest = [row for row in pairs if row["against"] != "best"]
    head, row = _head(name, line["verdict"], shallowest, pairs)
    said = [
        head,
        *_schedules(line),
        *_missing(line),
        *_others(shallowest, pairs, row),
        *_robust(pairs),
        *_failures(pairs),
    ]
    said += [*_besides(row), *_trend(line, shallowest)]
    if line["far_out"]:
        said.append(f"Far from the other runs of its depth, and counted: {line['far_out']}.")
    return " ".join(said)


def _missing(line: Any) -> list[str]:
    return [f"Unfinished, and not counted: {line['missing']}."] if line["missing"] else []


def _schedules(line: Any) -> list[str]:
    """That depth is not all that differs, where only some depths warm up."""
    if not line["warmed"]:
        return []
    return [f"Only {line['warmed']} layers warm up, so this is not depth alone; recipe.warmup=on warms up all."]


def _head(name: str, verdict: str, shallowest: Sequence[Any], pairs: Sequence[Any]) -> tuple[str, Any]:
    """The verdict of the line, and the pair that it is told by, if any."""
    judged = [row for row in pairs if row["p"] == row["p"]]
    if not judged:
        if verdict == UNJUDGED:
            return f"{name} {_hopeless(pairs)}", None
        return _tell_single(name, shallowest[-1], pairs), shallowest[-1]
    primary = next((row for row in judged if row["primary"]), None)
    row = primary or judged[-1]
    if verdict == OPEN and row["verdict"] != OPEN:
        row = [each for each in judged if each["verdict"] == OPEN][-1]
    first, rest = _TELLERS[verdict](row, judged)
    deepest = max(each["depth"] for each in pairs)
    if verdict == NEVER and row["depth"] < deepest:  # no word for the whole line where its end is not judged
        first = f"{first} up to {row['depth']} layers"
    told = f"{first}: {rest}"
    lost = [each for each in pairs if each["verdict"] == UNJUDGED]
    if lost:
        without = list_depths({each["than"] for each in lost})
        return f"{name} {_hopeless(lost)} Without {without} layers it {told}", row
    return f"{name} {told}", row


# what each verdict is told by: the words of the verdict, and what follows after a colon
def _tell_rise(row: Any, judged: Sequence[Any]) -> tuple[str, str]:
    if beyond_margin(row):
        return DEGRADES, f"{change(row)}."
    return DEGRADES, f"{count_failures(row)}. With all runs, {change(row)}."


def _tell_some(row: Any, judged: Sequence[Any]) -> tuple[str, str]:
    worse = [each for each in judged if each["verdict"] == DEGRADES]
    rises = " and ".join(change(each) for each in worse)
    if row in worse:
        return PARTLY, f"{rises}."
    depths = {each["depth"] for each in worse}
    if row["depth"] in depths:  # against the best shallower net alone
        return PARTLY, f"{rises}. From {row['than']} to {row['depth']} layers, the deepest, {effect(row)}."
    first = f"{DEGRADES} at {list_depths(depths)} layers"
    if row["verdict"] in (GAINS, SAME):
        first += f", not at {row['depth']}, the deepest"
    return first, f"{rises}. From {row['than']} to {row['depth']} layers, the deepest, {effect(row)}."


def _tell_none(row: Any, judged: Sequence[Any]) -> tuple[str, str]:
    if ends(row)[1] < (1 if row["scale"] == "odds" else 0):
        return NEVER, f"{change(row)}."
    return NEVER, f"{change(row)}, so it does not rise by {margin(row)} or more{mistakes(row)}."


def _tell_slight(row: Any, judged: Sequence[Any]) -> tuple[str, str]:
    return f"rises by less than {margin(row)}", f"{change(row)}{mistakes(row)}."


def _tell_open(row: Any, judged: Sequence[Any]) -> tuple[str, str]:
    failed = f"{count_failures(row)}. With all runs, " if row["failed"] or row["failed_than"] else ""
    low, _ = ends(row)
    if low > row["margin"]:
        rest = (
            f"that is above the margin of {margin(row)}, but not decided after correction (p {probability(row['p'])})"
        )
    elif low > (1 if row["scale"] == "odds" else 0):
        rest = f"whether by more than the margin of {margin(row)} is open"
    else:
        rest = f"a rise above the margin of {margin(row)} is neither shown nor excluded"
    return f"is {OPEN}", f"{failed}{change(row)}; {rest}{mistakes(row)}."


_TELLERS = {
    DEGRADES: _tell_rise,
    PARTLY: _tell_some,
    SLIGHTLY: _tell_slight,
    NEVER: _tell_none,
    OPEN: _tell_open,
}


def _hopeless(pairs: Sequence[Any]) -> str:
    """cannot be judged from 20 layers: all 3 of its runs failed to train."""
    counts = {row["than"]: (row["failed_than"], row["runs_than"]) for row in pairs}
    counts |= {row["depth"]: (row["failed"], row["runs"]) for row in pairs if row["depth"] not in counts}
    if all(failed == runs for failed, runs in counts.values()):
        total = sum(runs for _, runs in counts.values())
        return f"cannot be judged: all {total} runs {_FAILED}."
    lost = {row["than"]: row["runs_than"] for row in pairs if row["verdict"] == UNJUDGED}
    runs = sum(lost.values())
    whose = f"all {runs} runs of these depths" if len(lost) > 1 else f"all {runs} runs" if runs > 1 else "its one run"
    return f"cannot be judged from {list_depths(lost)} layers: {whose} {_FAILED}."


def _tell_single(name: str, row: Any, pairs: Sequence[Any]) -> str:
    """What is said of a line of which no pair has several runs on both sides."""
    said = f"it is {ALIKE}" if row["verdict"] == ALIKE else f"it {row['verdict']}"
    values = f"{row['error_than']:.2f} % at {row['than']} layers, {row['error']:.2f} % at {row['depth']}"
    if row["basis"] == "prediction":
        one, several = (row["depth"], row["than"]) if row["runs"] == 1 else (row["than"], row["depth"])
        why = f"{name}: no verdict, since {one} layers have one run."
        means = [f" (mean of {runs} runs)" if runs > 1 else "" for runs in (row["runs_than"], row["runs"])]
        values = f"{row['error_than']:.2f} % at {row['than']} layers{means[0]}, "
        values += f"{row['error']:.2f} % at {row['depth']}{means[1]}"
        return f"{why} From {row['than']} to {row['depth']} layers {said}: {values}. " + (
            f"{predict(row).capitalize()}. Train 3 or more seeds of {one} layers, beside those of {several}."
        )
    low, high = number(row["low"]), number(row["high"])
    why = f"{name}: no verdict, since a depth with one run is no evidence about depth."
    return (
        f"{why} From {row['than']} to {row['depth']} layers {said}: {values} ({number(row['difference'], '+')} points, "
        f"interval over images alone [{low}, {high}]). Other seeds end elsewhere; train 3 or more."
    )


def _others(shallowest: Sequence[Any], pairs: Sequence[Any], told: Any) -> list[str]:
    """The other depths against the shallowest net, and what the best shallower net shows besides."""
    by: dict[int, list[str]] = {}
    for row in (row for row in shallowest if row is not told and row["verdict"] != UNJUDGED):
        by.setdefault(row["than"], []).append(f"{row['depth']} layers {pair(row)}")
    said = [f"Against {than} layers: {'; '.join(each)}." for than, each in by.items()]
    best = [row for row in pairs if row["against"] == "best" and row is not told]
    best = [
        row for row in best if row["verdict"] == DEGRADES or (row["verdict"] == OPEN and ends(row)[1] > row["margin"])
    ]
    if best:
        each = "; ".join(f"{row['depth']} against {row['than']} layers {pair(row)}" for row in best)
        said.append(f"Against the best shallower net: {each}.")
    return said


def _besides(row: Any) -> list[str]:
    """What the test error of the told pair shows where training error does not."""
    if row is None or row["verdict"] not in (OVERFITS, GAINS) or (row["verdict"] == GAINS and row["high"] < 0):
        return []
    size = f"{number(row['test_difference'], '+')} [{number(row['test_low'])}, {number(row['test_high'])}]"
    word = "it overfits" if row["verdict"] == OVERFITS else "it gains on the test set"
    return [f"Test error changes by {size} points: {word}."]


def _robust(pairs: Sequence[Any]) -> list[str]:
    """Where trimmed means leave a pair open that plain means would decide."""
    own = [row for row in pairs if row["verdict"] == OPEN and row["robust_low"] == row["robust_low"]]
    own = [row for row in own if row["scale"] == "points" and _disagrees(row)]
    return [
        f"{row['depth']} against {row['than']} layers: the interval of trimmed means is another, "
        f"[{number(row['robust_low'])}, {number(row['robust_high'])}]."
        for row in own
    ]


def _disagrees(row: Any) -> bool:
    """Whether the interval of means lies above, inside or below the margin, and that of trimmed means does not."""
    least = row["margin"]
    regions = ((least, float("inf")), (-least, least), (float("-inf"), least))
    whole, cut = (
        {i for i, (low, high) in enumerate(regions) if low <= row[ends[0]] and row[ends[1]] <= high}
        for ends in (("low", "high"), ("robust_low", "robust_high"))
    )
    return bool(whole - cut)


def _failures(pairs: Sequence[Any]) -> list[str]:
    """Runs that failed to train, by depth, and the means of the runs that trained."""
    by: dict[int, tuple[int, int, float, float, float]] = {}
    for row in pairs:
        for depth, end in ((row["than"], "_than"), (row["depth"], "")):
            share = (row[f"failed{end}_low"], row[f"failed{end}_high"])
            by[depth] = (row[f"failed{end}"], row[f"runs{end}"], *share, row[f"trained{end}"])
    if not any(failed for failed, *_ in by.values()) or all(failed == runs for failed, runs, *_ in by.values()):
        return []
    counts = [
        f"{depth} layers {failed} of {runs} (a share of {low:.0f} to {high:.0f} %)"
        for depth, (failed, runs, low, high, _) in sorted(by.items())
    ]
    said = [f"Runs that failed to train: {', '.join(counts)}."]
    for row in (row for row in pairs if row["primary"] and row["failed_p"] < 1):
        p = probability(min(1.0, row["failed_p"] / BY_FAILURES))
        said.append(
            f"That {row['depth']} layers fail more often than {row['than']}: p {p} by that alone (Boschloo, corrected)."
        )
    if any(0 < failed < runs for failed, runs, *_ in by.values()):
        means = [
            f"{trained:.2f} % ({depth} layers, {runs - failed} of {runs} runs)"
            for depth, (failed, runs, *_, trained) in sorted(by.items())
            if trained == trained
        ]
        said.append(f"Means of the runs that trained, a choice made by the outcome: {', '.join(means)}.")
    return said


def _trend(line: Any, shallowest: Sequence[Any]) -> list[str]:
    """The slope over log depth, where the line does not both rise and fall."""
    if line["trend"] != line["trend"]:
        return []
    seeds = [row for row in shallowest if row["basis"] == "seeds"]
    if any(row["low"] > 0 for row in seeds) and any(row["high"] < 0 for row in seeds):
        return ["It rises and falls, so a straight line over depth would mislead."]
    value, low, high = (line[key] for key in ("trend", "trend_low", "trend_high"))
    if line["scale"] == "odds":
        size = f"{number(value)} [{number(low)}, {number(high)}] times the odds of a mistake"
    else:
        size = f"{number(value, '+')} [{number(low)}, {number(high)}] points"
    return [f"Trend over {line['trend_depths']} layers: {size} for each doubling of depth (a straight line)."]


def only_single(lines: pd.DataFrame) -> bool:
    """Whether every line that has several depths rests on single runs."""
    several = lines[lines.verdict != ""]
    return len(several) > 0 and bool(several.verdict.isin(ONE_RUN).all())
