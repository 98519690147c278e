"""The guards of the claiming code, each with the schedule in which a promise breaks without it.

`without(name)` takes a guard out of the product, in memory. `SHOWN` has what the simulator then sees, and
by which seed.
"""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from promises.simulation.doors import Doors
from promises.simulation.schedule import Plan, draw

from degrade.store import files, folder, holder
from degrade.store import state as states
from degrade.store.folder import RunDir
from degrade.store.state import State
from degrade.sweep import worker
from degrade.train import resume, run


class Shown(NamedTuple):
    """A schedule, and a word of the fault that it shows without the guard."""

    seed: int
    kind: str
    befalls: tuple[str, ...]
    hosts: int
    said: str

    @property
    def plan(self) -> Plan:
        return draw(self.seed, self.kind, self.befalls, self.hosts)


def _patched(*changes: tuple[Any, str, Any]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def out() -> Generator[None]:
        with contextlib.ExitStack() as stack:
            for place, name, value in changes:
                stack.enter_context(patch.object(place, name, value))
            yield

    return out


def _only_elsewhere(state: State) -> bool:
    return state.elsewhere


def _without_token(who: holder.Holder) -> str:
    return f"{who.pid}-00000000-{0:016}"  # every host then has drafts of one name


def _give_up(place: RunDir, state: str, reason: str) -> None:
    with contextlib.suppress(OSError):
        place.write_state(State(state, reason=reason))


def _leave(place: RunDir, state: str, reason: str) -> None:
    place.write_state(State(state, reason=reason))


def _first_look(place: RunDir) -> bool:
    """`lost`, but blind until the process has signed with an iteration."""
    state = place.try_read_state()
    mine = (state.holder or "").endswith(holder.this_process().token)
    seen = _LOOKED.setdefault((holder.this_process().token, place.run), [])
    seen.append(mine)
    return len(seen) > 1 and _LOST(place)


class _Free:
    """A lock that everybody gets."""

    def __init__(self, doors: Doors, path: Path) -> None:
        pass

    def acquire(self, timeout: float = 0) -> None:
        pass

    def release(self) -> None:
        pass


_LOST, _LOOKED = resume.lost, dict[Any, list[bool]]()


def _with_parents() -> contextlib.AbstractContextManager[None]:
    claimed = RunDir.claimed

    @contextlib.contextmanager
    def anew(place: RunDir) -> Generator[bool]:
        place.path.mkdir(parents=True, exist_ok=True)
        with claimed(place) as mine:
            yield mine

    return _patched((RunDir, "claimed", anew))()


without: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    # the token protects where a lock fails, so the lock alone shows nothing
    "the lock": _patched(
        (Doors, "_lock", lambda self, path: _Free(self, path)), (State, "others", property(_only_elsewhere))
    ),
    "the token": _patched((State, "others", property(_only_elsewhere))),
    "the boot": _patched((Doors, "_place", lambda self: self.me.host.name)),
    "the start of a process": _patched((Doors, "_read_start", lambda self, pid: "")),
    "the age of a heartbeat": _patched((State, "fresh", property(lambda self: self.name == "running"))),
    "a heartbeat": _patched((State, "fresh", property(lambda self: False))),
    "a heartbeat of the future": _patched(
        (State, "fresh", property(lambda self: self.name == "running" and _ahead(self)))
    ),
    "the look before the first step": _patched((run, "lost", _first_look)),
    "leaving where another has signed": _patched((run, "lost", lambda place: False)),
    "breaking a stale lock": _patched((folder, "break_stale", lambda lock, age: False)),
    "the results folder is not made again": _with_parents,
    "no failure is written into another's run": _patched((RunDir, "leave", _leave), (worker, "give_up", _give_up)),
    "drafts have names of their own": _patched((holder.Holder, "mark", property(_without_token))),
    "drafts of other hosts stay": _patched((files, "list_drafts", lambda place, old: [*place.glob(".*.tmp")])),
}


def _ahead(state: State) -> bool:
    return states.time.time() - (state.heartbeat or 0.0) < states.STALE


SHOWN = {
    "the lock": Shown(21, "flock", (), 1, "at once"),
    "the token": Shown(249, "soft", ("stale",), 1, "at once"),
    "the boot": Shown(2, "apart", (), 2, "at once"),
    "the start of a process": Shown(5, "soft", ("sweep",), 1, "still waits"),
    "the age of a heartbeat": Shown(1, "apart", ("host",), 2, "still waits"),
    "a heartbeat": Shown(2, "apart", (), 2, "at once"),
    "a heartbeat of the future": Shown(0, "apart", ("future",), 2, "still waits"),
    "the look before the first step": Shown(2, "apart", (), 2, "at once"),
    "leaving where another has signed": Shown(28, "apart", ("asleep",), 2, "at once"),
    "breaking a stale lock": Shown(1, "soft", ("host",), 2, "still waits"),
    "the results folder is not made again": Shown(6, "flock", ("away",), 1, "made again"),
    "no failure is written into another's run": Shown(53, "apart", ("asleep", "asleep"), 2, "a run failed"),
    "drafts have names of their own": Shown(149, "apart", (), 2, "half of a state"),
    "drafts of other hosts stay": Shown(259, "apart", (), 2, "a run failed"),
}
