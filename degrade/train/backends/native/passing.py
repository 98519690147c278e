"""Errors that may be gone the next time. They are no reason to train with another backend, which has other bits."""

import errno
import os

from degrade.errors import PassingError

_CODES = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EAGAIN,
    errno.EINTR,
    errno.EIO,
    errno.EBUSY,
    errno.ETXTBSY,
    errno.ESTALE,
    errno.ETIMEDOUT,
)
_WORDS = (  # of compilers, linkers and the loader, which name no code
    *map(os.strerror, _CODES),
    "memory exhausted",
    "out of memory",
    "signal terminated program",
    "terminated with signal",
)


def name_passing(text: str) -> str:
    """The words of a text that tell of a passing error; "" where there are none."""
    return next((words for words in _WORDS if words in text), "")


def demand_lasting(error: Exception) -> None:
    """Raises PassingError for an error of the machine that may be gone the next time."""
    code = error.errno if isinstance(error, OSError) else None
    if code in _CODES or name_passing(str(error)):
        raise make_passing(str(error)) from error


def make_passing(why: str) -> PassingError:
    """A failure with its reason and the way out."""
    said = f"engine.backend: the kernels cannot be built or loaded now ({why}), and other backends have other bits"
    return PassingError(f"{said}; mend that, and the same command goes on")
