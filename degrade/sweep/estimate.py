"""What a sweep will cost here: each kind of run is measured in a process of its own, as its workers will be."""

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
    """Prices of `specs`, from as many measurements at once as there will be workers: they slow one another down.

    Raises RunError where a process dies.
    """
    deepest = {kind(spec): spec for spec in sorted(specs, key=lambda spec: spec.net.depth)}
    together = min(workers, len(specs))
    groups = group_specs(list(deepest.values()), together, gpus)
    found: dict[Hashable, list[Samples]] = {key: [] for key in deepest}
    children: list[BaseProcess] = []
    with ThreadPoolExecutor(together) as threads:
        try:
            answers = threads.map(partial(measure_apart, children), range(len(groups)), groups)
            for group, several in zip(groups, answers, strict=True):
                for spec, samples in zip(group, several, strict=True):
                    found[kind(spec)].append(samples)
        except BaseException:  # Ctrl-C too: leaving the pool waits for its threads, and they for their processes
            threads.shutdown(wait=False, cancel_futures=True)
            for child in children:
                child.kill()
            raise
    return Prices({key: average(each) for key, each in found.items()})


def group_specs(specs: Sequence[RunSpec], together: int, gpus: int) -> list[list[RunSpec]]:
    """What each process measures. On a CPU one spec, so that the peak of its memory is that of a worker.

    Where there are more workers than specs, some are measured several times, for the load that workers are.
    """
    if gpus:
        return [list(specs[i::gpus]) for i in range(min(gpus, len(specs)))]
    return [[spec] for spec in islice(cycle(specs), max(together, len(specs)))]


def measure_apart(children: list[BaseProcess], slot: int, specs: Sequence[RunSpec]) -> list[Samples]:
    """`sample` in a new process, which joins `children`."""
    child = processes.start(answer, slot, specs, time.time())
    children.append(child.process)
    try:
        found = child.pipe.recv()
    except EOFError:
        names = ", ".join(spec.name for spec in specs)
        raise RunError(f"plan: a process died over a few steps of {names}; is there memory for them?") from None
    if isinstance(found, Exception):
        raise found
    return found


def answer(pipe: Connection, slot: int, specs: Sequence[RunSpec], begun: float) -> None:
    """The life of such a process."""
    processes.begin()
    try:
        pipe.send(_take_samples(slot, specs, begun))
    except Exception as error:
        pipe.send(error)


def _take_samples(slot: int, specs: Sequence[RunSpec], begun: float) -> list[Samples]:
    """Samples of each spec, one after the other, in the place of a worker; its process was begun then (time.time)."""
    from degrade.sweep import sample  # load torch
    from degrade.train import run

    load = time.time() - begun
    run.take_gpu(slot)
    return [sample.sample_depths(spec, load) for spec in specs]
