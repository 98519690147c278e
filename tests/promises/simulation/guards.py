"""The guards of the claiming code, each with the schedule in which a promise breaks without it.

`without(name)` takes a guard out of the product, in memory. `SHOWN` has what the simulator then sees, and by which seed.
"""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from promises.simulation.doors import Doors
from promises.simulation.schedule import Plan, draw

from degrade.store import files, folder, holder, locks
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


def _draft_by_number(path: Path, content: Any, *, sync: bool = True, mode: int = 0o666) -> None:
    """`files.write` with the number of the process alone in the name."""
    here = files.this_process()
    named = type("Named", (), {"mark": str(here.pid)})
    with patch.object(files, "this_process", named):
        _WRITE(path, content, sync=sync, mode=mode)


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


_WRITE, _LOST, _LOOKED = files.write, resume.lost, dict[Any, list[bool]]()
_MKDIR = Path.mkdir


def _with_parents() -> contextlib.AbstractContextManager[None]:
    claimed = RunDir.claimed

    @contextlib.contextmanager
    def anew(place: RunDir) -> Generator[bool]:
        place.path.mkdir(parents=True, exist_ok=True)
        with claimed(place) as mine:
            yield mine

    return _patched((RunDir, "claimed", anew))()


without: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "the lock": _patched((Doors, "_lock", lambda self, path: _Free(self, path))),
    "the token": _patched((State, "others", property(_only_elsewhere))),
    "the boot": _patched((Doors, "_place", lambda self: self.me.host.name)),
    "the start of a process": _patched((Doors, "_read_start", lambda self, pid: "")),
    "the age of a heartbeat": _patched((State, "fresh", property(lambda self: self.name == "running"))),
    "a heartbeat": _patched((State, "fresh", property(lambda self: False))),
    "a heartbeat of the future": _patched(
        (State, "fresh", property(lambda self: self.name == "running" and _ahead(self)))
    ),
    "signs of life in a long evaluation": _patched((states, "LIFE", 1e9)),
    "the look before the first step": _patched((run, "lost", _first_look)),
    "leaving where another has signed": _patched((run, "lost", lambda place: False)),
    "breaking a stale lock": _patched((folder, "break_stale", lambda lock, age: False)),
    "breaking a lock only where nobody lives": _patched((State, "alive", property(lambda self: False))),
    "the results folder is not made again": _with_parents,
    "no failure is written into another's run": _patched((RunDir, "leave", _leave), (worker, "give_up", _give_up)),
    "drafts have names of their own": _patched((folder, "write", _draft_by_number)),
    "drafts of other hosts stay": _patched((files, "list_drafts", lambda place, old: [*place.glob(".*.tmp")])),
    "signed before the first file": _patched(),
}
del without["signed before the first file"]


def _ahead(state: State) -> bool:
    return states.time.time() - (state.heartbeat or 0.0) < states.STALE


def find(name: str, plans: Callable[[int], Plan], seeds: range, play: Callable[[Plan], list[str]]) -> str:
    """The first seed that shows a fault without the guard, for the table below."""
    for seed in seeds:
        _LOOKED.clear()
        with without[name]():
            faults = play(plans(seed))
        if faults:
            return f"{name}: seed {seed}: {plans(seed)}: {faults}"
    return f"{name}: nothing"


__all__ = ["Shown", "find", "locks", "without"]
