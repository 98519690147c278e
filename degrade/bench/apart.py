"""Each loop in a process of its own: no loop's threads, memory or settings of torch touch another's."""

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

_FRESH = get_context("forkserver")  # processes that have torch loaded when they begin, but no thread of this one
# torch's optimisers load its compiler when one is first used: seconds of every peer, unless it is there
_PRELOADED = ["degrade.bench.peer", "degrade.bench.same", "torch._dynamo"]
_LEAD = 0.25  # of a round's time, in steps before it that do not count: the loaders of a peer have batches waiting
_MAXRSS = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss


class _Loop(Protocol):
    """What is timed."""

    def go(self, steps: int) -> int:
        """Does so many steps and waits for the device; returns the images."""
        ...


@dataclass(frozen=True)
class Round:
    """So many steps, timed."""

    steps: int
    images: int
    seconds: float


class Paced:
    """Rounds of a loop that take about a given time, or one step."""

    def __init__(self, loop: _Loop) -> None:
        self.loop, self.pace = loop, 0.0  # seconds of a step

    def warm(self, seconds: float) -> None:
        """Twice as many steps each time, until they take that long: the first are slow."""
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
    """Most bytes this process has held: on the GPU, if it works on one, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS


class Apart:
    """What `make` makes, a Loop or a Comparison, in its own process: `make` is sent there, called when first asked."""

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
        self.process.join(timeout=10 if kind is None else 0)  # Ctrl-C is not to wait for what nobody asks any more
        self.process.kill()

    def ask(self, what: str, *arguments: Any) -> Any:
        """What ANSWERS has for it. Raises SpecError where the loop cannot be made, RunError where its process died."""
        self.tell(what, *arguments)
        return self.hear()

    def tell(self, what: str, *arguments: Any) -> None:
        """The first half of `ask`: others can be asked before the answer is heard."""
        with contextlib.suppress(OSError):  # it died: `hear` says so
            self.pipe.send((what, arguments))

    def hear(self) -> Any:
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
    """The life of a loop's process: it answers what is asked, until None comes or nobody is left to ask."""
    processes.begin(term=signal.SIG_DFL)  # the workers of a peer inherit that, and are ended by it
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


def _sameness_of(paced: Paced, loops: Any) -> Any:
    return cast(Any, paced.loop).of(loops)  # a degrade.bench.same.Comparison


_ANSWERS: dict[str, Callable[..., Any]] = {
    "warm": Paced.warm,
    "round": Paced.round,
    "memory": _memory_of,
    "aside": _aside_of,
    "same": _sameness_of,
}
