"""Does training error rise with depth? Every line of nets, judged as a whole.

A line holds nets of one protocol that differ in nothing but depth. Constructed nets belong to no line.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from degrade.analysis.judge import Line, judge
from degrade.analysis.pairs import Group
from degrade.analysis.stats import SCALES
from degrade.errors import SpecError, pick
from degrade.spec import RunSpec

LINES = {
    "protocol": "groups that may be compared",
    "line": "nets that differ in nothing but depth: residual-A",
    "depths": "weighted layers of its nets",
    "verdict": "degrades (the deepest net, against the shallowest) | degrades at some depths | rises by less than the "
    "margin | does not degrade | "
    "undecided | cannot be judged; or what is said of single runs; nothing for one depth",
    "trend": "by how much the mean clean training error rises for each doubling of depth, in the unit of the scale",
    "trend_low": "lower end of its 95 % interval",
    "trend_high": "its upper end",
    "trend_depths": "weighted layers of the nets that the trend is over: several runs each, some of which trained",
    "scale": "points of error, or times the odds of a mistake",
    "failed": "runs that failed to train",
    "runs": "runs that are over",
    "single": "depths with one run",
    "missing": "how many runs are not over, by depth and state",
    "far_out": "runs far from the others of their group",
    "warmed": "depths whose nets warm up, if others of the line do not",
}


@dataclass(frozen=True)
class Rule:
    """How lines are judged. `margin`, the smallest difference of interest, is in the unit of the scale."""

    scale: str
    margin: float
    width: float | None  # points: half of the interval for which seeds are counted

    @classmethod
    def of(cls, scale: str, margin: float | None, width: float | None) -> "Rule":
        """The rule of the options of a command. Raises SpecError for options that cannot be."""
        known = pick(SCALES, scale, "--scale")
        margin = known.margin if margin is None else margin
        least, most = known.margins
        if not least < margin <= most:
            rule = f"must be above {least:g} and at most {most:g} {known.unit}, as in {known.margin:g}"
            raise SpecError(f"--margin={margin:g}: {rule}")
        if width is not None and scale != "points":
            raise SpecError(f"--width={width:g}: is in points of error; leave it out with --scale={scale}")
        if width is not None and not 0 < width <= 100:
            raise SpecError(f"--width={width:g}: must be above 0 and at most 100 points, as in 0.5")
        return cls(scale, margin, width)


_STATES = {"failed": "failed with an error"}  # in sentences, where runs fail to train too
Lines = dict[tuple[str, str], Line]  # (protocol, line) -> what is found of it


def judge_lines(ends: pd.DataFrame, failed: Collection[str], rule: Rule) -> Lines:
    """Judges each line of the frame of outcomes.outcomes. `failed` names the runs that failed to train."""
    drawn = ends[ends.origin == ""]
    return {
        (str(protocol), str(line)): judge(groups_of(own, failed), rule.margin, rule.scale)
        for (protocol, line), own in drawn.groupby(["protocol", "line"])
    }


def groups_of(rows: pd.DataFrame, failed: Collection[str]) -> list[Group]:
    """The groups of one line, shallow to deep."""
    found: list[Group] = []
    for depth, own in rows.groupby("depth"):
        by = {str(split): each.sort_values("run") for split, each in own.groupby("split")}
        clean, test = by["train_clean"], by["test"]
        errors = [each["last"].to_numpy(float) for each in (clean, test)]
        images = [int(each.n.min()) for each in (clean, test)]
        marks = clean.run.isin(list(failed)).to_numpy(bool)
        found.append(Group(int(str(depth)), errors[0], errors[1], images[0], images[1], marks, tuple(clean.seed)))
    return found


def list_depths(depths: Iterable[int]) -> str:
    """20, 32 and 56."""
    words = [str(depth) for depth in sorted({*depths})]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def describe_lines(
    lines: Lines, rule: Rule, ends: pd.DataFrame, left_out: pd.DataFrame, specs: Mapping[str, RunSpec]
) -> pd.DataFrame:
    """Each line as a whole: the columns of LINES. `left_out` has labels and states of the runs that are not over."""
    out = left_out[left_out.origin == ""] if len(left_out) else left_out
    rows: list[dict[str, Any]] = []
    for (protocol, line), found in lines.items():
        outer, trend = SCALES[rule.scale].outer, found.trend
        slope = (np.nan,) * 3 if trend is None else (trend.difference, trend.low, trend.high)
        own = ends[(ends.protocol == protocol) & (ends.line == line)]
        waits = out[(out.protocol == protocol) & (out.line == line)] if len(out) else out
        rows.append(
            {
                "protocol": protocol,
                "line": line,
                "depths": list_depths(group.depth for group in found.groups),
                "verdict": found.verdict,
                **dict(zip(("trend", "trend_low", "trend_high"), (outer(float(each)) for each in slope), strict=True)),
                "trend_depths": list_depths(found.trending),
                "scale": rule.scale,
                "failed": sum(group.failures for group in found.groups),
                "runs": sum(group.runs for group in found.groups),
                "single": list_depths(group.depth for group in found.groups if group.runs == 1),
                "missing": _list_missing(waits),
                "far_out": _list_far_out(found, rule),
                "warmed": list_warmed(own, specs),
            }
        )
    return pd.DataFrame(rows, columns=list(LINES))


def _list_missing(waits: pd.DataFrame) -> str:
    """2 runs of 56 layers (1 failed with an error, 1 running)."""
    found: list[str] = []
    for depth, rows in waits.groupby("depth") if len(waits) else ():
        states = ", ".join(
            f"{count} {_STATES.get(state, state)}" for state, count in sorted(Counter(rows.state).items())
        )
        found.append(f"{len(rows)} {'run' if len(rows) == 1 else 'runs'} of {depth} layers ({states})")
    return ", ".join(found)


def _list_far_out(line: Line, rule: Rule) -> str:
    """Seed 3 of 56 layers at 20.00 %, the others that trained at 5.02 % on average."""
    least = rule.margin if rule.scale == "points" else SCALES["points"].margin
    found: list[str] = []
    for group in line.groups:
        far = group.far(least)
        if far.any():
            seeds = " and ".join(f"seed {group.seeds[i]} at {group.clean[i]:.2f} %" for i in np.flatnonzero(far))
            rest = group.clean[~far & ~group.failed].mean()
            found.append(f"of {group.depth} layers {seeds} (the others that trained: {rest:.2f} % on average)")
    return "; ".join(found)


def list_warmed(ends: pd.DataFrame, specs: Mapping[str, RunSpec]) -> str:
    """The depths of runs whose learning rate warms up, or "" if all do, or none does."""
    runs = ends.run.unique()
    warmed = {run for run in runs if specs[run].recipe.warms_up(specs[run].net)}
    return "" if len(warmed) in (0, len(runs)) else list_depths(specs[run].net.depth for run in warmed)
