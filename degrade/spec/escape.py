"""Makes text that others wrote (names of folders, classes, runs, tensors) harmless to whatever shows it."""

import re
from typing import Any

_FORMULA = re.compile(r"^[\s]*[=+\-@＝＋－＠]|^[\t\r]")  # the beginning of a cell that a spreadsheet computes
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no table and no figure can hold it
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


def controls(text: str, keep: str = "") -> str:
    r"""Escapes what moves a cursor, turns the reading direction or breaks a line: \x1b, \u202e, \n. `keep` stays."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def formula(value: Any) -> Any:
    """A cell of a CSV. Text that a spreadsheet would compute gets an apostrophe in front; other values stay."""
    if not isinstance(value, str) or _NUMBER.match(value):
        return value
    text = controls(value, keep="\n")
    return f"'{text}" if _FORMULA.match(value) else text


def markdown(text: str) -> str:
    """Escapes the tags, links and cell borders that GitHub's Markdown would read into a name."""
    text = re.sub(r"&(?=[#\w])", "&amp;", controls(text))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return re.sub(r"[\\`|]|\](?=[(\[:])", r"\\\g<0>", text)
