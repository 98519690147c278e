"""Does training error rise with depth? Verdicts within one line of nets, and the interaction of depth and net.

A line holds nets of one protocol that differ in nothing but depth. Constructed nets belong to no line.
"""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, NamedTuple

import pandas as pd

from degrade.analysis.outcomes import sample_rows
from degrade.analysis.stats import ALPHA, Contrast, Sample, above, below, contrast, holm, seeds_needed
from degrade.errors import SpecError

MARGIN = 0.5  # points: the smallest difference of interest
OPEN = "not enough runs"
VERDICTS = {
    "protocol": "groups that may be compared",
    "line": "nets that differ in nothing but depth: residual-A",
    "depth": "weighted layers of the deeper net",
    "than": "weighted layers of the shallower net it is compared with",
    "against": "what that one is: shallowest | best (least mean clean training error of the shallower ones) | both",
    "error": "mean clean training error of the deeper net, %",
    "error_than": "of the shallower net, %",
    "difference": "the first less the second, points",
    "low": "lower end of its 95 % interval, points",
    "high": "its upper end, points",
    "p": "one-sided, that the difference is not above the margin; after Holm, over all pairs of the line",
    "test_difference": "of test errors, points",
    "test_low": "lower end of its 95 % interval, points",
    "test_high": "its upper end, points",
    "test_p": "as p, of the test error",
    "basis": "seeds | images: of single runs, which says nothing about seeds",
    "runs": "of the deeper net",
    "runs_than": "of the shallower net",
    "margin": "the smallest difference of interest, points",
    "verdict": "degrades | overfits | gains | no difference | not enough runs",
    "seeds": "runs of each net for an interval of ± width; missing where the verdict stands or the spread is unknown",
    "width": "half of the interval that is asked for, else of one that would end at the margin, points",
}
INTERACTION = {
    "protocol": "groups that may be compared",
    "base": "the plain nets: plain, plain-w32",
    "line": "the nets set against them: residual-A",
    "shallow": "the shallowest depth that both lines have",
    "deep": "the deepest",
    "plain": "clean training error of the deep plain net less that of the shallow one, points",
    "other": "the same of the line, points",
    "interaction": "the first less the second, points: how much more depth costs a plain net",
    "low": "lower end of its 95 % interval, points",
    "high": "its upper end, points",
    "basis": "seeds | images: some group has a single run, which says nothing about seeds",
    "runs": "of the group that has the fewest",
}


class _Pair(NamedTuple):
    """A deeper net less a shallower one."""

    deep: int
    shallow: int
    train: Contrast  # of clean training errors
    test: Contrast


class Location(NamedTuple):
    """Where the interval of a pair lies, after the correction for all pairs of the line."""

    where: str  # above | below | inside (the margin) | open
    p: float  # one-sided, that the difference is not above the margin; corrected


def verdicts(ends: pd.DataFrame, margin: float = MARGIN, width: float | None = None) -> pd.DataFrame:
    """Judges each deeper net against the shallowest and the best shallower net of its line: the columns of VERDICTS.

    `ends` is the frame of outcomes.outcomes. `width` is half of the interval for which seeds are counted, in points.
    Raises SpecError for a margin or width that is not above 0 and at most 100.
    """
    for key, value in (("margin", margin), ("width", width)):
        if value is not None and not 0 < value <= 100:
            raise SpecError(f"--{key}={value:g}: must be above 0 and at most 100 points, as in {MARGIN:g}")
    drawn = ends[ends.origin == ""]
    rows = [
        {"protocol": protocol, "line": line, **row, "margin": margin}
        for (protocol, line), own in drawn.groupby(["protocol", "line"])
        for row in _judge_line(_samples_by_depth(own, "train_clean"), _samples_by_depth(own, "test"), margin, width)
    ]
    return pd.DataFrame(rows, columns=list(VERDICTS)).astype({"seeds": "Int64"})


def _samples_by_depth(rows: pd.DataFrame, split: str) -> dict[int, Sample]:
    """The sample of each depth on one split, shallow to deep."""
    by = rows[rows.split == split].groupby("depth")
    return {int(str(depth)): sample_rows(own) for depth, own in by}


def _judge_line(
    train: dict[int, Sample], test: dict[int, Sample], margin: float, width: float | None
) -> list[dict[str, Any]]:
    """Judges one line. The correction covers all pairs, so it allows for the choice of the best shallower net."""
    pairs = [
        _Pair(deep, shallow, *(contrast([split[deep], split[shallow]], [1, -1]) for split in (train, test)))
        for shallow, deep in combinations(sorted(train), 2)
    ]
    trained = locate([pair.train for pair in pairs], margin)
    tested = locate([pair.test for pair in pairs], margin)
    rows: list[dict[str, Any]] = []
    for pair, on_train, on_test in zip(pairs, trained, tested, strict=True):
        if against := _role(pair, train):
            verdict = _verdict_of(on_train.where, on_test.where, float(pair.train.high), margin)
            both = [train[pair.deep], train[pair.shallow]]
            found = {"p": on_train.p, "test_p": on_test.p, "against": against, "verdict": verdict}
            more = _count_seeds(pair.train, both, margin, width) if verdict == OPEN else {}
            rows.append({**_describe_pair(pair, both), **found, **more})
    return sorted(rows, key=lambda row: (row["depth"], row["than"]))


def locate(contrasts: Sequence[Contrast], margin: float) -> list[Location]:
    """Locates each interval. Above or below needs the interval beyond the margin, and Holm's p over all below 0.05."""
    over, under = (
        holm([float(p(each, limit)) for each in contrasts]) for p, limit in ((above, margin), (below, -margin))
    )
    found: list[Location] = []
    for each, p_over, p_under in zip(contrasts, over, under, strict=True):
        where = "open"
        if each.low > margin:
            where = "above" if p_over < ALPHA else "open"
        elif each.high < -margin:
            where = "below" if p_under < ALPHA else "open"
        elif -margin <= each.low and each.high <= margin:
            where = "inside"
        found.append(Location(where, p_over))
    return found


def _verdict_of(train: str, test: str, high: float, margin: float) -> str:
    """The verdict from the locations on train and test. `high` is the upper end of the interval on training error."""
    if train == "above":
        return "degrades"
    if high > margin:
        return OPEN
    if test == "above":  # though training is equivalent or better
        return "overfits"
    if "below" in (train, test):
        return "gains"
    return "no difference" if train == "inside" else OPEN


def _count_seeds(found: Contrast, both: Sequence[Sample], margin: float, width: float | None) -> dict[str, Any]:
    """Counts the seeds an open pair needs: for ± width, or without a width for an interval that ends at the margin.

    Without a width the count assumes that the difference and the variances stay as they are now. It then asks for at
    least one run more than the smaller of the two groups has.
    """
    edge = abs(abs(float(found.difference)) - margin)
    seeds = seeds_needed(both, [1, -1], edge if width is None else width)
    if seeds is not None and width is None:
        seeds = max(seeds, 1 + min(each.runs for each in both))
    return {"seeds": seeds, "width": edge if width is None else width}


def _role(pair: _Pair, train: dict[int, Sample]) -> str:
    """The role of the shallower net of a pair: shallowest | best | both, or "" if it has no role."""
    shallower = [depth for depth in sorted(train) if depth < pair.deep]
    best = min(shallower, key=lambda depth: float(train[depth].mean))
    roles = {shallower[0]: "shallowest", best: "best"} if best != shallower[0] else {best: "both"}
    return roles.get(pair.shallow, "")


def _describe_pair(pair: _Pair, both: Sequence[Sample]) -> dict[str, Any]:
    deep, shallow = both
    return {
        "depth": pair.deep,
        "than": pair.shallow,
        "error": float(deep.mean),
        "error_than": float(shallow.mean),
        "difference": float(pair.train.difference),
        "low": float(pair.train.low),
        "high": float(pair.train.high),
        "test_difference": float(pair.test.difference),
        "test_low": float(pair.test.low),
        "test_high": float(pair.test.high),
        "basis": pair.train.basis,
        "runs": deep.runs,
        "runs_than": shallow.runs,
    }


def interaction(ends: pd.DataFrame) -> pd.DataFrame:
    """(plain deep - plain shallow) - (other deep - other shallow) of training errors: the columns of INTERACTION.

    This is the paper's claim in one number: above 0, depth costs the plain net more than the other net. Each line that
    shares two depths with the plain nets of its protocol and width has a row.
    """
    drawn = ends[(ends.origin == "") & (ends.split == "train_clean")]
    rows: list[dict[str, Any]] = []
    for (protocol, _), own in drawn.groupby(["protocol", "width"]):
        lines = [(line, each.net.iloc[0], _samples_by_depth(each, "train_clean")) for line, each in own.groupby("line")]
        bases = [(line, by_depth) for line, net, by_depth in lines if net == "plain"]
        others = [(line, by_depth) for line, net, by_depth in lines if net != "plain"]
        for (base, plain), (line, other) in product(bases, others):
            if len(shared := sorted({*plain} & {*other})) > 1:
                found = _contrast_lines(plain, other, shared[0], shared[-1])
                rows.append({"protocol": protocol, "base": base, "line": line, **found})
    return pd.DataFrame(rows, columns=list(INTERACTION))


def _contrast_lines(plain: dict[int, Sample], other: dict[int, Sample], shallow: int, deep: int) -> dict[str, Any]:
    four = [plain[deep], plain[shallow], other[deep], other[shallow]]
    found = contrast(four, [1, -1, -1, 1])
    return {
        "shallow": shallow,
        "deep": deep,
        "plain": float(four[0].mean - four[1].mean),
        "other": float(four[2].mean - four[3].mean),
        "interaction": float(found.difference),
        "low": float(found.low),
        "high": float(found.high),
        "basis": found.basis,
        "runs": min(each.runs for each in four),
    }
