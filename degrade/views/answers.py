"""Does training error rise with depth? The answer for each line of nets, in words of docs/verdicts.md."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from degrade.analysis.gate import BY_FAILURES
from degrade.analysis.judge import ALIKE, DEGRADES, GAINS, NEVER, ONE_RUN, OPEN, PARTLY, UNJUDGED
from degrade.analysis.lines import LINES, SCALES
from degrade.views.sheets import Sheet, records_of
from degrade.views.summaries import within


def answers(lines: pd.DataFrame, verdicts: pd.DataFrame) -> list[Sheet]:
    """The story of each line, one sheet per protocol."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(lines, "protocol"):
        pairs = verdicts[verdicts.protocol == protocol]
        told = tuple(_tell(row, pairs[pairs.line == row["line"]]) for row in rows.to_dict("records"))
        title, records = f"does training error rise with depth? {protocol}", records_of(rows, LINES)
        sheets.append(Sheet(title, notes=told, name="lines", records=records))
    return sheets


def _tell(line: Any, rows: pd.DataFrame) -> str:
    """The whole story of one line."""
    name = line["line"]
    if rows.empty:
        said = [f"{name}: no verdict, since its runs have one depth, {line['depths']}; train another."]
    else:
        pairs: list[Any] = rows.to_dict("records")
        shallowest = [row for row in pairs if row["against"] != "best"]
        head, row = _head(name, line["verdict"], shallowest, pairs)
        said = [head, *_hopeless(pairs), *_others(shallowest, pairs, row)]
        said += [*_robust(pairs), *_failures(pairs), *_trend(line)]
    if line["far_out"]:
        said.append(f"Far from the other runs of its depth: {line['far_out']}.")
    if line["missing"]:
        said.append(f"Not over, and not counted: {line['missing']}.")
    if line["warmed"]:
        said.append(
            f"Of its nets, {line['warmed']} layers alone warm up, so depth and schedule are mixed; recipe.warmup=on "
            "warms up all."
        )
    return " ".join(said)


def _head(name: str, verdict: str, shallowest: Sequence[Any], pairs: Sequence[Any]) -> tuple[str, Any]:
    """The verdict of the line, and the pair that it is told by, if any."""
    judged = [row for row in pairs if row["p"] == row["p"]]
    primary = next((row for row in judged if row["primary"]), None)
    if verdict in (DEGRADES, NEVER):
        row = primary or judged[-1]
        found = _rise(row) if verdict == NEVER or _beyond_margin(row) else _count_failures(row)
        by = f" by {_margin(row)} or more" if verdict == NEVER else ""
        return f"{name} {verdict} {_span(row)}{by}: {found} {_runs(row)}{_mistakes(row)}.", row
    if verdict == PARTLY:
        worse = " and ".join(_span(row) for row in judged if row["verdict"] == DEGRADES)
        rest = f", but not {_span(primary)}: {_pair(primary)}" if primary else ""
        return f"{name} degrades {worse}{rest}.", primary
    if verdict == OPEN:
        row = primary if primary and primary["verdict"] == OPEN else [r for r in judged if r["verdict"] == OPEN][-1]
        found = f"{_rise(row)} {_runs(row)}"
        return f"{name} is undecided {_span(row)}: {found}, against a margin of {_margin(row)}{_mistakes(row)}.", row
    if verdict == UNJUDGED:
        return f"{name} cannot be judged.", None
    row = shallowest[-1]
    said = f"is {verdict}" if verdict == ALIKE else verdict
    return f"{name} {said} {_span(row)}: {_rise(row)}. {_about_single(row)}", row


def _hopeless(pairs: Sequence[Any]) -> list[str]:
    """The shallower nets that nothing can be judged against."""
    depths = {row["than"]: row["runs_than"] for row in pairs if row["verdict"] == UNJUDGED}
    return [
        f"Nothing can be judged against {depth} layers: all {runs} of their runs failed to train "
        "(diverged, or stayed at chance)."
        if runs > 1
        else f"Nothing can be judged against {depth} layers: their run failed to train (diverged, or stayed at chance)."
        for depth, runs in depths.items()
    ]


def _others(shallowest: Sequence[Any], pairs: Sequence[Any], told: Any) -> list[str]:
    """The other depths against the shallowest net, and what the best shallower net shows besides."""
    by: dict[int, list[str]] = {}
    for row in (row for row in shallowest if row is not told and row["verdict"] != UNJUDGED):
        by.setdefault(row["than"], []).append(f"{row['depth']} layers {_pair(row)}")
    said = [f"Against {than} layers: {'; '.join(each)}." for than, each in by.items()]
    best = [row for row in pairs if row["against"] == "best" and row["verdict"] in (DEGRADES, OPEN)]
    best = [row for row in best if row["verdict"] == DEGRADES or _reaches_margin(row)]
    if best:
        each = "; ".join(f"{row['depth']} against {row['than']} layers {_pair(row)}" for row in best)
        said.append(f"Against the best shallower net: {each}.")
    return said


def _robust(pairs: Sequence[Any]) -> list[str]:
    """Where trimmed means leave a pair open that plain means would decide."""
    own = [row for row in pairs if row["verdict"] == OPEN and row["robust_low"] == row["robust_low"]]
    own = [row for row in own if row["scale"] == "points" and not row["low"] <= row["margin"] < row["high"]]
    return [
        f"{row['depth']} against {row['than']} layers: trimmed means disagree "
        f"[{number(row['robust_low'])}, {number(row['robust_high'])}], so some runs are far from the others."
        for row in own
    ]


def _failures(pairs: Sequence[Any]) -> list[str]:
    """Runs that failed to train, by depth, and the means of the runs that trained."""
    by: dict[int, tuple[int, int, float, float, float]] = {}
    for row in pairs:
        for depth, end in ((row["than"], "_than"), (row["depth"], "")):
            ends = (row[f"failed{end}_low"], row[f"failed{end}_high"], row[f"trained{end}"])
            by[depth] = (row[f"failed{end}"], row[f"runs{end}"], *ends)
    if not any(failed for failed, *_ in by.values()):
        return []
    counts = [
        f"{failed} of {runs} of {depth} layers [{low:.0f}, {high:.0f} %]"
        for depth, (failed, runs, low, high, _) in sorted(by.items())
    ]
    tests = [row for row in pairs if row["primary"] and row["failed_p"] < 1]
    p = [
        f"; Boschloo's p for {row['depth']} against {row['than']} is {probability(row['failed_p'])}, "
        f"corrected {probability(min(1.0, row['failed_p'] / BY_FAILURES))}"
        for row in tests
    ]
    said = [f"Runs that failed to train: {', '.join(counts)}{''.join(p)}."]
    some = {depth: trained for depth, (failed, runs, *_, trained) in by.items() if 0 < failed < runs}
    if some:
        rest = {depth: each[-1] for depth, each in by.items() if each[-1] == each[-1]}
        said.append(
            f"The runs that trained end at {', '.join(f'{rest[depth]:.2f} % ({depth})' for depth in sorted(rest))}."
        )
    return said


def _trend(line: Any) -> list[str]:
    if line["trend"] != line["trend"]:
        return []
    value, low, high = (line[key] for key in ("trend", "trend_low", "trend_high"))
    if line["scale"] == "odds":
        ends = f"{number(value)} [{number(low)}, {number(high)}] times the odds of a mistake"
        return [f"Trend over {line['trend_depths']} layers (a straight line over log depth): {ends} for each doubling."]
    ends = f"{number(value, '+')} [{number(low)}, {number(high)}] points"
    return [f"Trend over {line['trend_depths']} layers (a straight line over log depth): {ends} for each doubling."]


def _about_single(row: Any) -> str:
    """What a pair with a single run can show."""
    if row["basis"] == "images":
        return "One run of a depth is no evidence about depth: other seeds end elsewhere. Train 3 seeds or more."
    return f"{_prediction(row).capitalize()}. Train 3 seeds of both or more."


def _prediction(row: Any) -> str:
    several = row["than"] if row["runs"] == 1 else row["depth"]
    one = row["depth"] if row["runs"] == 1 else row["than"]
    ends = f"{row['predicted_low']:.2f} to {row['predicted_high']:.2f} %"
    return f"one more run of {several} layers would lie within {ends} (95 %, if {one} layers spread as {several} do)"


def _span(row: Any) -> str:
    return f"from {row['than']} to {row['depth']} layers"


def _rise(row: Any) -> str:
    """77.1 [70.2, 84.0] points more clean training error; the interval of single runs is named."""
    if row["scale"] == "odds":
        return f"{number(row['odds'])}{_interval(row, 'odds_low', 'odds_high')} times the odds of a training mistake"
    more = "more" if row["difference"] >= 0 else "less"
    sign = 1 if row["difference"] >= 0 else -1
    ends = ("low", "high") if sign > 0 else ("high", "low")
    value = number(abs(row["difference"]))
    return f"{value}{_interval(row, *ends, sign)} points {more} clean training error"


def _interval(row: Any, low: str, high: str, sign: int = 1) -> str:
    ends = f"{number(sign * row[low])}, {number(sign * row[high])}"
    if row["basis"] == "images":
        return f" [{ends} over images alone]"
    return f" [{ends} by prediction]" if row["basis"] == "prediction" else f" [{ends}]"


def _pair(row: Any) -> str:
    """+3.00 [2.61, 3.39], degrades."""
    if row["verdict"] == UNJUDGED:
        return "cannot be judged"
    if row["scale"] == "odds":
        size = f"x{number(row['odds'])}{_interval(row, 'odds_low', 'odds_high')}"
    else:
        size = f"{number(row['difference'], '+')}{_interval(row, 'low', 'high')}"
    if row["basis"] == "images":
        return f"{number(row['difference'], '+')} in single runs"
    more = f", {_prediction(row)}" if row["basis"] == "prediction" else ""
    return f"{size}, {row['verdict']}{more}"


def _mistakes(row: Any) -> str:
    """How many times as many mistakes, where points hide it: beyond the margin on the scale of odds alone."""
    margin = SCALES["odds"].margin
    hidden = row["scale"] == "points" and row["verdict"] not in (DEGRADES, GAINS)
    if not hidden or (row["odds_low"] <= margin and row["odds_high"] >= 1 / margin):
        return ""
    times = row["error"] / row["error_than"] if row["error_than"] > 0 else row["odds"]
    ends = f"odds {number(row['odds'])} [{number(row['odds_low'])}, {number(row['odds_high'])}]"
    return f"; that is {number(times)} times as many mistakes ({ends})"


def _count_failures(row: Any) -> str:
    ours, theirs = (f"{row[f'failed{end}']} of {row[f'runs{end}']} runs" for end in ("", "_than"))
    return f"{ours} of {row['depth']} layers fail to train, {theirs} of {row['than']}"


def _runs(row: Any) -> str:
    return f"({row['runs']} and {row['runs_than']} runs)"


def _margin(row: Any) -> str:
    return f"{row['margin']:g} {SCALES[row['scale']].unit}"


def _beyond_margin(row: Any) -> bool:
    """Whether the interval of the means lies above the margin."""
    return row["odds_low" if row["scale"] == "odds" else "low"] > row["margin"]


def _reaches_margin(row: Any) -> bool:
    return row["odds_high" if row["scale"] == "odds" else "high"] > row["margin"]


def number(value: float, sign: str = "") -> str:
    """Two decimals below 10, else one: a hundredth of a point does not matter beside 77 points."""
    value = round(value, 2) + 0.0  # no minus zero
    return f"{value:{sign}.2f}" if abs(value) < 9.995 else f"{value:{sign}.1f}"


def probability(p: float) -> str:
    """<.001, or .034."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def only_single(lines: pd.DataFrame) -> bool:
    """Whether every line that has several depths rests on single runs."""
    several = lines[lines.verdict != ""]
    return len(several) > 0 and bool(several.verdict.isin(ONE_RUN).all())
