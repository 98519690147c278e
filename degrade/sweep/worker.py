"""The life of a worker process: it trains what its parent gives it, and leaves when told to or when the parent dies."""

import contextlib
import errno
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple, TextIO

from degrade.errors import DegradeError, RunError, one_line
from degrade.spec import RunSpec
from degrade.store.files import describe_refusal
from degrade.store.folder import RunDir
from degrade.train import processes


class Report(NamedTuple):
    """What a worker tells its parent about a pack."""

    fit: bool  # to take more packs
    elsewhere: Sequence[str] = ()  # runs that other processes hold
    reason: str = ""  # of the first failure. How each run ended stands in its folder, if the disk took it


def serve(pipe: Connection, root: Path, slot: int, command: str) -> None:
    """Trains pack after pack, until the pipe brings None or a signal says stop."""
    halt = threading.Event()
    processes.begin(halt.set)
    from degrade.train import run  # loads torch

    run.take_gpu(slot)
    report, disk = Report(fit=True), _find_disk(root)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while report.fit and (pack := _receive_pack(pipe)) is not None:
            if _find_disk(root) == disk:
                report = work(pack, root, halt.is_set, command)
            else:
                report = Report(fit=True, reason=describe_refusal(OSError(errno.ESTALE, "its disk has gone"), root))
            pipe.send(report)


def _find_disk(root: Path) -> int | None:
    """The device that the results folder lies on. After an unmount a folder of the same name may be left."""
    try:
        return (root / "runs").stat().st_dev
    except OSError:
        return None


def _receive_pack(pipe: Connection) -> list[RunSpec] | None:
    """Receives the next pack; None where the parent has nothing more, or is gone."""
    return pipe.recv() if pipe in wait([pipe, processes.parents_end()]) else None


def work(pack: Sequence[RunSpec], root: Path, stop: Callable[[], bool], command: str) -> Report:
    """Trains a pack. How its runs ended stands in their folders and logs."""
    from degrade.train import run

    try:
        with redirect_output(*(RunDir(root, spec.run).log for spec in pack)):
            try:
                states = run.run(pack, root, stop=stop, command=command, together=len(pack), made=True)
            except Exception as error:  # the folders say `failed` and why
                with contextlib.suppress(OSError):  # a full disk
                    traceback.print_exc()
                # other errors can leave the GPU or the process useless
                return Report(fit=isinstance(error, DegradeError), reason=one_line(error))
    except OSError as error:  # from opening a log
        reason = describe_refusal(error, RunDir(root, pack[0].run).log)
        for spec in pack:
            give_up(RunDir(root, spec.run), "failed", reason)
        return Report(fit=True, reason=reason)
    held = [name for name, state in states.items() if state == "elsewhere"]
    # a worker that was told to stop would train nothing more
    return Report(fit=not stop() and not run.is_worn(), elsewhere=held)


@contextlib.contextmanager
def redirect_output(path: Path, *beside: Path) -> Generator[None]:
    """Appends what this process and its libraries print to a file, so that the live table stays whole.

    `beside`: logs of the other runs of a pack, which get a line that names the first. Raises OSError where a log cannot
    be opened.
    """
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    for other in beside:
        with _open_log(other) as log:
            print(now, f"advanced beside {path.parent.name}: see its log", file=log)
    with _open_log(path) as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    try:
        print(now, "process", os.getpid(), flush=True)
        yield
    finally:
        with contextlib.suppress(OSError):  # a full disk: the run itself says so
            sys.stdout.flush()
            sys.stderr.flush()


def _open_log(log: Path) -> TextIO:
    """Opens a log to append to it. Follows no link, and waits for no reader of a pipe."""
    log.parent.mkdir(exist_ok=True)
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666), "a")


def give_up(folder: RunDir, state: str, reason: str) -> None:
    """Writes what became of a run, unless it is over or another process holds it by now."""
    with contextlib.suppress(OSError, RunError), folder.claimed() as free:
        if free and not folder.over:
            folder.leave(state, reason)
