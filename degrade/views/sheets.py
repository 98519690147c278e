"""Sheets: a title, a table of words and notes, and how they are written in each format but that of the terminal."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from degrade.errors import pick
from degrade.spec import escape

if TYPE_CHECKING:
    import pandas as pd

TABLE_FORMATS = ("table", "markdown", "latex", "json", "csv")  # table: the terminal's


class Sheet(NamedTuple):
    """One table as it is read. A column that begins with > is aligned to the right."""

    title: str = ""
    columns: tuple[str, ...] = ()  # none: notes alone
    rows: Sequence[tuple[str, ...]] = ()
    notes: tuple[str, ...] = ()  # what the numbers mean; wrapped
    lines: tuple[str, ...] = ()  # what else there is to say, a sentence a line; never wrapped by us
    name: str = ""  # of the table, for programs
    records: Sequence[Mapping[str, Any]] = ()  # the same rows, and those not shown, for programs: column -> value

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(column.lstrip(">") for column in self.columns)


Show = Callable[[Sequence[Sheet]], None]  # what a command hands its sheets to


def mean_and_std(mean: float, std: float, sign: str = " ± ") -> str:
    """7.50, or 7.50 ± 0.12 of several runs."""
    return f"{mean:.2f}" if std != std else f"{mean:.2f}{sign}{std:.2f}"


def markdown(sheets: Sequence[Sheet]) -> str:
    """Tables in GitHub's flavour."""
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
    """Such that LaTeX prints it as it is; the minus of a number as a minus."""
    found = "".join(_LATEX.get(char, char) for char in escape.controls(text))
    if found.lstrip().startswith(("[", "*")):  # after a row it would be an option of its end
        found = f"{{}}{found}"
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", found)


def latex(sheets: Sequence[Sheet]) -> str:
    """Floats that need no package."""
    return "\n\n".join(_latex_float(sheet) for sheet in sheets)


def _latex_float(sheet: Sheet) -> str:
    notes = [rf"\par\smallskip\noindent {escape_latex(note)}" for note in (*sheet.notes, *sheet.lines)]
    if not sheet.columns:
        return "\n".join([rf"\paragraph{{{escape_latex(sheet.title)}}}", *notes])
    align = "".join("r" if column.startswith(">") else "l" for column in sheet.columns)
    head, *rows = (" & ".join(map(escape_latex, row)) + r" \\" for row in (sheet.heads, *sheet.rows))
    begin = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(sheet.title)}}}",
        rf"\begin{{tabular}}{{{align}}}",
    ]
    return "\n".join([*begin, r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}", *notes, r"\end{table}"])


def records_of(frame: "pd.DataFrame", columns: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """These columns of a frame as records."""
    return [{str(key): value for key, value in row.items()} for row in frame[list(columns)].to_dict("records")]


def _records_by_name(sheets: Sequence[Sheet]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of each table by its name; sheets of one name are one table."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for sheet in (sheet for sheet in sheets if sheet.name):
        found.setdefault(sheet.name, []).extend(sheet.records)
    return found


def as_json(value: Any) -> str:
    """Indented; what is no finite number, which JSON does not have, is null."""
    return json.dumps(_finite(value), indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A row a record, its columns above; text that a spreadsheet would compute is made harmless."""
    sink = io.StringIO()
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(sink, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: escape.formula(value) for key, value in record.items() if value == value} for record in records
    )
    return sink.getvalue().rstrip("\n")


def render(sheets: Sequence[Sheet], form: str, main: str = "") -> str:
    """Sheets in any format but `table`. JSON is an object of tables by their names, or where `main` is empty the list
    of the one table there is; CSV is the table `main`, else the first.
    """
    if form in _PAGES:
        return _PAGES[form](sheets)
    known = _records_by_name(sheets)
    if form == "json":
        return as_json(known if main else next(iter(known.values()), []))
    return _as_csv(known.get(main) or next(iter(known.values()), []))


_PAGES: dict[str, Callable[[Sequence[Sheet]], str]] = {"markdown": markdown, "latex": latex}


def check_format(form: str) -> None:
    """Raises SpecError for a format that is not there."""
    pick(dict.fromkeys(TABLE_FORMATS), form, "--format")
