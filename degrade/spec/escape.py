"""Text that others wrote - names of folders, classes, runs, tensors - such that what shows it takes it for text."""

import re
from typing import Any

FORMULA = re.compile(r"^[\s]*[=+\-@＝＋－＠]|^[\t\r]")  # how a cell begins that a spreadsheet computes
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no table and no figure can hold it
NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


def controls(text: str, keep: str = "") -> str:
    r"""What moves a cursor, turns the reading direction or breaks a line as \x1b, \u202e, \n; but for `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def formula(value: Any) -> Any:
    """A cell of a CSV: text that a spreadsheet would compute gets an apostrophe before it; all else is as it was."""
    if not isinstance(value, str) or NUMBER.match(value):
        return value
    text = controls(value, keep="\n")
    return f"'{text}" if FORMULA.match(value) else text


def markdown(text: str) -> str:
    """No tags, no links, no new cells: what GitHub's flavour would read into a name."""
    text = re.sub(r"&(?=[#\w])", "&amp;", controls(text))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return re.sub(r"[\\`|]|\](?=[(\[:])", r"\\\g<0>", text)
