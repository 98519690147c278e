"""Sheets: a title, a table of words and notes, and how they are written in Markdown and LaTeX (`terminal.show` has
the terminal)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from degrade.spec import escape


class Sheet(NamedTuple):
    """One table as it is read. A column that begins with > is aligned to the right."""

    title: str
    columns: tuple[str, ...] = ()  # none: notes alone
    rows: Sequence[tuple[str, ...]] = ()
    notes: tuple[str, ...] = ()

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(column.lstrip(">") for column in self.columns)


def spread(mean: float, std: float, sign: str = " ± ") -> str:
    """7.50, or 7.50 ± 0.12 of several runs."""
    return f"{mean:.2f}" if std != std else f"{mean:.2f}{sign}{std:.2f}"


def markdown(sheets: Sequence[Sheet]) -> str:
    """Tables in GitHub's flavour."""
    parts: list[str] = []
    for sheet in sheets:
        parts.append(f"**{escape.markdown(sheet.title)}**")
        if sheet.columns:
            rule = tuple("---:" if column.startswith(">") else "---" for column in sheet.columns)
            rows = ([escape.markdown(cell) for cell in row] for row in (sheet.heads, rule, *sheet.rows))
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts.extend(escape.markdown(note).replace("*", "\\*") for note in sheet.notes)
    return "\n\n".join(parts)


SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "×": r"$\times$",
}


def escaped(text: str) -> str:
    """Such that LaTeX prints it as it is; the minus of a number as a minus."""
    found = "".join(SPECIAL.get(char, char) for char in escape.controls(text))
    if found.lstrip().startswith(("[", "*")):  # after a row it would be an option of its end
        found = f"{{}}{found}"
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", found)


def latex(sheets: Sequence[Sheet]) -> str:
    """Floats that need no package."""
    return "\n\n".join(latex_float(sheet) for sheet in sheets)


def latex_float(sheet: Sheet) -> str:
    notes = [rf"\par\smallskip\noindent {escaped(note)}" for note in sheet.notes]
    if not sheet.columns:
        return "\n".join([rf"\paragraph{{{escaped(sheet.title)}}}", *notes])
    align = "".join("r" if column.startswith(">") else "l" for column in sheet.columns)
    head, *rows = (" & ".join(map(escaped, row)) + r" \\" for row in (sheet.heads, *sheet.rows))
    begin = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(sheet.title)}}}", rf"\begin{{tabular}}{{{align}}}"]
    return "\n".join([*begin, r"\hline", head, r"\hline", *rows, r"\hline", r"\end{tabular}", *notes, r"\end{table}"])
