"""Writes a report: tables for terminal and Markdown, and JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from degrade.bench import Report
from degrade.bench.exact import LOST, YARDSTICK, Exactness
from degrade.bench.limit import Peak
from degrade.bench.same import Sameness
from degrade.bench.timing import Measured, Row
from degrade.errors import RunError
from degrade.store.files import write
from degrade.views.sheets import Sheet, markdown
from degrade.views.sheets import as_json as sheets_json

_REPORT_FORMAT = 1  # of the JSON
# table -> column -> what it means, with its unit
COLUMNS = {
    "loops": {
        "case": "the net and the pictures",
        "loop": "a backend of ours with its precision, or the peer",
        "images_per_second": "median of the rounds",
        "least": "least of the rounds, images per second",
        "most": "greatest of the rounds, images per second",
        "ratio": "to the peer, median of the rounds",
        "of_limit": "share of the FLOP limit, from 0 to 1; null where that is not known",
        "run": "seconds of a whole run with evaluation, checkpoints and logging",
        "memory": "bytes at the peak",
        "same": "whether the loop computes what it should; null where that is not compared",
    },
    "sameness": {
        "loop": "a backend of ours with its precision",
        "net": "the net compared",
        "loss": "relative deviation of the loss, in step; so are the next two",
        "update": "of the change of the weights",
        "statistics": "of the change of BN's statistics",
        "first": "of the mean loss of the first 10 steps on its own",
        "whole": "of the mean loss of all steps on its own",
        "nearest": "the deviation that is nearest to its bound, as a share of the bound",
        "same": "whether all are within their bounds",
    },
    "exactness": {
        "loop": "a backend of ours with its precision; torch: plain torch, contiguous, the largest of several orders",
        "net": "the net compared",
        "state": "fresh | trained: its weights",
        "loss": "relative deviation of the loss from float64, in one step at the paper's shape; so are the next two",
        "gradient": "of the gradient",
        "statistics": "of BN's mean and variance",
        "nearest": "the deviation that is nearest to its bound, as a share of the bound; 0 for torch, which sets it",
        "same": "whether all are within their bounds",
    },
}
# shares of a run with the paper's recipe; each must stay below
_TARGETS = {"evaluation": 0.05, "checkpoints and logging": 0.01}


def sheets(report: Report) -> list[Sheet]:
    """Makes the tables of a report, in reading order."""
    rows = (*report.same, *report.exact)
    same = {loop: all(row.ok for row in rows if row.loop == loop) for loop in {row.loop for row in report.same}}
    cases = [_rates_sheet(case, same) for case in report.cases] if report.timed else [_short_sheet(report)]
    return [
        _heading(report),
        *cases,
        *([_besides_sheet(report.cases)] if report.timed else []),
        _sameness_sheet(report.same),
        _exactness_sheet(report.exact),
    ]


def _heading(report: Report) -> Sheet:
    about = [f"{report.threads} threads; peer: best of its loader's workers, threads as ours"] if report.timed else []
    peaks = [f"peak in {precision}: {_describe_peak(peak)}" for precision, peak in report.peaks.items()]
    refused = [f"not here: {loop}: {why}" for loop, why in report.unavailable.items()]
    return Sheet(report.machine.title, notes=(*about, *peaks, *refused))


def _describe_peak(peak: Peak) -> str:
    others = ", ".join(f"{rate / 1e9:,.0f} {kind}" for kind, rate in peak.all.items() if kind != peak.by)
    return f"{peak.flops / 1e9:,.0f} GFLOP/s, {peak.by}" + (f" ({others})" if others else "")


def _rates_sheet(measured: Measured, same: dict[str, bool]) -> Sheet:
    """The table of one case: medians of interleaved rounds."""
    iterations = f">{measured.case.recipe.iterations / 1000:g}k its"
    columns = ("loop", ">images/s", ">least-most", ">x peer", ">limit", iterations, ">memory", "same")
    title = f"{measured.case.name}: {measured.flops / 1e9:.4g} GFLOP an image"
    refused = tuple(f"not here: {loop}: {why}" for loop, why in measured.unavailable.items())
    records = [
        {
            "case": measured.case.name,
            "loop": row.loop,
            "images_per_second": row.images_per_second,
            "least": row.least,
            "most": row.most,
            "ratio": row.ratio,
            "of_limit": row.of_limit,
            "run": row.run,
            "memory": row.memory,
            "same": same.get(row.loop),
        }
        for row in measured.rows
    ]
    return Sheet(title, columns, [_cells(row, same) for row in measured.rows], refused, name="loops", records=records)


def _cells(row: Row, same: dict[str, bool]) -> tuple[str, ...]:
    return (
        row.loop,
        f"{row.images_per_second:,.0f}",
        f"{row.least:,.0f}-{row.most:,.0f}",
        f"{row.ratio:.2f}",
        f"{100 * row.of_limit:.0f} %" if row.of_limit else "",
        _duration(row.run),
        f"{row.memory / 1e9:.2f} GB",
        _yes(same[row.loop]) if row.loop in same else "",
    )


def _short_sheet(report: Report) -> Sheet:
    """The short form: every loop runs, and no times."""
    loops = [f"{row.loop}: goes" for case in report.cases for row in case.rows]
    failed = [f"{loop}: {why}" for case in report.cases for loop, why in case.unavailable.items()]
    return Sheet(f"{', '.join(case.case.name for case in report.cases)}: loops", notes=(*loops, *failed))


def _besides_sheet(cases: Sequence[Measured]) -> Sheet:
    """The shares of a whole run besides its steps; with the paper's recipe, also whether they meet the targets."""
    rows: list[tuple[str, ...]] = []
    worst = dict.fromkeys(_TARGETS, 0.0)
    for measured in cases:
        for row in measured.rows:
            if row.shares:
                parts = [row.shares.of(part) for part in ("evaluation", "checkpoints", "logging")]
                case = f"{measured.case.depth}, {measured.case.recipe.name}"
                rows.append((case, row.loop, *(f"{100 * part:.2f} %" for part in parts), _duration(row.run)))
                if measured.case.recipe.name == "paper":
                    for target, share in zip(_TARGETS, (parts[0], parts[1] + parts[2]), strict=True):
                        worst[target] = max(worst[target], share)
    verdicts = (
        f"{name}: at most {100 * worst[name]:.2f} % with the paper's recipe; target, below {100 * target:g} %: "
        + ("met" if worst[name] < target else "missed")
        for name, target in _TARGETS.items()
    )
    columns = ("depth, recipe", "loop", ">evaluation", ">checkpoints", ">logging", ">whole run")
    return Sheet("what a run does besides its steps, share of its time", columns, rows, tuple(verdicts))


def _sameness_sheet(found: Sequence[Sameness]) -> Sheet:
    """The table of relative deviations from eager fp32 and their bounds."""
    columns = ("loop", "net", ">loss", ">update", ">BN", ">first 10", ">all", ">of bound", "same")
    rows = [
        (row.loop, row.net, *(f"{getattr(row, name):.0e}" for name in row.bounds), _percent(row.nearest), _yes(row.ok))
        for row in found
    ]
    bounds = {row.loop.rsplit("-", 1)[1]: row.bounds for row in found}
    rows += [
        (f"bound, {key}", "", *(f"{bound:.0e}" for bound in each.values()), "", "") for key, each in bounds.items()
    ]
    notes = (
        "loss, update, BN: in step, from the same weights on the same batch: loss, change of the weights and of BN's "
        "statistics. first 10, all: mean loss of 200 steps on its own, where training amplifies rounding.",
    )
    title = "the same as eager fp32? Relative deviations on the digits, 20 layers"
    records = [
        {"loop": row.loop, "net": row.net, **{name: getattr(row, name) for name in row.bounds}, "nearest": row.nearest}
        | {"same": row.ok}
        for row in found
    ]
    return Sheet(title, columns, rows, notes, name="sameness", records=records)


def _exactness_sheet(found: Sequence[Exactness]) -> Sheet:
    """The table of relative deviations from float64, with those of plain torch above the loops that it measures."""
    names = ("loss", "gradient", "statistics")
    columns = ("loop", "net", "state", ">loss", ">gradient", ">BN", ">of bound", "same")
    rows = [
        (row.loop, row.net, row.state, *(f"{getattr(row, name):.0e}" for name in names))
        + ((_percent(row.nearest), _yes(row.ok)) if row.bounds else ("", ""))
        for row in found
    ]
    lost = [row for row in found if row.loop.startswith(YARDSTICK) and not row.gradient <= LOST]
    notes = (
        "one step from one state on one batch of 128 pictures of 3x32x32; torch: plain torch, contiguous, the largest "
        "deviation of two orders of the batch. A loop may be four times as far, in BN ten times.",
        *(
            f"{row.net}, {row.state}: {row.loop.removeprefix(YARDSTICK)[1:]} itself ends here; its gradient is "
            f"{_percent(row.gradient)} off, and only BN is judged"
            for row in lost
        ),
    )
    records = [
        {"loop": row.loop, "net": row.net, "state": row.state, **{name: getattr(row, name) for name in names}}
        | {"nearest": row.nearest, "same": row.ok}
        for row in found
    ]
    return Sheet("how far from float64? Relative deviations", columns, rows, notes, name="exactness", records=records)


def _yes(same: bool) -> str:
    return "yes" if same else "NO"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "inf"


def _duration(seconds: float) -> str:
    """4.2 s, 12 min, 3.1 h, 2.4 d."""
    for size, unit in ((1, "s"), (60, "min"), (3600, "h"), (86400, "d")):
        if seconds < 100 * size or unit == "d":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError


def _tree(report: Report) -> dict[str, Any]:
    """A report as plain values for JSON."""
    values: dict[str, Any] = {"format": _REPORT_FORMAT, "ok": report.ok, **asdict(report)}
    for name, rows in (("same", report.same), ("exact", report.exact)):
        values[name] = [{**asdict(row), "nearest": row.nearest, "ok": row.ok} for row in rows]
    for case, measured in zip(values["cases"], report.cases, strict=True):
        case["name"], case["peer"] = measured.case.name, measured.peer.loop
    return values


def as_json(report: Report) -> str:
    return sheets_json(_tree(report))


def save(report: Report, folder: Path) -> list[Path]:
    """Writes Markdown and JSON, named by date and hardware. Raises RunError where they cannot be written."""
    name = f"{report.machine.environment['started'][:10]}-{report.machine.slug}"
    contents = {".md": markdown(sheets(report)), ".json": as_json(report)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for end, content in contents.items():
            write(folder / f"{name}{end}", f"{content}\n".encode())
    except OSError as error:
        raise RunError(f"--save={folder}: cannot be written ({error.strerror}); name another folder") from None
    return [folder / f"{name}{end}" for end in contents]
