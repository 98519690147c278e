"""Builds the kernels as a shared library, on first use and with the compiler of this machine, and keeps it."""

import ctypes
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from degrade.errors import UnavailableError
from degrade.store.files import user_cache

_HERE = Path(__file__).parent
_SOURCES = ("kernels.c", "kernels.h", "lanes.h", "pool.h", "convolve.h", "normalise.h", "ends.h")
# -fno-strict-aliasing: bf16 reads two reals as one unit
_COMPILE_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-strict-aliasing")
_LINK_FLAGS = ("-shared", "-fPIC", "-pthread", "-lm")
_COMPILERS = ("cc", "gcc", "clang")
_PATIENCE = 120.0  # seconds to wait for a compiler, which takes one
_PRECISION_FLAGS = {"fp32": (), "bf16": ("-DBF16",)}


@cache
def kernels(precision: str) -> ctypes.CDLL:
    """Loads the kernels for a precision of EngineSpec. Raises UnavailableError where there are none."""
    if precision not in _PRECISION_FLAGS:
        raise UnavailableError(f"there are kernels for {' and '.join(_PRECISION_FLAGS)} alone")
    compiler, flags = _find_compiler(), (*_COMPILE_FLAGS, *_PRECISION_FLAGS[precision])
    target = _run_compiler(
        compiler, *flags, "-dM", "-E", "-x", "c", os.devnull
    )  # says which compiler, for which processor
    if precision == "bf16" and "__AVX512BF16__" not in target:
        raise UnavailableError("this processor does not multiply bfloat16, or the compiler does not know that it does")
    name = f"{precision}-{_fingerprint(target, *flags)}.so"
    reasons: list[str] = []
    for place in (lambda: user_cache() / "kernels", lambda: Path(tempfile.gettempdir()) / f"degrade-{os.getuid()}"):
        try:
            return ctypes.CDLL(str(_build([*compiler, *flags], place(), name)))
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
            reasons.append(str(error))
    raise UnavailableError(f"they cannot be kept or loaded ({'; '.join(reasons)})")


def _find_compiler() -> tuple[str, ...]:
    """Finds the C compiler: $CC, else the first of _COMPILERS. Raises UnavailableError where there is none."""
    named = os.environ.get("CC", "").strip()
    try:
        found = shlex.split(named) if named else [name for name in _COMPILERS if shutil.which(name)][:1]
    except ValueError as error:
        raise UnavailableError(f"CC={named}: {error}") from None
    if not found or not shutil.which(found[0]):
        raise UnavailableError(f"no C compiler ({named or ', '.join(_COMPILERS)}) on the PATH")
    return tuple(found)


def _run_compiler(compiler: tuple[str, ...], *arguments: str) -> str:
    """Returns what the compiler prints. Raises UnavailableError, with its first error, where it fails."""
    try:
        done = subprocess.run(
            [*compiler, *arguments], capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{shlex.join(compiler)}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["fails"]
        raise UnavailableError(f"{shlex.join(compiler)}: {lines[0]}")
    return done.stdout


def _fingerprint(*parts: str) -> str:
    total = hashlib.sha256(repr(parts).encode())
    for name in _SOURCES:
        total.update((_HERE / name).read_bytes())
    return total.hexdigest()[:16]


def _build(command: list[str], folder: Path, name: str) -> Path:
    """Builds the library in `folder` unless it is there; a file is whole or not there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_owner(folder)
    path = folder / name
    if not path.exists():
        beside = folder / f".{name}-{os.getpid()}.tmp"
        try:
            _run_compiler(tuple(command), str(_HERE / "kernels.c"), *_LINK_FLAGS, "-o", str(beside))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    _check_owner(path)
    return path


def _check_owner(path: Path) -> None:
    """Raises PermissionError where others could have written the file or folder: what lies there will run here."""
    about = path.lstat()
    if about.st_uid != os.getuid() or stat.S_ISLNK(about.st_mode) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} belongs to somebody else, or others can write to it")
