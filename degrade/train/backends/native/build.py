"""Builds the kernels as a shared library, on first use and with the compiler of this machine, and keeps it.

What is loaded are the bytes whose checksum was right, from memory: the file may be harmed or exchanged at any time.
"""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from degrade.errors import PassingError, RunError, UnavailableError
from degrade.store.files import user_cache
from degrade.train.backends.native.passing import demand_lasting, make_passing, name_passing
from degrade.train.backends.native.shelf import Shelf
from degrade.train.processor import read_features

_HERE = Path(__file__).parent
_SOURCES = ("kernels.c", "kernels.h", "lanes.h", "pool.h", "convolve.h", "normalise.h", "ends.h")
# -fno-strict-aliasing: bf16 reads two reals as one unit
_COMPILE_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-strict-aliasing")
_LINK_FLAGS = ("-shared", "-fPIC", "-pthread", "-lm")
_COMPILERS = ("cc", "gcc", "clang")
_FORMAT = 2  # of the files: sealed, with their names
_PATIENCE = 120.0  # seconds to wait for a compiler, which takes one
_PRECISION_FLAGS = {"fp32": (), "bf16": ("-DBF16",)}


class Kernels(NamedTuple):
    """A loaded library, and where its bytes are kept."""

    library: ctypes.CDLL
    fingerprint: str  # of sources, compiler, flags and processor: equal ones compute equal bits
    digest: str  # SHA-256 of the bytes
    shelf: Shelf
    name: str  # of the file there


def name_answer(name: str) -> str:
    """The file that says what a check of a library found."""
    return f"{name}.ok"


def _name_mark(name: str) -> str:
    return f"{name}.trial"


@contextmanager
def trial(shelf: Shelf, name: str) -> Generator[None]:
    """Marks meanwhile that a library is being tried. A process that dies of it leaves the mark: it is built anew."""
    with suppress(OSError):  # a folder that takes no files takes no new library either
        shelf.write(_name_mark(name), b"")
    try:
        yield
    finally:
        shelf.remove(_name_mark(name))


def kernels(precision: str) -> ctypes.CDLL:
    """As `load`, the library alone."""
    return load(precision).library


@cache
def load(precision: str) -> Kernels:
    """Loads the kernels for a precision of EngineSpec; builds them where no sound file has them.

    Raises UnavailableError where there are none, and RunError for an error that may be gone the next time.
    """
    if precision not in _PRECISION_FLAGS:
        raise UnavailableError(f"there are kernels for {' and '.join(_PRECISION_FLAGS)} alone")
    compiler, flags = _find_compiler(), (*_COMPILE_FLAGS, *_PRECISION_FLAGS[precision])
    # says which compiler, for which processor
    target = _run_compiler(compiler, *flags, "-dM", "-E", "-x", "c", os.devnull)
    if precision == "bf16" and "__AVX512BF16__" not in target:
        raise UnavailableError("this processor does not multiply bfloat16, or the compiler does not know that it does")
    reasons: list[str] = []
    for find_place in (lambda: user_cache() / "kernels", _find_temporary):
        try:
            fingerprint = _fingerprint(target, *flags, *read_features())
            return _load_from(find_place(), [*compiler, *flags], f"{precision}-{fingerprint}.so", fingerprint)
        except PassingError:
            raise
        except (OSError, RunError) as error:  # RunError: there is no home
            demand_lasting(error)
            reasons.append(str(error))
    raise UnavailableError(f"they cannot be kept or loaded ({'; '.join(reasons)})")


def _load_from(place: Path, command: Sequence[str], name: str, fingerprint: str) -> Kernels:
    """Loads a library from a place; builds it there where no sound file has it. Raises OSError."""
    shelf = Shelf(place)
    try:
        with shelf.locked(name):
            content = _read_sound(shelf, name) or _build(command, shelf, name)
            with nullcontext() if shelf.has(name_answer(name)) else trial(shelf, name):
                library = _open(content, shelf)
        return Kernels(library, fingerprint, hashlib.sha256(content).hexdigest(), shelf, name)
    except BaseException:
        shelf.close()
        raise


def _find_temporary() -> Path:
    """A folder of ours for temporary files. A relative $TMPDIR would lead to whoever made the folder one stands in."""
    named = Path(os.environ.get("TMPDIR", ""))
    return (named if named.is_absolute() else Path("/tmp")) / f"degrade-{os.getuid()}"


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


def _run_compiler(compiler: Sequence[str], *arguments: str, scratch: Path | None = None) -> str:
    """Returns what the compiler prints; its temporary files are in `scratch`.

    Raises UnavailableError, with its first error, where it fails, and PassingError where the machine refused it
    something. Ctrl-C does not reach it: half a compilation is no reason for another backend.
    """
    words = {"LC_ALL": "C", **({"TMPDIR": str(scratch)} if scratch else {})}
    try:
        done = subprocess.run(
            [*compiler, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, **words},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise make_passing(f"{shlex.join(compiler)}: not done after {_PATIENCE:g} s") from None
    except OSError as error:
        demand_lasting(error)
        raise UnavailableError(f"{shlex.join(compiler)}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["fails"]
        if why := f"killed by signal {-done.returncode}" if done.returncode < 0 else name_passing(done.stderr):
            raise make_passing(f"{shlex.join(compiler)}: {why}")
        raise UnavailableError(f"{shlex.join(compiler)}: {lines[0]}")
    return done.stdout


def _fingerprint(*parts: str) -> str:
    total = hashlib.sha256(repr((_FORMAT, *parts)).encode())
    for name in _SOURCES:
        total.update((_HERE / name).read_bytes())
    return total.hexdigest()[:16]


def _read_sound(shelf: Shelf, name: str) -> bytes | None:
    """The library on the shelf; None, after it was removed, where it is damaged or a process died of it."""
    try:
        content = shelf.read(name)
        why = "a process died when it tried them" if shelf.has(_name_mark(name)) else ""
    except ValueError as error:
        content, why = None, str(error)
    if not why:
        return content
    print(f"{shelf.path / name}: {why}; the kernels are built anew", flush=True)
    shelf.remove(name, name_answer(name), _name_mark(name))
    return None


def _build(command: Sequence[str], shelf: Shelf, name: str) -> bytes:
    """Builds the library in a folder of its own, and puts it on the shelf. Raises OSError."""
    for left in shelf.path.glob(f"{name}.build-*"):  # a process died while it built
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.build-", dir=shelf.path) as scratch:  # only we can look into it
        made = Path(scratch) / "kernels.so"
        _run_compiler(command, str(_HERE / "kernels.c"), *_LINK_FLAGS, "-o", str(made), scratch=Path(scratch))
        content = made.read_bytes()
    shelf.write(name, content)
    return content


def _open(content: bytes, shelf: Shelf) -> ctypes.CDLL:
    """Loads these very bytes: from memory, or from a copy that is gone at once. Raises OSError."""
    try:
        descriptor = os.memfd_create("degrade-kernels")
    except (AttributeError, PermissionError):  # not on Linux, or files in memory must not be run here
        with tempfile.TemporaryDirectory(prefix="load-", dir=shelf.path) as private:
            copy = Path(private) / "kernels.so"
            copy.write_bytes(content)
            return ctypes.CDLL(str(copy))
    # it stays open: the loader knows a library by its path, and would give this one to the next of the same number
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
