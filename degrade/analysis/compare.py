"""Every table about a results folder, as frames: `degrade compare` prints them, `degrade.compare` returns them."""

from typing import NamedTuple

import pandas as pd

from degrade.analysis.constructed import COPIES, compare_constructed
from degrade.analysis.outcomes import REACHED, SUMMARY, add_labels, measure_speed, outcomes, summary
from degrade.analysis.replication import BESIDE_PAPER, TABLE6, beside_paper, table6
from degrade.analysis.verdicts import INTERACTION, MARGIN, VERDICTS, interaction, verdicts
from degrade.errors import SpecError
from degrade.store.results import Tables
from degrade.store.state import CONSTRUCTED, OVER

LAST = 5  # evaluations at the end of a run that the tail mean is over
_LEFT_OUT = {
    "run": "its name",
    "state": "running | interrupted | failed | ...; or without a curve",
    "reason": "what it says of a failure",
}
# table -> column -> what it means, with its unit
COLUMNS = {
    "summary": SUMMARY,
    "reached": REACHED,
    "verdicts": VERDICTS,
    "interaction": INTERACTION,
    "paper": BESIDE_PAPER,
    "table6": TABLE6,
    "constructed": COPIES,
    "left_out": _LEFT_OUT,
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

    def frames(self) -> dict[str, pd.DataFrame]:
        return self._asdict()


def compare(tables: Tables, *, last: int = LAST, margin: float = MARGIN, width: float | None = None) -> Comparison:
    """Judges the runs of degrade.load, and returns the verdicts with the tables they rest on.

    `last` is the number of evaluations that the tail mean is over. `margin` is the smallest difference of interest, in
    points. `width` is half of the 95 % interval for which seeds are counted, in points (None: the width that would
    decide each pair). A run that is finished or diverged counts at its error, even if it never left chance. All other
    runs are in `left_out`. If no run is over, every frame but `left_out` and `constructed` is empty. Raises SpecError
    for a `last` below 1 and for a `margin` or `width` that is not above 0 and at most 100.
    """
    if last < 1:
        raise SpecError(f"--last={last}: must be at least 1 evaluation")
    known = tables.runs.reindex(columns=["run", "state", "outcome", "reason"]).astype(object)
    runs = known.where(known.notna(), "").astype(str)
    measured = runs.run.isin(tables.curves.run.unique())
    counts = runs.state.isin(OVER) & measured
    ended = tables.curves.run.isin(runs.run[counts])
    curves = add_labels(tables.curves[ended], tables.specs)
    ends = outcomes(curves, set(runs.run[runs.state == "diverged"]), last)
    out = runs[~counts & (runs.state != CONSTRUCTED)]
    # the start of a constructed net counts in any state
    begun = tables.curves.run.isin(runs.run) & (tables.curves.origin != "")
    built = add_labels(tables.curves[begun | ended], tables.specs)
    state = out.state.where(measured | ~out.state.isin(OVER), "without a curve")
    return Comparison(
        summary=summary(ends, dict(zip(runs.run, runs.outcome, strict=True)), last),
        reached=measure_speed(curves),
        verdicts=verdicts(ends, margin, width),
        interaction=interaction(ends),
        paper=beside_paper(ends, tables.specs),
        table6=table6(ends, tables.specs),
        constructed=compare_constructed(built, tables.specs, set(runs.run[counts])),
        left_out=out.assign(state=state)[list(_LEFT_OUT)],
    )
