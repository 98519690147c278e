"""Checksums: reading a file notices a change of any byte. JSON and parquet stay plain; torch reads its files as before.

Files of an older degrade have no checksum and are read as they are. A file of format 2 must have one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from degrade.errors import NewerError
from degrade.store.files import open_file

FILE_FORMAT = 2  # of JSON and parquet files; format 1 had no checksums
_DIGITS = 64  # of a SHA-256
_KEY = "sha256"  # the last key of a JSON file; its value covers all bytes but its own digits
_END = b'"\n}'  # the bytes after the digits
MARK = (
    b"degrade-sha256:"  # before the footer of a parquet file; the digits after it cover all bytes but mark and digits
)
_TAIL = 8  # bytes of a parquet file after its footer: the length of the footer, and PAR1
_HEXADECIMAL = frozenset(b"0123456789abcdef")
DAMAGED = "its checksum is wrong: damaged, or cut short"
NEWER = "written by a newer degrade; update degrade to use it"


def _digest(*parts: bytes | memoryview) -> bytes:
    """The SHA-256 of all parts, as hexadecimal digits."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest().encode()


def _looks_like_digest(place: bytes | memoryview) -> bool:
    """Whether a checksum stands there, even if its mark and a few of its own bytes are damaged."""
    return sum(byte in _HEXADECIMAL for byte in place) > _DIGITS * 3 // 4


def to_json(values: Mapping[str, Any]) -> bytes:
    """JSON text with a checksum, and with FILE_FORMAT if the values name no format."""
    content = json.dumps({"format": FILE_FORMAT, **values, _KEY: "0" * _DIGITS}, indent=1).encode()
    body = content[: -_DIGITS - len(_END)]
    return body + _digest(body, _END) + _END


def of_json(content: bytes) -> dict[str, Any]:
    """The values that `to_json` was given, and the format. Raises ValueError with the reason, or NewerError."""
    try:
        values: Any = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(values, dict) or not values:
        raise ValueError("no JSON object, or an empty one")
    format, said = values.get("format", 1), values.pop(_KEY, None)
    place = content[-_DIGITS - len(_END) : -len(_END)]
    if not isinstance(format, int) or (said is None and (format == FILE_FORMAT or _looks_like_digest(place))):
        raise ValueError(DAMAGED)
    if said is not None and _digest(content[: -_DIGITS - len(_END)], _END) != place:
        raise ValueError(DAMAGED)
    if format > FILE_FORMAT:
        raise NewerError(NEWER)
    return values


def _find_footer(content: memoryview) -> int:
    """Where the footer of a parquet file begins. The place makes no sense if the file is damaged."""
    return len(content) - _TAIL - int.from_bytes(content[-_TAIL : -_TAIL // 2], "little")


def into_parquet(content: bytes) -> bytes:
    """The same parquet file with a checksum in front of its footer, where readers do not look."""
    at = _find_footer(memoryview(content))
    return content[:at] + MARK + _digest(content) + content[at:]


def check_parquet(content: bytes) -> bool:
    """Whether a parquet file has a checksum. Raises ValueError if the checksum is wrong."""
    view = memoryview(content)
    at = _find_footer(view) if len(content) > _TAIL else 0
    begin = at - _DIGITS - len(MARK)
    if begin < 0 or bytes(view[begin : at - _DIGITS]) != MARK:
        if not content or MARK in content or _looks_like_digest(view[max(0, at - _DIGITS) : max(0, at)]):
            raise ValueError(DAMAGED)
        return False
    if _digest(view[:begin], view[at:]) != bytes(view[at - _DIGITS : at]):
        raise ValueError(DAMAGED)
    return True


def read_digits(path: Path) -> str:
    """The checksum that a sealed file holds, from its end alone; "" for a file that holds none. Checks no byte.

    Two files with the same checksum are the same, if they are whole. Raises OSError.
    """
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        after = {".json": len(_END), ".parquet": _TAIL}.get(path.suffix, 0)
        if path.suffix == ".parquet" and size > _TAIL:
            file.seek(size - _TAIL)
            after += int.from_bytes(file.read(_TAIL // 2), "little")
        if size < after + _DIGITS:
            return ""
        file.seek(size - after - _DIGITS)
        digits = file.read(_DIGITS)
    return digits.decode() if _HEXADECIMAL.issuperset(digits) else ""


def to_end(content: bytes) -> bytes:
    """The same bytes with a checksum after them, where torch's reader does not look."""
    return content + _digest(content)


def of_end(content: bytes) -> bytes:
    """The bytes that `to_end` was given. Raises ValueError if the checksum is wrong."""
    body, digits = content[:-_DIGITS], content[-_DIGITS:]
    if _digest(body) != digits:
        raise ValueError(DAMAGED)
    return body


def ends_sealed(content: bytes) -> bool:
    """Whether bytes end with a checksum, as `to_end` writes it. They may be damaged all the same."""
    end = content[-_DIGITS:]
    return len(end) == _DIGITS and _HEXADECIMAL.issuperset(end)
