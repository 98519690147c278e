"""Sheets: a title, a table of words and notes; and their text in every format but the terminal's."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from degrade.errors import pick
from degrade.spec import escape
from degrade.store.private import shorten_places

if TYPE_CHECKING:
    import pandas as pd

TABLE_FORMATS = ("table", "markdown", "latex", "json", "csv")  # table: the terminal's


class Sheet(NamedTuple):
    """One table for a reader. A column whose name begins with > is aligned to the right."""

    title: str = ""
    columns: tuple[str, ...] = ()  # empty: the sheet has notes alone
    rows: Sequence[tuple[str, ...]] = ()
    notes: tuple[str, ...] = ()  # what the numbers mean; wrapped
    lines: tuple[str, ...] = ()  # further sentences, one per line; we never wrap them
    name: str = ""  # the name of the table, for programs
    records: Sequence[Mapping[str, Any]] = ()  # for programs, all rows, also those not shown: column -> value

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(column.lstrip(">") for column in self.columns)


Show = Callable[[Sequence[Sheet]], None]  # takes the sheets of a command and shows them


def name_data(sheets: Sequence[Sheet], labels: Mapping[str, str]) -> list[Sheet]:
    """Puts what people call the data before its protocol in every title. `labels`: protocol -> their name for it."""

    def name(title: str) -> str:
        for protocol, label in labels.items():
            title = title.replace(protocol, f"{label}, {protocol}")
        return title

    return [sheet._replace(title=name(sheet.title)) for sheet in sheets]


def hide_places(sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheets to pass on: each place of this machine by its last name."""
    return [
        sheet._replace(
            title=shorten_places(sheet.title),
            rows=[tuple(map(shorten_places, row)) for row in sheet.rows],
            notes=tuple(map(shorten_places, sheet.notes)),
            lines=tuple(map(shorten_places, sheet.lines)),
            records=[
                {key: shorten_places(value) if isinstance(value, str) else value for key, value in record.items()}
                for record in sheet.records
            ],
        )
        for sheet in sheets
    ]


def mean_and_std(mean: float, std: float, sign: str = " ± ") -> str:
    """7.50, or 7.50 ± 0.12 for several runs."""
    return f"{mean:.2f}" if std != std else f"{mean:.2f}{sign}{std:.2f}"


def markdown(sheets: Sequence[Sheet]) -> str:
    """The sheets in GitHub's Markdown."""
    parts: list[str] = []
    for sheet in sheets:
        if sheet.title:
            parts.append(f"**{escape.markdown(sheet.title)}**")
        if sheet.columns:
            rule = tuple("---:" if column.startswith(">") else "---" for column in sheet.columns)
            rows = ([escape.markdown(cell) for cell in row] for row in (sheet.heads, rule, *sheet.rows))
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts.extend(escape.markdown(note).replace("*", "\\*") for note in (*sheet.notes, *sheet.lines))
    return "\n\n".join(parts)


_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "×": r"$\times$",
}


def escape_latex(text: str) -> str:
    """Escapes text so that LaTeX prints it as it is, and the sign of a number as a minus."""
    found = "".join(_LATEX.get(char, char) for char in escape.controls(text))
    if found.lstrip().startswith(("[", "*")):  # LaTeX would read it as an option of the row end before it
        found = f"{{}}{found}"
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", found)


def latex(sheets: Sequence[Sheet]) -> str:
    """The sheets as LaTeX floats that need no package."""
    return "\n\n".join(filter(None, map(_latex_float, sheets)))


def _latex_float(sheet: Sheet) -> str:
    notes = [rf"\par\smallskip\noindent {escape_latex(note)}" for note in (*sheet.notes, *sheet.lines)]
    if not sheet.columns:
        head = [rf"\paragraph{{{escape_latex(sheet.title)}}}"] if sheet.title else []
        return "\n".join([*head, *notes])
    align = "".join("r" if column.startswith(">") else "l" for column in sheet.columns)
    head, *rows = (" & ".join(map(escape_latex, row)) + r" \\" for row in (sheet.heads, *sheet.rows))
    caption = [rf"\caption{{{escape_latex(sheet.title)}}}"] if sheet.title else []
    begin = [r"\begin{table}", r"\centering", *caption, rf"\begin{{tabular}}{{{align}}}"]
    return "\n".join([*begin, r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}", *notes, r"\end{table}"])


def records_of(frame: "pd.DataFrame", columns: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """These columns of a frame, one record per row."""
    return [{str(key): value for key, value in row.items()} for row in frame[list(columns)].to_dict("records")]


def _records_by_name(sheets: Sequence[Sheet]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of each table by its name. Sheets with the same name are one table."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for sheet in (sheet for sheet in sheets if sheet.name):
        found.setdefault(sheet.name, []).extend(sheet.records)
    return found


def as_json(value: Any) -> str:
    """Indented JSON. NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a header, one row per record. Text that a spreadsheet would compute is made harmless."""
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(sink, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: escape.formula(value) for key, value in record.items() if value == value} for record in records
    )
    return sink.getvalue().rstrip("\n")


def render(sheets: Sequence[Sheet], form: str, main: str = "") -> str:
    """Renders sheets in any format but `table`.

    JSON is an object of tables by their names, or the list of records of the only table if `main` is empty. CSV holds
    the table `main`, or the first table if `main` is empty or has no records.
    """
    if form in _PAGES:
        return _PAGES[form](sheets)
    known = _records_by_name(sheets)
    if form == "json":
        return as_json(known if main else next(iter(known.values()), []))
    return _as_csv(known.get(main) or next(iter(known.values()), []))


_PAGES: dict[str, Callable[[Sequence[Sheet]], str]] = {"markdown": markdown, "latex": latex}


def check_format(form: str) -> None:
    """Raises SpecError for an unknown format."""
    pick(dict.fromkeys(TABLE_FORMATS), form, "--format")
