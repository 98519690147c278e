"""Several trainings in one process, a turn at a time. On a GPU each has its own stream, so that they run at once.

A net of the CIFAR family is too small for a GPU: alone it waits for the start of each kernel. One thread can feed a few
nets, since a step is one call and nothing waits for the device between two points of a curve. A stream does not change
what a run computes.
"""

import time
from collections import deque
from collections.abc import Generator, Iterable
from typing import TypeAlias

import torch

from degrade.errors import DegradeError
from degrade.train import streams

Run: TypeAlias = Generator[None]  # does a turn at each `next`; `close` ends it early

_AHEAD = 2  # turns of one run that a GPU may have queued: enough to go on while the host measures another run
_ROOM = 1.5  # memory that must be free for one more run, in units of the memory of the largest so far
_POLL = 1e-3  # seconds between two looks at a busy GPU


def in_turn(runs: Iterable[Run], together: int, *, on_gpu: bool) -> None:
    """Advances up to `together` runs at a time until all have ended; on a GPU no more than its memory has room for.

    A DegradeError is the run's own: the other runs go on, and the error is raised in the end. Any other error closes
    all of them: on a GPU it can have spoilt what the others computed.
    """
    waiting, lanes, failed = deque(runs), deque[Lane](), list[DegradeError]()
    try:
        while waiting or lanes:
            if waiting and len(lanes) < together and (not lanes or not on_gpu or _has_room(lanes)):
                lanes.appendleft(Lane(waiting.popleft(), on_gpu=on_gpu, shared=together > 1))
            lane = _pick_next(lanes)
            try:
                going = lane.turn()
            except DegradeError as error:
                failed.append(error)
                going = False
            if not going:
                lanes.remove(lane)
                lane.close()
    finally:
        for lane in lanes:
            lane.close()
    if failed:
        raise failed[0]


def _pick_next(lanes: "deque[Lane]") -> "Lane":
    """Waits for a lane that may have a turn, and returns the first such lane; it becomes the last."""
    while not lanes[0].free:
        lanes.rotate(-1)
        if not any(lane.free for lane in lanes):
            time.sleep(_POLL)
    lanes.rotate(-1)
    return lanes[-1]


class Lane:
    """One run; on a GPU also its stream, the turns not finished there, and the bytes that its first turn took."""

    def __init__(self, run: Run, *, on_gpu: bool, shared: bool) -> None:
        self.run, self.on_gpu, self.took = run, on_gpu, 0
        self.stream = streams.take() if on_gpu and shared else None
        self.turns = deque[torch.cuda.Event]()
        self.begun = False

    @property
    def free(self) -> bool:
        """Whether it may have another turn."""
        while self.turns and self.turns[0].query():
            self.turns.popleft()
        return len(self.turns) < _AHEAD

    def turn(self) -> bool:
        """Does a turn; returns False if it was the last."""
        if not self.on_gpu:
            return self._go()
        before = 0 if self.begun else _read_free_memory()
        with torch.cuda.stream(self.stream):
            going = self._go()
            done = torch.cuda.Event()
            done.record()
            self.turns.append(done)
        if not self.begun:
            self.took, self.begun = before - _read_free_memory(), True
        return going

    def close(self) -> None:
        """Ends the run, and lets another lane have the stream."""
        self.run.close()
        if self.stream is not None:
            streams.give_back(self.stream)
            self.stream = None

    def _go(self) -> bool:
        try:
            next(self.run)
        except StopIteration:
            return False
        return True


def _read_free_memory() -> int:
    """Reads the free bytes of the GPU, after torch has given back what it does not use."""
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def _has_room(lanes: Iterable[Lane]) -> bool:
    """Whether the GPU has room for one more run. A sweep starts its longest runs first, so no later run is larger."""
    return torch.cuda.mem_get_info()[0] > _ROOM * max(lane.took for lane in lanes)
