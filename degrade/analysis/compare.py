"""Every table about a results folder, as frames: `degrade compare` prints them, `degrade.compare` returns them."""

from typing import NamedTuple

import pandas as pd

from degrade.analysis.constructed import COPIES, compare_constructed
from degrade.analysis.failures import failed_runs
from degrade.analysis.interaction import INTERACTION, interaction
from degrade.analysis.lines import LINES, Rule, describe_lines, judge_lines
from degrade.analysis.outcomes import REACHED, SUMMARY, add_labels, measure_speed, outcomes, summary
from degrade.analysis.replication import BESIDE_PAPER, TABLE6, beside_paper, table6
from degrade.analysis.verdicts import VERDICTS, verdicts
from degrade.errors import SpecError
from degrade.spec.rows import LABELS
from degrade.store.results import Tables
from degrade.store.state import CONSTRUCTED, MIXED, OVER, UNKNOWN

LAST = 5  # evaluations at the end of a run that the tail mean is over
_LEFT_OUT = {
    "run": "its name",
    "state": "running | interrupted | failed | ...; or without a curve",
    "reason": "what it says of a failure",
}
_MACHINES = {
    "run": "its name",
    "machine": "mixed: not all of its steps were computed by the same; unknown: an older degrade did not note some",
    "computed_by": "processor, torch and kernels, by iteration",
}
# table -> column -> what it means, with its unit
COLUMNS = {
    "summary": SUMMARY,
    "reached": REACHED,
    "lines": LINES,
    "verdicts": VERDICTS,
    "interaction": INTERACTION,
    "paper": BESIDE_PAPER,
    "table6": TABLE6,
    "constructed": COPIES,
    "left_out": _LEFT_OUT,
    "machines": _MACHINES,
}


class Comparison(NamedTuple):
    """The frames of COLUMNS. No row mixes protocols."""

    summary: pd.DataFrame  # errors of each group
    reached: pd.DataFrame  # how soon each group reached a training error
    verdicts: pd.DataFrame  # deeper nets against shallower ones, within one line
    interaction: pd.DataFrame  # how much more depth costs a plain net
    paper: pd.DataFrame  # the paper's numbers beside ours
    table6: pd.DataFrame  # Table 6 beside ours
    constructed: pd.DataFrame  # constructed nets beside nets from random weights
    left_out: pd.DataFrame  # runs that do not count, and why
    lines: pd.DataFrame  # each line of nets as a whole
    machines: pd.DataFrame  # runs that count, and that more than one machine computed

    def __repr__(self) -> str:
        """Comparison(verdicts: 3 rows; summary: 24 rows; ...), and the verdict of each line of nets."""
        told = [f"{line}: {said}" for line, said in zip(self.lines.line, self.lines.verdict, strict=True)]
        sizes = [f"{name}: {len(frame)} rows" for name, frame in self.frames().items() if len(frame)]
        return f"Comparison({'; '.join([*told, *sizes])})"

    def frames(self) -> dict[str, pd.DataFrame]:
        return self._asdict()


class Ended(NamedTuple):
    """The runs that are over, and those that are not."""

    curves: pd.DataFrame  # labelled curves of the runs that are over
    ends: pd.DataFrame  # the frame of outcomes.outcomes
    outcome: dict[str, str]  # run -> diverged | not started | ""
    failed: set[str]  # runs that failed to train
    left_out: pd.DataFrame  # labelled runs that are not over: states and labels
    machines: pd.DataFrame  # runs that are over, and that more than one machine computed


def pick_ended(tables: Tables, last: int = LAST) -> Ended:
    """Picks the runs that count. A run that is finished or diverged counts at its error, even at chance."""
    known = tables.runs.reindex(columns=["run", "state", "outcome", "reason"]).astype(object)
    runs = known.where(known.notna(), "").astype(str)
    splits = tables.curves.groupby("run").split.unique() if len(tables.curves) else {}
    measured = runs.run.map(lambda run: {"train_clean", "test"} <= {*splits.get(run, ())}).astype(bool)
    counts = runs.state.isin(OVER) & measured
    curves = add_labels(tables.curves[tables.curves.run.isin(runs.run[counts])], tables.specs)
    ends = outcomes(curves, set(runs.run[runs.state == "diverged"]), last)
    outcome = dict(zip(runs.run, runs.outcome.where(runs.state != "diverged", "diverged"), strict=True))
    state = runs.state.where(measured | ~runs.state.isin(OVER), "without a curve")
    out = runs.assign(state=state)[~counts & (runs.state != CONSTRUCTED)]
    labels = pd.DataFrame([tables.specs[run].labels() for run in out.run], columns=list(LABELS), index=out.index)
    left_out = add_labels(out.join(labels.drop(columns="run")), tables.specs)
    known = tables.runs.reindex(columns=list(_MACHINES))
    mixed = known[counts & known.machine.isin((MIXED, UNKNOWN))].reset_index(drop=True)
    return Ended(curves, ends, outcome, failed_runs(ends, outcome, tables.specs), left_out, mixed)


class Answer(NamedTuple):
    """What follows for each line of nets."""

    lines: pd.DataFrame  # of COLUMNS["lines"]
    verdicts: pd.DataFrame  # of COLUMNS["verdicts"]


def answer(tables: Tables) -> Answer:
    """The part of `compare` that says what follows, at the default margin."""
    return _judge(pick_ended(tables), Rule.of("points", None, None), tables)


def _judge(ended: Ended, rule: Rule, tables: Tables) -> Answer:
    lines = judge_lines(ended.ends, ended.failed, rule)
    told = describe_lines(lines, rule, ended.ends, ended.left_out, tables.specs)
    return Answer(told, verdicts(lines, rule))


def compare(
    tables: Tables,
    *,
    last: int = LAST,
    margin: float | None = None,
    width: float | None = None,
    scale: str = "points",
) -> Comparison:
    """Judges the runs of degrade.load, and returns the verdicts with the tables they rest on.

    `last` is the number of evaluations that the tail mean is over. `scale` is what decides: points of error, or odds
    of a mistake. `margin` is the smallest difference of interest, in points (None: 0.5) or times the odds (None: 1.25).
    `width` is half of the 95 % interval for which seeds are counted, in points (None: the width that would decide each
    pair). A run that is finished or diverged counts at its error, even if it never left chance. All other runs are in
    `left_out`. If no run is over, every frame but `left_out` and `constructed` is empty. Raises SpecError for a `last`
    below 1, an unknown scale, and a `margin` or `width` that cannot be.
    """
    if last < 1:
        raise SpecError(f"--last={last}: must be at least 1 evaluation")
    rule = Rule.of(scale, margin, width)
    ended = pick_ended(tables, last)
    judged = _judge(ended, rule, tables)
    # the start of a constructed net counts in any state
    over = set(ended.curves.run.unique())
    begun = tables.curves.run.isin(tables.runs.reindex(columns=["run"]).run) & (tables.curves.origin != "")
    built = add_labels(tables.curves[begun | tables.curves.run.isin(over)], tables.specs)
    return Comparison(
        summary=summary(ended.ends, ended.outcome, last),
        reached=measure_speed(ended.curves),
        verdicts=judged.verdicts,
        interaction=interaction(ended.ends, ended.failed, tables.specs),
        paper=beside_paper(ended.ends, ended.failed, tables.specs),
        table6=table6(ended.ends, tables.specs),
        constructed=compare_constructed(built, tables.specs, over),
        left_out=ended.left_out[list(_LEFT_OUT)],
        lines=judged.lines,
        machines=ended.machines,
    )
