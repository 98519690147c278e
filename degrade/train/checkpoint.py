"""A Fit's state as bytes and back. The bytes are a file `torch.load` can open, and 64 hexadecimal digits after it."""

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import torch

from degrade.errors import RunError
from degrade.files import declared

DIGITS = 64  # of the SHA-256 of all that stands before them


def pack(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    return content + hashlib.sha256(content).hexdigest().encode()


def unpack(content: bytes) -> dict[str, Any]:
    """The state, as tensors and plain values; nothing in it is run.

    Raises RunError, with the reason alone, for bytes that are not what `pack` made.
    """
    body, digits = content[:-DIGITS], content[-DIGITS:]
    if hashlib.sha256(body).hexdigest().encode() != digits:
        raise RunError("its checksum is wrong: damaged, or cut short")
    if more := declared(body):
        raise RunError(f"declares {more:,} bytes, and the file has {len(body):,}: refused")
    try:
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common type for what it refuses
        raise RunError(
            f"torch refuses it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None


def sealed(content: bytes) -> bool:
    """Whether bytes end as those of `pack` do, be they whole or damaged."""
    end = content[-DIGITS:]
    return len(end) == DIGITS and all(digit in b"0123456789abcdef" for digit in end)
