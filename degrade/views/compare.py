"""The tables of a comparison, in any format."""

import json
from collections.abc import Callable, Mapping, Sequence

from degrade.analysis.compare import Comparison
from degrade.errors import SpecError, pick
from degrade.spec.escape import formula
from degrade.views.answers import answers
from degrade.views.sheets import TABLE_FORMATS, Sheet, latex, markdown, name_data
from degrade.views.summaries import constructions, papers, speeds, summaries, table6
from degrade.views.verdicts import absences, interactions, judgements, mixtures

TABLES: dict[str, Callable[[Comparison], list[Sheet]]] = {  # in the order of printing
    "lines": lambda found: answers(found.lines, found.verdicts),
    "summary": lambda found: summaries(found.summary),
    "reached": lambda found: speeds(found.reached),
    "paper": lambda found: papers(found.paper),
    "table6": lambda found: table6(found.table6),
    "constructed": lambda found: constructions(found.constructed),
    "interaction": lambda found: interactions(found.interaction),
    "verdicts": lambda found: judgements(found.verdicts),
}


def sheets(found: Comparison, names: Sequence[str] = (), labels: Mapping[str, str] | None = None) -> list[Sheet]:
    """The named tables, or without names every table that applies; then runs left out, and runs of several machines.

    `labels`: what people call the data of a protocol.
    """
    asked = [name for name in TABLES if name in names or (not names and _applies(found, name))]
    if "verdicts" in names and "lines" not in names:
        asked = ["lines", *asked]  # the answers that the verdicts add up to
    shown = [sheet for name in asked for sheet in TABLES[name](found)]
    return name_data([*shown, *absences(found.left_out), *mixtures(found.machines)], labels or {})


def _applies(found: Comparison, name: str) -> bool:
    """Whether a table is shown if no table is named. Table 6 is shown for CIFAR-10 only."""
    if name == "table6":
        ours = found.summary.protocol[found.summary.protocol.isin(found.table6.protocol)]
        return bool(ours.str.match("cifar10-").any())
    return name == "verdicts" or len(found.frames()[name]) > 0


def check(form: str, names: Sequence[str]) -> None:
    """Raises SpecError for an unknown format, an unknown table, or several tables as CSV."""
    pick(dict.fromkeys(TABLE_FORMATS), form, "--format")
    for name in names:
        pick(TABLES, name, "--table")
    if form == "csv" and len(names) > 1:
        raise SpecError(f"--table={','.join(names)}: --format=csv writes one table; ask for one")


def render(found: Comparison, form: str, names: Sequence[str], labels: Mapping[str, str] | None = None) -> str:
    """Renders a comparison in any format but `table`, the terminal's. JSON and CSV hold the frames as they are."""
    frames = found.frames()
    if form == "csv":
        frame = frames[names[0] if names else "verdicts"]
        return frame.map(formula).to_csv(index=False).rstrip("\n")
    if form == "json":
        beside = ("left_out", *(["machines"] if not names or len(found.machines) else []))
        chosen = {name: frames[name] for name in (*(names or TABLES), *beside)}
        return json.dumps(
            {name: json.loads(frame.to_json(orient="records")) for name, frame in chosen.items()}, indent=1
        )
    return {"markdown": markdown, "latex": latex}[form](sheets(found, names, labels))
