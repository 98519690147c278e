"""Sweeps in processes of their own, as a user starts them, and what is in their folders."""

import contextlib
import json
import multiprocessing.context
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from degrade.spec.rows import TIMINGS
from degrade.store import parquet
from degrade.store.parquet import CURVES
from degrade.train.checkpoint import unpack

DEGRADE = (sys.executable, "-m", "degrade")
PATIENCE = 120.0  # seconds until something that takes a few is called missing
Result = tuple[str, dict[str, bytes]]  # the rows of a curve, timings aside, and the tensors of the net

KEYS = ["data=digits", "recipe=smoke", "data.train_limit=100", "width=4", "net=plain,residual", "shortcut=A"]


class Forked:
    """A command forked from a zygote, with what Popen has."""

    def __init__(self, pid: int, zygote: "Zygote") -> None:
        self.pid, self.zygote = pid, zygote
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.zygote.code_of(self.pid)
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The process that commands are forked from, and how those ended; `environment`: of another degrade than ours."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.codes: dict[int, int] = {}
        self.left = b""
        self.said = self.lines()
        assert next(self.said) == b"ready"

    @staticmethod
    @cache
    def one() -> "Zygote":
        return Zygote()

    def lines(self) -> Iterator[bytes]:
        """What it says, as it says it."""
        assert self.process.stdout is not None
        while True:
            while b"\n" not in self.left:
                said = os.read(self.process.stdout.fileno(), 65536)
                if not said:
                    raise RuntimeError(f"the process that commands are forked from has died: {self.process.wait()}")
                self.left += said
            line, _, self.left = self.left.partition(b"\n")
            yield line

    def hear(self) -> int:
        """The next number of a process that has begun; the ends told before are noted."""
        while isinstance(told := json.loads(next(self.said)), list):
            self.codes[told[0]] = told[1]
        return told

    def begin(self, **order: object) -> Forked:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        number = self.hear()
        self.codes.pop(number, None)  # numbers are used again: that was the end of another
        return Forked(number, self)

    def code_of(self, pid: int) -> int | None:
        """The exit code of a process; None while it runs."""
        assert self.process.stdout is not None
        while b"\n" in self.left or select.select([self.process.stdout], [], [], 0)[0]:
            number, code = json.loads(next(self.said))
            self.codes[number] = code
        return self.codes.get(pid)


Sweep = Forked | subprocess.Popen[bytes]


def begin(
    root: Path, *keys: str, program: Path | None = None, more: Mapping[str, str] | None = None, fresh: bool = False
) -> Sweep:
    """A sweep in a session of its own; what it prints goes to root/output.

    `program`: a file that is run in place of the command; `more`: of its environment. Its workers are forked, which is
    quick; `fresh`: it is started, and spawns them, as a user's does.
    """
    last = {key.partition("=")[0]: key for key in keys}  # of a key that is given twice
    there, words = {**os.environ, **(more or {})}, ["sweep", *last.values(), f"results={root}"]
    if not fresh:
        output = root / "output"
        return forked(words, there, Path.cwd(), (Path(os.devnull), output, output), program)
    command = [sys.executable, str(program)] if program else DEGRADE
    with (root / "output").open("ab") as output:
        started = [*command, *words]
        return subprocess.Popen(started, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=there)


def forked(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    streams: tuple[Path, Path, Path],
    program: Path | None = None,
    zygote: Zygote | None = None,
) -> Forked:
    """A command in a folder; `streams`: what it reads, and where what it prints goes; `zygote`: of another degrade."""
    paths = [str(path) for path in streams]
    order = {"argv": words, "environment": environment, "streams": paths, "folder": str(folder)}
    return (zygote or Zygote.one()).begin(**order, program=program and str(program))


# root may read and write anywhere, unless that privilege is taken away
BOUND = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def bound() -> bool:
    """Whether permissions hold for us."""
    if BOUND and shutil.which(BOUND[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        return subprocess.run([*BOUND, "touch", f"{place}/file"], capture_output=True).returncode != 0


class WarmProcess(multiprocessing.context.ForkServerProcess):
    """One whose environment is that of its parent, as with those that are spawned; the fork server has an older one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


class Warm(multiprocessing.context.ForkServerContext):
    """In place of spawned processes: those of a server that has torch loaded."""

    Process = WarmProcess

    def __init__(self) -> None:
        super().__init__()
        self.set_forkserver_preload(["degrade.train.run", __name__])


def states(root: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in (root / "runs").glob("*/state.json")}


def until(ready: Callable[[], object], sweep: Sweep | None = None, pause: float = 0.02) -> None:
    """Waits; raises AssertionError where nothing happens, or the sweep ends first."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        assert sweep is None or sweep.poll() is None, "the sweep ended early"
        time.sleep(pause)


def results(root: Path) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for folder in (root / "runs").iterdir():
        curve = parquet.read(folder / "curve.parquet", CURVES).drop_columns(list(TIMINGS)).to_pydict()
        net = unpack((folder / "checkpoint.pt").read_bytes())["net"]
        found[folder.name] = repr(curve), {name: value.numpy().tobytes() for name, value in net.items()}
    return found


def children(pid: int) -> list[int]:
    """The worker processes that a process, or a thread of it, has started; not multiprocessing's resource tracker."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has just ended
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # that thread has just ended
                found += map(int, tasks.read_text().split())
    return [child for child in found if b"spawn_main" in (said := cmdline(child)) or b"zygote" in said]


def members(session: int) -> list[int]:
    """The living processes of a session, zombies aside: of a sweep that was begun, and of its workers."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
            found += [int(path.parent.name)] if int(its_session) == session and state != "Z" else []
    return found


def cmdline(pid: int) -> bytes:
    """What a process was started with; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
