"""Errors, speed and the paper's numbers as sheets for people to read."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from degrade.analysis.constructed import COMPARED
from degrade.analysis.outcomes import THRESHOLDS
from degrade.analysis.replication import NO_NUMBER
from degrade.views.sheets import Sheet, mean_and_std

_SPLIT_TITLES = {  # in the order of the sheets
    "train_clean": "clean training error",
    "test": "test error",
    "val": "validation error",
    "train": "running training error",
}
_SPLIT_MEANINGS = {
    "train_clean": "clean: training images that are not augmented, through the net as it is then.",
    "train": "running: mean over the augmented training images since the evaluation before, while the net changes.",
}
_SPLIT_WORDS = {"train_clean": "clean", "test": "test", "train": "running"}


def within(frame: pd.DataFrame, *keys: str) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Yields the rows of each value of these columns, in the order of the frame."""
    for _, rows in frame.groupby(list(keys), sort=False):
        yield tuple(str(rows[key].iloc[0]) for key in keys), rows


def summaries(frame: pd.DataFrame) -> list[Sheet]:
    """The errors of each group, one sheet per protocol and split."""
    parts = sorted(
        within(frame, "protocol", "split"), key=lambda part: (part[0][0], list(_SPLIT_TITLES).index(part[0][1]))
    )
    return [
        _error_sheet(f"{_SPLIT_TITLES[split]} at the last iterate, %: {protocol}", _SPLIT_MEANINGS.get(split, ""), rows)
        for (protocol, split), rows in parts
    ]


def _error_sheet(title: str, meaning: str, rows: pd.DataFrame) -> Sheet:
    """One row per group: the last iterate, the mean over the last evaluations, and for the test error the least."""
    by = {
        str(name): own.to_dict("records") for name, own in rows.groupby("statistic")
    }  # all statistics have the groups in one order
    count = by["tail"][0]["evaluations"]
    columns = ["net", ">runs", ">mean ± std", ">min", ">max", f">last {count}"]
    note = f"{meaning} last {count}: mean over the last {count} evaluations.".lstrip()
    cells = [_error_cells(last, tail) for last, tail in zip(by["last"], by["tail"], strict=True)]
    if "optimistic" in by:
        columns.append(">optimistic")
        note += " optimistic: mean of the runs' least test errors, which were chosen on the test set."
        cells = [(*row, f"{least['mean']:.2f}") for row, least in zip(cells, by["optimistic"], strict=True)]
    return Sheet(title, tuple(columns), cells, (note,))


def _error_cells(last: Any, tail: Any) -> tuple[str, ...]:
    """The cells of one group. Runs that diverged or stayed at chance count, and the name says how many there are."""
    counts = {"diverged": last["diverged"], "stayed at chance": last["not_started"]}
    marks = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    ends = (f"{last['min']:.2f}", f"{last['max']:.2f}", mean_and_std(tail["mean"], tail["std"]))
    return (
        last["label"] + (f" ({marks})" if marks else ""),
        str(last["runs"]),
        mean_and_std(last["mean"], last["std"]),
        *ends,
    )


def speeds(frame: pd.DataFrame) -> list[Sheet]:
    """How soon each group reached each training error, one sheet per protocol."""
    heads = [f">{error:g} %" for error in THRESHOLDS]
    columns = ("net", *heads, f">s to {heads[0][1:]}", *heads[1:])
    note = (
        "Median over runs of the first evaluation at or below that error. A run that never gets there counts as later "
        "than all others; -: at least half never do."
    )
    sheets: list[Sheet] = []
    for (protocol,), rows in within(frame, "protocol"):
        cells = [
            (label, *(f"{value:,.0f}" if value == value else "-" for value in (*own.iterations, *own.seconds)))
            for (label, _), own in within(rows, "label", "group")
        ]
        title = f"iterations and seconds until the clean training error is down to so much: {protocol}"
        sheets.append(Sheet(title, columns, cells, (note,)))
    return sheets


def papers(frame: pd.DataFrame) -> list[Sheet]:
    """The paper's numbers beside ours, one sheet per protocol and split. For another protocol, how it differs."""
    sheets: list[Sheet] = []
    for (protocol,), rows in within(frame, "protocol"):
        known, remarks = rows[rows.paper.notna()], tuple(_protocol_remarks(rows))
        parts = sorted(within(known, "split"), key=lambda part: list(_SPLIT_TITLES).index(part[0][0]))
        for (split,), own in parts:
            columns = ("net", f">ours, {_SPLIT_WORDS[split]}", ">paper", ">difference", ">expected", "")
            cells = [_paper_cells(row) for row in own.to_dict("records")]
            notes = (*_paper_notes(known), *remarks) if split == parts[-1][0][0] else ()
            sheets.append(Sheet(f"the paper and us, {_SPLIT_TITLES[split]}, %: {protocol}", columns, cells, notes))
        if known.empty:
            sheets.append(Sheet(f"the paper's numbers: {protocol}", notes=remarks))
    return sheets


def _paper_notes(rows: pd.DataFrame) -> list[str]:
    """What the columns of these numbers mean."""
    said = [
        "~: read off Fig. 6 by us, to about 0.1 (test) and 0.2 (training). difference: ours minus the paper's, points. "
        "expected: 95 % band for a mean like ours around the paper's, from our spread or that of its five ResNet-110 "
        "(0.16 points), whichever is wider, and from how exactly the figure can be read. A wide spread of ours "
        "makes the band wide, so inside it is no sign of agreement then.",
    ]
    if (rows.runs == 1).any():
        said.append(
            "One run: our spread is not known, so the band is no 95 % band; it supposes 0.16 points, and deep plain "
            "nets may spread more."
        )
    said.append("The paper does not say how it measured its training error: clean and running both stand beside it.")
    return said


def _protocol_remarks(rows: pd.DataFrame) -> list[str]:
    """Remarks on a protocol: how it differs from the paper's, or which of its nets the paper does not have."""
    found: list[str] = []
    for what in (what for what in rows.differs.unique() if what):
        if what == NO_NUMBER:
            found.append(f"{what}: {', '.join(rows.label[rows.differs == what].unique())}.")
        else:
            found.append(f"not the paper's protocol, so not set beside its numbers: {what}.")
    return found


def _paper_cells(row: Any) -> tuple[str, ...]:
    """The cells of one number of ours and the paper's."""
    mark = "~" if row["digitised"] else row["bound"]
    difference = "" if row["bound"] else f"{round(row['difference'], 2) + 0.0:+.2f}"
    expected = "" if row["bound"] else f"{row['low']:.2f} to {row['high']:.2f}"
    if pd.isna(row["inside"]):
        return (
            row["label"],
            mean_and_std(row["ours"], row["std"]),
            f"{mark}{row['paper']:.2f}",
            difference,
            "",
            "runs failed",
        )
    said = "inside" if row["inside"] else "above" if row["ours"] > row["high"] else "below"
    if row["runs"] == 1 and not row["bound"]:
        said = f"one run, {said}"
    return row["label"], mean_and_std(row["ours"], row["std"]), f"{mark}{row['paper']:.2f}", difference, expected, said


def table6(frame: pd.DataFrame) -> list[Sheet]:
    """Table 6 in the paper's layout, ours beside it."""
    sheets: list[Sheet] = []
    for (protocol, line), rows in within(frame, "protocol", "line"):
        columns = ("method", "># layers", "># params", ">error (%)", ">ours", ">runs")
        cells = [_table6_cells(row) for row in rows.to_dict("records")]
        notes = ["error (%) of the test set at the last iterate; several runs as best (mean±std)."]
        if rows.differs.iloc[0]:
            notes.append(f"Ours are not of the paper's protocol: {rows.differs.iloc[0]}.")
        sheets.append(Sheet(f"Table 6, and {line} of {protocol}", columns, cells, tuple(notes)))
    return sheets


def _table6_cells(row: Any) -> tuple[str, ...]:
    layers, runs = ("" if pd.isna(row[key]) else str(row[key]) for key in ("layers", "ours_runs"))
    params = "" if pd.isna(row["params"]) else f"{row['params']:.3g}M"
    theirs, ours = ((row[who], row[f"{who}_best"], row[f"{who}_std"]) for who in ("paper", "ours"))
    return row["method"], layers, params, _as_printed(*theirs), _as_printed(*ours), runs


def _as_printed(mean: float, best: float, std: float) -> str:
    """6.43 (6.61±0.16), as the paper prints several runs; 8.75 for one run."""
    if mean != mean:
        return ""
    return f"{mean:.2f}" if std != std else f"{best:.2f} ({mean_and_std(mean, std, '±')})"


def constructions(frame: pd.DataFrame) -> list[Sheet]:
    """Constructed nets beside nets from random weights, one sheet per protocol and split."""
    return [
        _construction(f"{_SPLIT_TITLES[split]}, %: {protocol}", rows)
        for (protocol, split), rows in _constructed_parts(frame)
    ]


def _constructed_parts(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """The rows of each protocol and split, clean training error first."""
    by = [((str(key[0]), str(key[1])), rows) for key, rows in frame.groupby(["protocol", "split"])]
    return sorted(by, key=lambda part: (part[0][0], COMPARED.index(part[0][1])))


def _construction(title: str, rows: pd.DataFrame) -> Sheet:
    heads = {"source": "copied", "start": "at start", "trained": "trained on", "scratch": "from scratch"}
    note = "Mean ± std over runs. Copied: those that were copied; at start: before step 1; scratch: random weights"
    if rows.control_runs.any():
        heads["control"] = "as many steps"
        note += "; as many steps: random weights, and the steps of the copied and the constructed run together"
    cells = [(row["label"], *(_mean_of(row, place) for place in heads)) for row in rows.to_dict("records")]
    columns = ("net", *(f">{head}" for head in heads.values()))
    return Sheet(f"the solution by construction, {title}", columns, cells, (f"{note}.",))


def _mean_of(row: Any, place: str) -> str:
    """7.50, or 7.50 ± 0.12 for several runs, or - if there are no runs."""
    return "-" if row[place] != row[place] else mean_and_std(row[place], row[f"{place}_std"])
