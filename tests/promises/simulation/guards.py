"""What keeps the promises, to be taken out one at a time: the simulation must then see what breaks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from unittest.mock import patch

from degrade.store import folder
from degrade.store import state as states
from degrade.store.folder import RunDir
from degrade.store.holder import Holder
from degrade.store.state import State
from degrade.train import run


class Guard(NamedTuple):
    """How to take a guard out; the kind of hosts and the seed that show it, and what is then said."""

    out: Callable[[], AbstractContextManager[Any]]
    kind: str
    seed: int
    said: str


def _unsigned(true: Callable[[RunDir, State], None]) -> Callable[[RunDir, State], None]:
    def write(self: RunDir, state: State) -> None:
        if state.name != "running" or state.iteration is not None:
            true(self, state)

    return write


def _leave(folder: RunDir, state: str, reason: str, signed: bool) -> None:
    folder.write_state(State(state, reason=reason))


def _is_fresh(self: State) -> bool:
    return self.name == "running" and states.time.time() - (self.heartbeat or 0.0) < states.STALE


def _is_there(self: Holder) -> bool:
    """Whether a process of that number is there, whenever it started."""
    from degrade.store import holder

    try:
        holder.os.kill(self.pid, 0)
    except ProcessLookupError:
        return False
    return True


GUARDS = {
    "a lock": Guard(lambda: patch.object(RunDir, "_acquire", lambda self, lock: True), "one host", 3, "trains"),
    "signs of life of others": Guard(
        lambda: patch.object(State, "elsewhere", property(lambda self: False)), "apart", 0, "takes"
    ),
    "a look whether the run is still ours": Guard(
        lambda: patch.object(run, "lost", lambda folder: False), "apart", 0, "trains"
    ),
    "the boot of the machine in a holder": Guard(
        lambda: patch.object(Holder, "here", property(lambda self: True)), "apart", 0, "takes"
    ),
    "the start of the process in a holder": Guard(
        lambda: patch.object(Holder, "alive", property(_is_there)), "one host with files", 2, "is not done"
    ),
    "no trust in signs of the future": Guard(
        lambda: patch.object(State, "fresh", property(_is_fresh)), "apart", 8, "is not done"
    ),
    "a lock of a dead process is broken": Guard(
        lambda: patch.object(folder, "break_stale", lambda lock, age: False), "files", 0, "is not done"
    ),
    "a run is signed before its pictures are loaded": Guard(
        lambda: patch.object(RunDir, "write_state", _unsigned(RunDir.write_state)), "apart", 5, "trains"
    ),
    "no failure is written into a run of others": Guard(
        lambda: patch.object(run, "_leave", _leave), "apart", 123, "failure"
    ),
}
