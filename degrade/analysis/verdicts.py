"""The verdicts on pairs of depths, as a frame."""

from typing import Any

import numpy as np
import pandas as pd

from degrade.analysis.failures import share
from degrade.analysis.judge import OPEN, Judged
from degrade.analysis.lines import Lines, Rule
from degrade.analysis.pairs import Pair
from degrade.analysis.stats import SCALES, predict, seeds_needed

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
    "p": "one-sided, that the deeper net is not worse by more than the margin, nor fails to train more often; "
    "corrected for all pairs of the line; missing where there is no verdict",
    "test_difference": "of test errors, points",
    "test_low": "lower end of its 95 % interval, points",
    "test_high": "its upper end, points",
    "test_p": "as p, of the test error",
    "basis": "what the interval is about. seeds: other seeds; images: other images only; prediction: one more run of "
    "the group that has several, if the group of one run spreads as it does",
    "runs": "of the deeper net",
    "runs_than": "of the shallower net",
    "margin": "the smallest difference of interest, in the unit of the scale",
    "verdict": "degrades | overfits | gains | within the margin | undecided; without a verdict: cannot be judged (all "
    "runs of the shallower net failed to train), or what is said of single runs",
    "seeds": "runs of each net for an interval of ± width; missing where the verdict stands or the spread is unknown",
    "width": "half of the interval that is asked for, else of one that would end at the margin, in the scale's unit",
    "scale": "what decides: points of error | odds of a mistake",
    "primary": "whether it is the primary comparison of the line: deepest against shallowest, of several runs each",
    "odds": "odds of a mistake on a training image, the deeper net's over the shallower one's",
    "odds_low": "lower end of its 95 % interval",
    "odds_high": "its upper end",
    "robust_low": "lower end of the 95 % interval of trimmed means, points; missing below 8 runs of each",
    "robust_high": "its upper end, points",
    "predicted_low": "where one has several runs and the other one: lower end of the 95 % prediction interval of one "
    "more of the several, %",
    "predicted_high": "its upper end, %",
    "failed": "runs of the deeper net that failed to train: diverged, never started, or at chance at the end",
    "failed_low": "their share: lower end of the exact 95 % interval, %",
    "failed_high": "its upper end, %",
    "failed_than": "of the shallower net",
    "failed_than_low": "their share: lower end of the exact 95 % interval, %",
    "failed_than_high": "its upper end, %",
    "failed_p": "one-sided p of Boschloo's test that the deeper net fails no more often; not corrected",
    "trained": "mean clean training error of the deeper net's runs that trained, %",
    "trained_than": "of the shallower net's, %",
}


def verdicts(lines: Lines, rule: Rule) -> pd.DataFrame:
    """Each deeper net against the shallowest and the best shallower net of its line: the columns of VERDICTS."""
    rows = [
        {"protocol": protocol, "line": line, **_describe(each), **_count_seeds(each, rule)}
        | {"margin": rule.margin, "scale": rule.scale}
        for (protocol, line), found in lines.items()
        for each in found.pairs
    ]
    frame = pd.DataFrame(rows, columns=list(VERDICTS))
    return frame.astype({"seeds": "Int64", "primary": bool})


def _describe(judged: Judged) -> dict[str, Any]:
    pair = judged.pair
    train, test, odds = pair.train["points"], pair.test["points"], pair.train["odds"]
    robust, predicted = pair.robust.get("points"), _predict(pair)
    row: dict[str, Any] = {
        "depth": pair.deep.depth,
        "than": pair.shallow.depth,
        "against": judged.role,
        "error": float(pair.deep.clean.mean()),
        "error_than": float(pair.shallow.clean.mean()),
        "p": judged.p,
        "test_p": judged.test_p,
        "basis": train.basis,
        "runs": pair.deep.runs,
        "runs_than": pair.shallow.runs,
        "verdict": judged.verdict,
        "primary": judged.primary,
        "robust_low": np.nan if robust is None else _possible(robust.low),
        "robust_high": np.nan if robust is None else _possible(robust.high),
        "predicted_low": predicted[0],
        "predicted_high": predicted[1],
        "failed_p": pair.fails,
    }
    for prefix, found in (("", train), ("test_", test)):
        row |= {f"{prefix}difference": float(found.difference)}
        row |= {f"{prefix}low": _possible(found.low), f"{prefix}high": _possible(found.high)}
    row |= dict(zip(("odds", "odds_low", "odds_high"), np.exp([odds.difference, odds.low, odds.high]), strict=True))
    for end, group in (("", pair.deep), ("_than", pair.shallow)):
        low, high = share(group.failures, group.runs)
        row |= {f"failed{end}": group.failures, f"failed{end}_low": low, f"failed{end}_high": high}
        row[f"trained{end}"] = float(group.clean[~group.failed].mean()) if not group.hopeless else np.nan
    return row


def _possible(difference: Any) -> float:
    """A difference of two errors (points) lies between -100 and 100. Few runs have intervals that reach beyond."""
    return min(100.0, max(-100.0, float(difference)))


def _predict(pair: Pair) -> tuple[float, float]:
    """The prediction interval (%) of one more run of the group that has several, where the other has one."""
    if pair.train["points"].basis != "prediction":
        return np.nan, np.nan
    several = pair.deep if pair.deep.runs > 1 else pair.shallow
    low, high = predict(several.trained["points"])
    return max(0.0, low), min(100.0, high)


def _count_seeds(judged: Judged, rule: Rule) -> dict[str, Any]:
    """Counts the seeds an open pair needs: for ± width, or without a width for an interval that ends at the margin.

    Without a width the count assumes that the difference and the variances stay as they are now. It then asks for at
    least one run more than the smaller of the two groups has.
    """
    if judged.verdict != OPEN:
        return {}
    scale, pair = SCALES[rule.scale], judged.pair
    both = [pair.deep.trained[rule.scale], pair.shallow.trained[rule.scale]]
    edge = abs(abs(float(pair.train[rule.scale].difference)) - scale.inner(rule.margin))
    seeds = seeds_needed(both, [1, -1], edge if rule.width is None else rule.width)
    if seeds is not None and rule.width is None:
        seeds = max(seeds, 1 + min(each.runs for each in both))
    return {"seeds": seeds, "width": scale.outer(edge) if rule.width is None else rule.width}
