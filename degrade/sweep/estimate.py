"""What a sweep will cost here. Each kind of run is measured in a process of its own, as workers are."""

import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.sweep.cost import Prices, Samples, average, kind
from degrade.train import processes


def measure_kinds(specs: Sequence[RunSpec], workers: int, *, gpus: int = 0) -> Prices:
    """Prices `specs` from as many measurements at once as there will be workers, since workers slow one another down.

    Raises RunError where a process dies.
    """
    deepest = {kind(spec): spec for spec in sorted(specs, key=lambda spec: spec.net.depth)}
    together = min(workers, len(specs))
    groups = group_specs(list(deepest.values()), together, gpus)
    found: dict[Hashable, list[Samples]] = {key: [] for key in deepest}
    children = Children()
    with ThreadPoolExecutor(together) as threads:
        try:
            answers = threads.map(partial(measure_apart, children), range(len(groups)), groups)
            for group, several in zip(groups, answers, strict=True):
                for spec, samples in zip(group, several, strict=True):
                    found[kind(spec)].append(samples)
        except BaseException:  # Ctrl-C too: leaving the pool waits for its threads, and the threads for their processes
            threads.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
    return Prices({key: average(each) for key, each in found.items()})


class Children:
    """Processes that threads start. Once they are ended, none that starts later lives on: a thread may just have
    started one, and would wait for it.
    """

    def __init__(self) -> None:
        self._lock, self._processes, self._ended = threading.Lock(), list[BaseProcess](), False

    def add(self, process: BaseProcess) -> None:
        with self._lock:
            self._processes.append(process)
            if self._ended:
                process.kill()

    def end(self) -> None:
        """Kills all of them, and each that is added from now on."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.kill()


def group_specs(specs: Sequence[RunSpec], together: int, gpus: int) -> list[list[RunSpec]]:
    """Says what each process measures. On a CPU it is one spec, so that the process has the peak memory of a worker.

    Where there are more workers than specs, some are measured several times, so that the load is the same.
    """
    if gpus:
        return [list(specs[i::gpus]) for i in range(min(gpus, len(specs)))]
    return [[spec] for spec in islice(cycle(specs), max(together, len(specs)))]


def measure_apart(children: Children, slot: int, specs: Sequence[RunSpec]) -> list[Samples]:
    """Takes samples in a new process, and adds the process to `children`. Raises RunError where the process dies."""
    child = processes.start(answer, slot, specs, time.time())
    children.add(child.process)
    try:
        found = child.pipe.recv()
    except EOFError:
        names = ", ".join(spec.name for spec in specs)
        raise RunError(f"plan: a process died over a few steps of {names}; is there memory for them?") from None
    if isinstance(found, Exception):
        raise found
    return found


def answer(pipe: Connection, slot: int, specs: Sequence[RunSpec], begun: float) -> None:
    """The life of a measuring process."""
    processes.begin()
    try:
        pipe.send(_take_samples(slot, specs, begun))
    except Exception as error:
        pipe.send(error)


def _take_samples(slot: int, specs: Sequence[RunSpec], begun: float) -> list[Samples]:
    """Samples each spec, one after the other, in a worker's slot. `begun`: when the process started (time.time)."""
    from degrade.sweep import sample  # loads torch
    from degrade.train import run

    load = time.time() - begun
    run.take_gpu(slot)
    return [sample.sample_depths(spec, load) for spec in specs]
