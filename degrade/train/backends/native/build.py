"""The kernels as a shared library: built on first use by the compiler that is there, and kept."""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from degrade.errors import UnavailableError
from degrade.files import user_cache

HERE = Path(__file__).parent
SOURCES = ("kernels.c", "kernels.h", "lanes.h", "pool.h", "convolve.h", "normalise.h", "ends.h")
FLAGS = ("-O3", "-march=native", "-std=gnu11")
LINK = ("-shared", "-fPIC", "-pthread", "-lm")
COMPILERS = ("cc", "gcc", "clang")
PRECISIONS = {"fp32": (), "bf16": ("-DBF16",)}


@cache
def library(precision: str) -> ctypes.CDLL:
    """The kernels for a precision of EngineSpec. Raises UnavailableError."""
    if precision not in PRECISIONS:
        raise UnavailableError(f"there are kernels for {' and '.join(PRECISIONS)} alone")
    compiler, flags = compiler_of(), (*FLAGS, *PRECISIONS[precision])
    target = said_by(compiler, *flags, "-dM", "-E", "-x", "c", os.devnull)  # what compiler, for what processor
    if precision == "bf16" and "__AVX512BF16__" not in target:
        raise UnavailableError("this processor does not multiply bfloat16, or the compiler does not know that it does")
    name = f"{precision}-{fingerprint(target, *flags)}.so"
    for folder in (user_cache() / "kernels", Path(tempfile.gettempdir()) / f"degrade-kernels-{os.getuid()}"):
        try:
            return ctypes.CDLL(str(built([*compiler, *flags], folder, name)))
        except OSError as error:
            reason = str(error)
    raise UnavailableError(f"they cannot be kept or loaded ({reason})")


def compiler_of() -> tuple[str, ...]:
    """The C compiler: $CC, else one of COMPILERS. Raises UnavailableError."""
    named = os.environ.get("CC")
    if named is not None and not shlex.split(named):
        raise UnavailableError("CC is empty")
    found = shlex.split(named) if named else next(([name] for name in COMPILERS if shutil.which(name)), None)
    if not found or not shutil.which(found[0]):
        raise UnavailableError(f"no C compiler ({named or ', '.join(COMPILERS)}) on the PATH")
    return tuple(found)


def said_by(compiler: tuple[str, ...], *arguments: str) -> str:
    done = subprocess.run([*compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["fails"]
        raise UnavailableError(f"{shlex.join(compiler)}: {lines[0]}")
    return done.stdout


def fingerprint(*parts: str) -> str:
    total = hashlib.sha256(repr(parts).encode())
    for name in SOURCES:
        total.update((HERE / name).read_bytes())
    return total.hexdigest()[:16]


def built(command: list[str], folder: Path, name: str) -> Path:
    """The library in `folder`, from the compiler if it is not there yet; whole or not at all. Raises OSError."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():  # what lies there would run here
            raise PermissionError(f"{folder} belongs to somebody else")
        beside = folder / f".{name}-{os.getpid()}.tmp"
        try:
            said_by(tuple(command), str(HERE / "kernels.c"), *LINK, "-o", str(beside))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return path
