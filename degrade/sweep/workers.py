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
import time
from collections.abc import Generator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from degrade.errors import RunError, Stopped
from degrade.spec import RunSpec
from degrade.store.folder import RunDir
from degrade.store.state import OVER, elsewhere, fresh
from degrade.sweep.queue import Queue
from degrade.sweep.worker import KINDS, Report, give_up, serve
from degrade.views.terminal import Progress, console

TICK = 0.25  # seconds between two looks at the workers
LOOK = 1.0  # seconds between two looks at runs that others train
LONGEST = 60.0  # seconds between two tries of one whose holder gives no sign of life, and holds it all the same
SETTLED = (*OVER, "failed", "damaged")
SPAWN = get_context("spawn")  # a forked copy of a process with threads can hang


def train(specs: Sequence[RunSpec], root: Path, *, jobs: int | None = None, fail_fast: bool = False) -> None:
    """Trains all specs, longest first, on `jobs` workers; how each ended stands in its folder.

    Runs that other processes hold are waited for, and taken up where those die. With `fail_fast` the first failure
    stops the others at their checkpoints, and no more are begun. Raises Stopped after a signal, once the workers have
    left, and RunError where a run failed and the disk did not take it that it had.
    """
    on_cpu = all(spec.engine.device == "cpu" for spec in specs)
    queue = Queue(specs, min(jobs or default_jobs(on_cpu), len(specs)), 0 if on_cpu else gpus())
    with signals() as received, Progress(specs, root, queue.at_once) as progress:
        workers = [Worker(root, slot) for slot in range(queue.workers)]
        held, unsaid = Held(root), list[str]()
        try:
            while ((queue.waiting or held.specs) and not received) or any(w.pack for w in workers):
                queue.put_back(held.freed())
                for worker in workers:
                    if not worker.pack and queue.waiting and not received:
                        worker.give(queue.pack())
                wait([w.pipe for w in workers if w.pack], timeout=TICK)
                if received:
                    stop(workers, kill=len(received) > 1)
                ended = [worker.look() for worker in workers]
                for end in ended:
                    queue.put_back(end.again)
                    held.add(end.held)
                    unsaid += end.unsaid
                if fail_fast and any(end.failed for end in ended):
                    queue.waiting.clear()
                    held.specs.clear()
                    stop(workers)
                progress.update([spec.run for specs in (*(w.pack for w in workers), held.specs) for spec in specs])
        finally:
            stop([worker for worker in workers if worker.pack])  # an error here is not to lose what they are at
            for worker in workers:
                worker.dismiss()
    if received:
        raise Stopped(received[0])
    raise_first(unsaid)


def raise_first(unsaid: Sequence[str]) -> None:
    """As a RunError, after the others have been said."""
    for each in unsaid[1:]:
        console.print(each, style="red", highlight=False, soft_wrap=True)
    if unsaid:
        raise RunError(unsaid[0])


class Held:
    """Runs that other processes train: another sweep on this folder, here or on another host."""

    def __init__(self, root: Path) -> None:
        self.root, self.specs, self.looked = root, list[RunSpec](), 0.0
        self.before: dict[str, dict[str, Any]] = {}  # run -> how it stood when it was found to be held
        self.pauses: dict[str, float] = {}  # run -> seconds to the next try: longer where the last ones were in vain
        self.found: dict[str, float] = {}  # run -> when it was last found to be held

    def add(self, specs: Sequence[RunSpec]) -> None:
        self.specs += specs
        for spec in specs:
            state = self.before[spec.run] = RunDir(self.root, spec.run).standing()
            if spec.run not in self.pauses:
                who = f"process {state.get('pid', '?')} on {state.get('host', '?')}"
                console.print(f"{spec.run}: {who} trains it; waiting for that", highlight=False, soft_wrap=True)
            self.pauses[spec.run] = min(2 * self.pauses.get(spec.run, LOOK / 2), LONGEST)
            self.found[spec.run] = time.monotonic()

    def freed(self) -> list[RunSpec]:
        """Those of which others seem to have let go before their end; a worker finds out. Looked for once a second."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return []
        self.looked = now
        states = {spec: RunDir(self.root, spec.run).standing() for spec in self.specs}
        self.pauses |= {spec.run: LOOK for spec, state in states.items() if fresh(state)}
        early = {spec for spec in self.specs if now - self.found[spec.run] < self.pauses[spec.run]}
        self.specs = [s for s in states if fresh(states[s]) or (s in early and not self._settled(s.run, states[s]))]
        return [s for s in states if s not in self.specs and not self._settled(s.run, states[s])]

    def _settled(self, run: str, state: dict[str, Any]) -> bool:
        """Whether it is over, or has failed since: not at the time before, as whose the state still stands."""
        return state["state"] in OVER or (state["state"] == "failed" and state != self.before[run])


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
    """The signals received so far, instead of their usual effect. What is ignored, as `nohup` has it, stays ignored."""
    received: list[int] = []

    first = 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not received or time.monotonic() - first > 1:  # one Ctrl-C can arrive twice, by the terminal and by a parent
            first = first or time.monotonic()
            received.append(number)

    heard = [kind for kind in KINDS if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, note) for kind in heard}
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
    """How the runs of a pack ended; nothing while it is under way."""

    states: Sequence[str] = ()
    again: Sequence[RunSpec] = ()  # to be tried singly
    held: Sequence[RunSpec] = ()  # by other processes
    unsaid: Sequence[str] = ()  # why a run failed, or was not mended, that did not write so into its folder

    @property
    def failed(self) -> bool:
        return bool(self.unsaid) or not {"failed", "damaged"}.isdisjoint(self.states)


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
        died = ""
        try:
            if not self.pipe.poll():
                return End()
            report: Report = self.pipe.recv()
            if not report.fit:
                self._leave()
        except (EOFError, OSError):
            self._leave()
            died = f"worker died ({cause(self.process.exitcode)})"
            report = Report(fit=False, reason=died)
        pack, self.pack = self.pack, []
        if self.told and died:  # before it could listen, or twice: what it had is in its checkpoint
            return End()
        for spec in pack if died else []:
            give_up(RunDir(self.root, spec.run), "failed" if len(pack) == 1 else "interrupted", died)
        return self._ended(pack, report)

    def _ended(self, pack: list[RunSpec], report: Report) -> End:
        stood = {spec: RunDir(self.root, spec.run).standing() for spec in pack}
        states = [state["state"] for state in stood.values()]
        if self.told:
            return End(states)
        held = [spec for spec in pack if spec.run in report.elsewhere or elsewhere(stood[spec])]
        left = [spec for spec in pack if stood[spec]["state"] not in SETTLED and spec not in held]
        if report.reason and len(pack) == 1:
            damaged = [spec for spec in pack if stood[spec]["state"] == "damaged"]  # its state stays as it is
            return End(states, held=held, unsaid=[report.reason for _ in (*left, *damaged)])
        return End(states, again=left, held=held)

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


def stop(workers: Sequence[Worker], *, kill: bool = False) -> None:
    for worker in workers:
        worker.stop(kill=kill)


def cause(exitcode: int | None) -> str:
    """`SIGSEGV` or `exit code 3`."""
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
