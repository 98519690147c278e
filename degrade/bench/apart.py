"""Runs each loop in its own process: no loop's threads, memory or settings of torch touch another loop."""

import contextlib
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol, cast

import torch

from degrade.bench.ours import Aside, Ours
from degrade.errors import DegradeError, RunError, SpecError
from degrade.train import processes

_FRESH = get_context("forkserver")  # its processes begin with torch loaded, and with no thread of this process
# an optimiser of torch loads torch's compiler at its first use: seconds for every peer, unless it is loaded here
_PRELOADED = ["degrade.bench.peer", "degrade.bench.same", "degrade.bench.exact", "torch._dynamo"]
# share of a round's time for steps before it, which do not count: the loader of a peer has batches waiting
_LEAD = 0.25
_MAXRSS = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss


class _Loop(Protocol):
    """A training loop that can be timed."""

    def go(self, steps: int) -> int:
        """Does so many steps and waits for the device; returns the images."""
        ...


@dataclass(frozen=True)
class Round:
    """Some steps of a loop, and their time."""

    steps: int
    images: int
    seconds: float


class Paced:
    """Runs a loop in rounds of about a given time, or of one step where that is longer."""

    def __init__(self, loop: _Loop) -> None:
        self.loop, self.pace = loop, 0.0  # seconds of a step

    def warm(self, seconds: float) -> None:
        """Doubles the steps until they take half of `seconds`: the first steps are slow."""
        done = Round(0, 0, 0.0)
        while done.seconds < seconds / 2:
            done = self._timed(max(1, 2 * done.steps))

    def round(self, seconds: float) -> Round:
        if lead := int(_LEAD * seconds / self.pace):
            self.loop.go(lead)
        return self._timed(max(1, round(seconds / self.pace)))

    def _timed(self, steps: int) -> Round:
        begin = time.perf_counter()
        images = self.loop.go(steps)
        spent = time.perf_counter() - begin
        self.pace = spent / steps
        return Round(steps, images, spent)


def _peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held, on its GPU or, without one, in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS


class Apart:
    """A Loop or a Comparison in its own process. `make` is sent there, and called at the first question."""

    def __init__(self, make: Callable[[], Any]) -> None:
        _FRESH.set_forkserver_preload(_PRELOADED)
        self.process, self.pipe = processes.start(_serve, make, context=_FRESH, daemon=False)  # a peer has workers

    def __enter__(self) -> "Apart":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join(timeout=10 if kind is None else 0)  # after Ctrl-C nobody waits for an answer
        self.process.kill()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Asks a question of _ANSWERS. Raises SpecError where the loop cannot be made, RunError where it died."""
        self.tell(what, *arguments)
        return self.hear()

    def tell(self, what: str, *arguments: Any) -> None:
        """Sends a question without waiting, so that other processes can be asked before `hear`."""
        with contextlib.suppress(OSError):  # it died: `hear` says so
            self.pipe.send((what, arguments))

    def hear(self) -> Any:
        """Waits for the answer to `tell`. Raises as `ask` does."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise RunError(
                f"bench: a loop's process died (exit code {self.process.exitcode}); is memory short?"
            ) from None
        if isinstance(answer, DegradeError):
            raise answer
        return answer


def _serve(pipe: Connection, make: Callable[[], Any]) -> None:
    """The life of a loop's process: it answers questions until None comes or nobody is left to ask."""
    processes.begin(term=signal.SIG_DFL)  # the workers of a peer inherit this, and SIGTERM ends them
    with contextlib.suppress(EOFError, BrokenPipeError):
        paced: Paced | None = None
        while (asked := pipe.recv()) is not None:
            what, given = asked
            try:
                paced = paced or Paced(make())
                pipe.send(_ANSWERS[what](paced, *given))
            except DegradeError as error:
                pipe.send(SpecError(str(error)))


def _memory_of(paced: Paced, device: str) -> int:
    return _peak_memory(torch.device(device))


def _aside_of(paced: Paced) -> Aside:
    assert isinstance(paced.loop, Ours)
    return paced.loop.aside()


def _compare(paced: Paced, loops: Any) -> Any:
    return cast(Any, paced.loop).compare(loops)  # a Comparison of degrade.bench.same or degrade.bench.exact


_ANSWERS: dict[str, Callable[..., Any]] = {
    "warm": Paced.warm,
    "round": Paced.round,
    "memory": _memory_of,
    "aside": _aside_of,
    "compare": _compare,
}
