"""Runs of a sweep on this machine: spawned processes, one run at a time each, so that one crash harms one run.

On a GPU a worker has a pack of runs, which it advances in turn. What breaks there breaks the pack: those of its runs
that are not over are tried once more, each by itself, from their checkpoints.

A worker goes on to the next run when it is done with one (loading torch takes longer than a short run); one that dies
is replaced. SIGINT, SIGTERM or SIGHUP to the parent becomes SIGTERM for the workers, which write a checkpoint and
leave; a second one, not in the same second, kills them. Workers whose parent died do the same.
"""

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from degrade.errors import DegradeError, Stopped
from degrade.packs import Queue
from degrade.screen import Progress
from degrade.spec import RunSpec
from degrade.states import OVER
from degrade.store import RunDir

TICK = 0.25  # seconds between two looks at the workers
KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPAWN = get_context("spawn")  # a forked copy of a process with threads can hang


def train(specs: Sequence[RunSpec], root: Path, *, jobs: int | None = None, fail_fast: bool = False) -> None:
    """Trains all specs, longest first, on `jobs` workers; how each ended stands in its folder.

    With `fail_fast` the first failure stops the others at their checkpoints, and no more are begun.
    Raises Stopped after a signal, once the workers have left.
    """
    on_cpu = all(spec.engine.device == "cpu" for spec in specs)
    queue = Queue(specs, min(jobs or default_jobs(on_cpu), len(specs)), 0 if on_cpu else gpus())
    with signals() as received, Progress(specs, root, queue.at_once) as progress:
        workers = [Worker(root, slot) for slot in range(queue.workers)]
        try:
            while (queue.waiting and not received) or any(w.pack for w in workers):
                for worker in workers:
                    if not worker.pack and queue.waiting and not received:
                        worker.give(queue.pack())
                wait([w.pipe for w in workers if w.pack], timeout=TICK)
                for worker in workers if received else []:
                    worker.stop(kill=len(received) > 1)
                ended = [worker.look() for worker in workers]
                for end in ended:
                    queue.put_back(end.again)
                if fail_fast and any("failed" in end.states for end in ended):
                    queue.waiting.clear()
                    for worker in workers:
                        worker.stop(kill=False)
                progress.update([spec.run for w in workers for spec in w.pack])
        finally:
            for worker in workers:
                worker.dismiss()
    if received:
        raise Stopped(received[0])


def default_jobs(on_cpu: bool) -> int:
    """One worker a GPU that this process may use, or one a core where there is none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (0 if on_cpu else gpus()) or cores or 1


def gpus() -> int:
    """GPUs that this process may use; found without loading torch."""
    found = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    if found and "CUDA_VISIBLE_DEVICES" in os.environ:
        found = min(found, len([g for g in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if g.strip()]))
    return found


@contextlib.contextmanager
def signals() -> Generator[list[int]]:
    """The signals received so far, instead of their usual effect."""
    received: list[int] = []

    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not received or time.monotonic() - first > 1:  # one Ctrl-C can arrive twice, by the terminal and by a parent
            first = first or time.monotonic()
            received.append(number)

    before = {kind: signal.signal(kind, note) for kind in KINDS}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextlib.contextmanager
def held_back() -> Generator[None]:
    """Signals that are kept from this thread, and from a process it starts, until they are let through."""
    resource_tracker.ensure_running()  # starting with the first process, it would let them through
    signal.pthread_sigmask(signal.SIG_BLOCK, KINDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, KINDS)


class End(NamedTuple):
    """How the runs of a pack ended, and those of them that are to be tried singly; nothing while it is under way."""

    states: list[str] = []  # noqa: RUF012 - never written to
    again: list[RunSpec] = []  # noqa: RUF012


class Worker:
    """A place for one pack of runs at a time, and the process that does it; a new process where the last one died."""

    def __init__(self, root: Path, slot: int) -> None:
        self.root, self.slot = root, slot
        self.pack: list[RunSpec] = []
        self.told = False  # to stop
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        command = shlex.join(["degrade", *sys.argv[1:]])
        self.process = SPAWN.Process(target=serve, args=(theirs, self.root, self.slot, command), daemon=True)
        with held_back():  # inherited: a signal that comes before `serve` can listen waits for it
            self.process.start()
        theirs.close()

    def give(self, pack: list[RunSpec]) -> None:
        if not self.process.is_alive():
            self._start()
        self.pack = pack
        with contextlib.suppress(BrokenPipeError):  # died meanwhile: seen by the next look
            self.pipe.send(pack)

    def look(self) -> End:
        """How the pack ended, if it has just done so; the death of a run by itself is written to its folder."""
        if not self.pack:
            return End()
        reason, over = "", True
        try:
            if not self.pipe.poll():
                return End()
            over = self.pipe.recv()
            if not over:
                self._leave()
        except (EOFError, OSError):
            self._leave()
            over, reason = False, f"worker died ({cause(self.process.exitcode)})"
        pack, self.pack = self.pack, []
        if self.told and reason:  # before it could listen, or twice: what it had is in its checkpoint
            return End()
        return self._ended(pack, over, reason)

    def _ended(self, pack: list[RunSpec], over: bool, reason: str) -> End:
        """`over`: the process did all that it was given; else why it died, or nothing where that is written already."""
        folders = [RunDir(self.root, spec.run) for spec in pack]
        if len(pack) == 1 and reason:
            folders[0].write_state("failed", reason=reason)
        states = [folder.known()["state"] for folder in folders]
        if over or self.told or len(pack) == 1:
            return End(states)
        again = [spec for spec, state in zip(pack, states, strict=True) if state not in (*OVER, "failed")]
        for folder in [RunDir(self.root, spec.run) for spec in again if reason]:
            with folder.claimed() as free:
                if free:  # else another process trains it
                    folder.write_state("interrupted", reason=reason)
        return End(states, again)

    def stop(self, *, kill: bool) -> None:
        self.told = True
        if kill:
            self.process.kill()
        else:
            self.process.terminate()

    def dismiss(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self._leave()

    def _leave(self) -> None:
        """The process has ended, or is made to: one whose GPU failed can hang."""
        self.pipe.close()
        self.process.join(timeout=10)
        self.process.kill()
        self.process.join()


def cause(exitcode: int | None) -> str:
    """`SIGSEGV` or `exit code 3`."""
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def serve(pipe: Connection, root: Path, slot: int, command: str) -> None:
    """The life of a worker process: run after run, until None comes or it is told to stop."""
    halt = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    signal.signal(signal.SIGTERM, lambda number, frame: halt.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, KINDS)
    threading.Thread(target=outlive, args=(halt,), daemon=True).start()
    from degrade import experiment  # loads torch

    experiment.take_gpu(slot)
    over = True
    with contextlib.suppress(EOFError, BrokenPipeError):
        while over and (pack := pipe.recv()) is not None:
            over = work(pack, root, halt.is_set, command)
            pipe.send(over)


def end_with_parent() -> None:
    """From now on this process ends at once when its parent is gone: it has nothing to save."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(pack: Sequence[RunSpec], root: Path, stop: Callable[[], bool], command: str) -> bool:
    """Trains a pack; how it ended stands in the folders and the log. Returns whether the process is fit for more."""
    from degrade import experiment

    try:
        with output_to(*(RunDir(root, spec.run).log for spec in pack)):
            try:
                experiment.run(pack, root, stop=stop, command=command, together=len(pack))
            except Exception as error:  # the folders say `failed` and why
                traceback.print_exc()
                return isinstance(error, DegradeError)  # else a GPU, or the process, can be of no use any more
    except OSError as error:  # of the logs
        for spec in pack:
            folder = RunDir(root, spec.run)
            if not folder.over:
                experiment.leave(folder, "failed", f"{folder.log}: {error.strerror or error}")
    return True


def outlive(halt: threading.Event) -> None:
    """Sets `halt` when the parent is gone."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    halt.set()


@contextlib.contextmanager
def output_to(path: Path, *beside: Path) -> Generator[None]:
    """Sends what this process and its libraries print to the end of a file, so that the live table stays whole.

    The logs of the runs beside the first say where that is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in beside:
        other.parent.mkdir(parents=True, exist_ok=True)
        with other.open("a") as log:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), f"advanced beside {path.parent.name}: see its log", file=log)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    print(time.strftime("%Y-%m-%d %H:%M:%S"), "process", os.getpid(), flush=True)
    yield
    sys.stdout.flush()
    sys.stderr.flush()
