"""Checksums: a change of any byte is noticed when a file is read. JSON and parquet stay plain, and torch reads its own.

Files of an older degrade have none, and are read as they are; a file that says it is of format 2 must have one.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from degrade.errors import NewerError

FILE_FORMAT = 2  # of JSON and parquet files; 1 had no checksums
DIGITS = 64  # of a SHA-256
KEY = "sha256"  # the last key of a JSON file: of all its bytes but these digits
END = b'"\n}'  # what follows them
MARK = b"degrade-sha256:"  # in a parquet file, before the footer; of all its bytes but the mark and the digits
TAIL = 8  # bytes of a parquet file after its footer: the footer's length, and PAR1
HEXADECIMAL = frozenset(b"0123456789abcdef")
DAMAGED = "its checksum is wrong: damaged, or cut short"
NEWER = "written by a newer degrade; update degrade to use it"


def digest(*parts: bytes | memoryview) -> bytes:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest().encode()


def is_digest(place: bytes | memoryview) -> bool:
    """Whether a checksum stands there, though what marks it is damaged, and a few of its own bytes may be."""
    return sum(byte in HEXADECIMAL for byte in place) > DIGITS * 3 // 4


def to_json(values: Mapping[str, Any]) -> bytes:
    """As text, with its format if it says none, and its checksum."""
    content = json.dumps({"format": FILE_FORMAT, **values, KEY: "0" * DIGITS}, indent=1).encode()
    body = content[: -DIGITS - len(END)]
    return body + digest(body, END) + END


def of_json(content: bytes) -> dict[str, Any]:
    """What `to_json` was given, and the format. Raises ValueError with the reason, or NewerError."""
    try:
        values: Any = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(values, dict) or not values:
        raise ValueError("no JSON object, or an empty one")
    format, said = values.get("format", 1), values.pop(KEY, None)
    place = content[-DIGITS - len(END) : -len(END)]
    if not isinstance(format, int) or (said is None and (format == FILE_FORMAT or is_digest(place))):
        raise ValueError(DAMAGED)
    if said is not None and digest(content[: -DIGITS - len(END)], END) != place:
        raise ValueError(DAMAGED)
    if format > FILE_FORMAT:
        raise NewerError(NEWER)
    return values


def footer(content: memoryview) -> int:
    """Where the footer of a parquet file begins; nowhere sensible in one that is damaged."""
    return len(content) - TAIL - int.from_bytes(content[-TAIL : -TAIL // 2], "little")


def into_parquet(content: bytes) -> bytes:
    """The same file with a checksum in front of its footer, where readers do not look."""
    at = footer(memoryview(content))
    return content[:at] + MARK + digest(content) + content[at:]


def check_parquet(content: bytes) -> bool:
    """Whether there is a checksum. Raises ValueError where it is wrong."""
    view = memoryview(content)
    at = footer(view) if len(content) > TAIL else 0
    begin = at - DIGITS - len(MARK)
    if begin < 0 or bytes(view[begin : at - DIGITS]) != MARK:
        if not content or MARK in content or is_digest(view[max(0, at - DIGITS) : max(0, at)]):
            raise ValueError(DAMAGED)
        return False
    if digest(view[:begin], view[at:]) != bytes(view[at - DIGITS : at]):
        raise ValueError(DAMAGED)
    return True


def to_end(content: bytes) -> bytes:
    """The same bytes with a checksum after them, where torch's reader does not look."""
    return content + digest(content)


def of_end(content: bytes) -> bytes:
    """What `to_end` was given. Raises ValueError where the checksum is wrong."""
    body, digits = content[:-DIGITS], content[-DIGITS:]
    if digest(body) != digits:
        raise ValueError(DAMAGED)
    return body


def at_end(content: bytes) -> bool:
    """Whether bytes end as those of `to_end` do, be they whole or damaged."""
    end = content[-DIGITS:]
    return len(end) == DIGITS and HEXADECIMAL.issuperset(end)
