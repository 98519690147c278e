"""Trains the runs of a sweep on this machine, in spawned processes. Each has one run at a time: a crash harms one run.

On a GPU a worker has a pack of runs, which it advances in turn. A crash there breaks the whole pack: its runs that are
not over are tried once more, each by itself, from their checkpoints.

A worker that is done with a run takes the next, since loading torch takes longer than a short run. A dead worker is
replaced. SIGINT, SIGTERM or SIGHUP to the parent becomes SIGTERM for the workers, which write a checkpoint and leave; a
second signal, not in the same second, kills them. Workers whose parent died write a checkpoint and leave too.
"""

import contextlib
import shlex
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

from degrade.errors import RunError, Stopped
from degrade.spec import RunSpec
from degrade.store.folder import RunDir
from degrade.store.results import make_root
from degrade.store.state import BROKEN, OVER, Board, State
from degrade.sweep.queue import Queue
from degrade.sweep.worker import Report, give_up, serve
from degrade.train import processes
from degrade.train.devices import gpus, refuse_missing
from degrade.views.live import Progress
from degrade.views.terminal import console

_LOOK = 1.0  # seconds between two looks at runs that others train
_LONGEST_PAUSE = 60.0  # seconds between two tries of a run whose holder gives no sign of life but still holds it
_ENDED = (*OVER, *BROKEN)  # states after which a run gets no further in this sweep


def train(specs: Sequence[RunSpec], root: Path, *, jobs: int | None = None, fail_fast: bool = False) -> None:
    """Trains all specs, longest first, on `jobs` workers. How each run ended stands in its folder.

    Waits for runs that other processes hold, and takes them up where those processes die. With `fail_fast` the first
    failure stops the other runs at their checkpoints, and no more begin. Raises Stopped after a signal, once the
    workers have left, RunError where a run failed and the disk did not take that, and SpecError for a run that needs
    what this machine lacks, before anything starts.
    """
    for spec in specs:
        refuse_missing(spec)
    make_root(root)
    on_cpu = all(spec.engine.device == "cpu" for spec in specs)
    queue = Queue(specs, min(jobs or processes.default_jobs(on_cpu), len(specs)), 0 if on_cpu else gpus())
    with processes.signals() as received, Progress(specs, root, queue.at_once) as progress:
        workers = [Worker(root, slot) for slot in range(queue.workers)]
        held, unsaid = Held(root), list[str]()
        try:
            while ((queue.waiting or held.specs) and not received) or any(w.pack for w in workers):
                queue.put_back(held.take_freed())
                for worker in workers:
                    if not worker.pack and queue.waiting and not received:
                        worker.give(queue.pack())
                wait([w.pipe for w in workers if w.pack], timeout=processes.TICK)
                if received:
                    _stop_all(workers, kill=len(received) > 1)
                ended = [worker.look() for worker in workers]
                for end in ended:
                    queue.put_back(end.again)
                    held.add(end.held)
                    unsaid += end.unsaid
                if fail_fast and any(end.failed for end in ended):
                    queue.waiting.clear()
                    held.specs.clear()
                    _stop_all(workers)
                progress.update([spec.run for specs in (*(w.pack for w in workers), held.specs) for spec in specs])
        finally:
            _stop_all([worker for worker in workers if worker.pack])  # an error here must not lose their work
            for worker in workers:
                worker.dismiss()
    if received:
        raise Stopped(received[0])
    _raise_first(unsaid)


def _raise_first(unsaid: Sequence[str]) -> None:
    """Raises RunError with the first reason, after it has printed the others."""
    for each in unsaid[1:]:
        console.print(each, style="red", highlight=False, soft_wrap=True)
    if unsaid:
        raise RunError(unsaid[0])


class Held:
    """Runs that other processes train: another sweep on this folder, here or on another host."""

    def __init__(self, root: Path) -> None:
        self.root, self.specs, self.looked = root, list[RunSpec](), 0.0
        self.before: Board = {}  # run -> its state when it was found to be held
        self.pauses: dict[str, float] = {}  # run -> seconds to the next try: longer after tries in vain
        self.found: dict[str, float] = {}  # run -> when it was last found to be held

    def add(self, specs: Sequence[RunSpec]) -> None:
        """Takes note of runs that a worker found to be held, and says so once for each."""
        self.specs += specs
        for spec in specs:
            state = self.before[spec.run] = RunDir(self.root, spec.run).standing()
            if spec.run not in self.pauses:
                who = f"process {state.pid or '?'} on {state.host or '?'}"
                console.print(f"{spec.run}: {who} is training it; waiting", highlight=False, soft_wrap=True)
            self.pauses[spec.run] = min(2 * self.pauses.get(spec.run, _LOOK / 2), _LONGEST_PAUSE)
            self.found[spec.run] = time.monotonic()

    def take_freed(self) -> list[RunSpec]:
        """Takes out runs that others seem to have let go before their end, for a worker to try. Looks once a second."""
        now = time.monotonic()
        if now - self.looked < _LOOK:
            return []
        self.looked = now
        states = {spec: RunDir(self.root, spec.run).standing() for spec in self.specs}
        self.pauses |= {spec.run: _LOOK for spec, state in states.items() if state.fresh}
        early = {spec for spec in self.specs if now - self.found[spec.run] < self.pauses[spec.run]}
        self.specs = [s for s in states if states[s].fresh or (s in early and not self._settled(s.run, states[s]))]
        return [s for s in states if s not in self.specs and not self._settled(s.run, states[s])]

    def _settled(self, run: str, state: State) -> bool:
        """Whether a run is over, or has failed since it was found held. An older failure may still stand there."""
        return state.over or (state.name == "failed" and state != self.before[run])


class _End(NamedTuple):
    """How the runs of a pack ended; empty while the pack is under way."""

    states: Sequence[str] = ()
    again: Sequence[RunSpec] = ()  # runs to try again, each by itself
    held: Sequence[RunSpec] = ()  # runs that other processes hold
    unsaid: Sequence[str] = ()  # why runs failed, or were not mended, where their folders do not say so

    @property
    def failed(self) -> bool:
        return bool(self.unsaid) or not set(BROKEN).isdisjoint(self.states)


class Worker:
    """A place for one pack of runs at a time, and the process that trains it. A new process replaces one that died."""

    def __init__(self, root: Path, slot: int) -> None:
        self.root, self.slot = root, slot
        self.pack: list[RunSpec] = []
        self.told = False  # to stop
        self._start()

    def _start(self) -> None:
        command = shlex.join(["degrade", *sys.argv[1:]])
        self.process, self.pipe = processes.start(serve, self.root, self.slot, command)

    def give(self, pack: list[RunSpec]) -> None:
        """Sends a pack to the process, or to a new one where that has died."""
        if not self.process.is_alive():
            self._start()
        self.pack = pack
        with contextlib.suppress(BrokenPipeError):  # the process has just died: the next look sees that
            self.pipe.send(pack)

    def look(self) -> _End:
        """Says how the pack ended, if it has just ended. Where the worker died, writes that into the folders."""
        if not self.pack:
            return _End()
        died = ""
        try:
            if not self.pipe.poll():
                return _End()
            report: Report = self.pipe.recv()
            if not report.fit:
                self._leave()
        except (EOFError, OSError):
            self._leave()
            died = f"worker died ({processes.cause(self.process.exitcode)})"
            report = Report(fit=False, reason=died)
        pack, self.pack = self.pack, []
        if self.told and died:  # before it listened, or after a second signal: its work is in the checkpoint
            return _End()
        for spec in pack if died else []:
            give_up(RunDir(self.root, spec.run), "failed" if len(pack) == 1 else "interrupted", died)
        return self._describe_end(pack, report)

    def _describe_end(self, pack: list[RunSpec], report: Report) -> _End:
        """Sorts the runs of a pack by how they stand in their folders."""
        stood = {spec: RunDir(self.root, spec.run).standing() for spec in pack}
        states = [state.name for state in stood.values()]
        if self.told:
            return _End(states)
        held = [spec for spec in pack if spec.run in report.elsewhere or stood[spec].elsewhere]
        left = [spec for spec in pack if stood[spec].name not in _ENDED and spec not in held]
        if report.reason and len(pack) == 1:
            damaged = [spec for spec in pack if stood[spec].name == "damaged"]  # whose state stays as it is
            return _End(states, held=held, unsaid=[report.reason for _ in (*left, *damaged)])
        return _End(states, again=left, held=held)

    def stop(self, *, kill: bool) -> None:
        """Tells the process to leave at a checkpoint, or kills it."""
        self.told = True
        if kill:
            self.process.kill()
        else:
            self.process.terminate()

    def dismiss(self) -> None:
        """Tells the process that there is nothing more, and waits for its end."""
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self._leave()

    def _leave(self) -> None:
        """Waits for the process to end, and kills it after 10 s: a process whose GPU failed can hang."""
        self.pipe.close()
        self.process.join(timeout=10)
        self.process.kill()
        self.process.join()


def _stop_all(workers: Sequence[Worker], *, kill: bool = False) -> None:
    for worker in workers:
        worker.stop(kill=kill)
