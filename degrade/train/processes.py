"""The life of a process: how it starts, what signals mean to it, and what it does when its parent is gone.

This module never loads torch, since processes that only place runs use it too.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple

from degrade.train.devices import gpus

SPAWN: Any = get_context("spawn")  # a forked copy of a process with threads can hang
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals that end a command
TICK = 0.25  # seconds between two looks at processes


class Child(NamedTuple):
    """A process, and this end of the pipe to it."""

    process: BaseProcess
    pipe: "Connection[Any, Any]"


def start(
    target: Callable[..., object], *arguments: object, context: BaseContext | None = None, daemon: bool = True
) -> Child:
    """Starts `target(pipe, *arguments)` in a new process, spawned unless another context is given.

    Signals to the process wait until it has called `begin`. A daemon may start no processes.
    """
    how: Any = context or SPAWN
    pipe, theirs = how.Pipe()
    process = how.Process(target=target, args=(theirs, *arguments), daemon=daemon)
    with hold_back():
        process.start()
    theirs.close()
    return Child(process, pipe)


def begin(stop: Callable[[], object] | None = None, *, term: signal.Handlers = signal.SIG_IGN) -> None:
    """Sets up a new process; it calls this first. It ignores signals to the whole group: its parent decides on them.

    SIGTERM and the end of the parent call `stop`. A process without `stop` has nothing to save: SIGTERM does what
    `term` says, and the process ends as soon as its parent is gone.
    """
    for kind in (signal.SIGINT, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, term if stop is None else lambda number, frame: stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    _call_when_alone(stop or (lambda: os._exit(1)))


def parents_end() -> int:
    """A handle for `wait` that is ready once the parent is gone."""
    parent = parent_process()
    assert parent is not None
    return parent.sentinel


def _call_when_alone(act: Callable[[], object]) -> None:
    """Calls `act` once the parent is gone, from a thread."""

    def watch() -> None:
        wait([parents_end()])
        act()

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def signals() -> Generator[list[int]]:
    """Yields a list that collects signals, which do nothing else. Ignored signals, as under `nohup`, stay ignored."""
    received: list[int] = []
    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        # one Ctrl-C can arrive from the terminal and again from a parent
        if not received or time.monotonic() - first > 1:
            first = first or time.monotonic()
            received.append(number)

    heard = [kind for kind in _ENDING if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, note) for kind in heard}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def hold_back() -> Generator[None]:
    """Blocks signals to this thread meanwhile, and to a process that it starts until that process lets them through."""
    resource_tracker.ensure_running()  # it would start with the first process, and let signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cause(exitcode: int | None) -> str:
    """Why a process ended: `SIGSEGV` or `exit code 3`."""
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def default_jobs(on_cpu: bool) -> int:
    """One worker for each GPU that this process may use or, where there is none, for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (0 if on_cpu else gpus()) or cores or 1
