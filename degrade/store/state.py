"""Where a run stands: what its state.json says, and whether the process that wrote it lives."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from degrade.spec.escape import SURROGATE
from degrade.spec.rows import LARGE
from degrade.spec.rules import LIMIT

BEAT = 1.0  # seconds between two looks that others may have at a run under way
LIFE = 10.0  # seconds between two signs of life in any case
STALE = 120.0  # seconds without a sign of life after which a process is taken for dead
FINISHED = "finished"
OVER = (FINISHED, "diverged")  # results: never trained again
BROKEN = ("failed", "damaged")  # ended without a result
CONSTRUCTED = "constructed"  # holds a constructed net and has done no step
_NEEDED = {"running": ("heartbeat", "pid"), "failed": ("reason",), "damaged": ("reason",)}  # by a state
_WORDS = ("state", "outcome", "reason", "host", "backend")
_NUMBERS = ("epoch", "lr", "seconds", "images_per_second", "heartbeat")
_WHOLE = {"iteration": (0, LIMIT), "iterations": (1, LIMIT), "pid": (1, 2**31)}


@dataclass(frozen=True, kw_only=True)
class State:
    """What state.json says. None: it does not say."""

    name: str = field(default="new", kw_only=False)  # new, running, interrupted, failed, finished, ...: `state` on disk
    format: int | None = None  # of the file
    host: str | None = None
    pid: int | None = None
    heartbeat: float | None = None  # the last sign of life, in seconds since 1970
    outcome: str | None = None  # "", diverged or not started
    reason: str | None = None  # why it failed; "" where it did not
    iteration: int | None = None  # SGD steps done
    iterations: int | None = None  # of the whole schedule
    backend: str | None = None
    epoch: float | None = None
    lr: float | None = None
    seconds: float | None = None  # of training and evaluation so far
    warmup: str | None = None  # on | none | why it ended
    warmup_until: int | None = None  # the iteration at which it ended
    images_per_second: float | None = None
    train_error: float | None = None  # %, at the last point; so are the next three
    train_clean_error: float | None = None
    test_error: float | None = None
    val_error: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])  # keys of another degrade: kept as they are

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """From the values of state.json; none: a new run. Raises ValueError for what no degrade would have written."""
        for key in [*(key for key in tree if key in _FIELDS), *_NEEDED.get(str(tree.get("state")), ())]:
            if not _possible(key, tree.get(key)):
                raise ValueError(f"{key} cannot be {tree.get(key)!r}")
        known = {name: tree[key] for key, name in _FIELDS.items() if key in tree}
        found = cls(**known, more={key: value for key, value in tree.items() if key not in _FIELDS})
        if found.iteration is not None and found.iteration > (found.iterations or LIMIT):
            raise ValueError(f"iteration cannot be {found.iteration} of {found.iterations} iterations")
        return found

    def tree(self) -> dict[str, Any]:
        """All that it says, by the keys of state.json."""
        values = {key: getattr(self, name) for key, name in _FIELDS.items()}
        ended = {"warmup_until"} if self.warmup is not None else set[str]()  # null: the warm-up has not ended
        return {key: value for key, value in values.items() if value is not None or key in ended} | {**self.more}

    def kept(self) -> dict[str, Any]:
        """What a table holds of it: nothing that degrade does not write."""
        return {key: value for key, value in self.tree().items() if key in _FIELDS}

    @property
    def over(self) -> bool:
        """Whether the run has a result."""
        return self.name in OVER

    @property
    def broken(self) -> bool:
        """Whether the run ended without a result."""
        return self.name in BROKEN

    @property
    def share(self) -> float:
        """How much of the schedule is done, from 0 to 1."""
        return 0.0 if self.iteration is None or self.iterations is None else self.iteration / self.iterations

    @property
    def left(self) -> float:
        """Seconds to the end, at the pace so far."""
        done, whole = self.iteration or 0, self.iterations or 0
        return (self.seconds or 0.0) * (whole - done) / max(1, done)

    @property
    def far(self) -> tuple[int, bool]:
        """Orders the states of one run in several places, the furthest last."""
        return self.iteration or 0, self.over

    @property
    def fresh(self) -> bool:
        """Whether a process gives signs of life; its number alone is none, since numbers are used again.

        A sign of the future, beyond what clocks may differ by, is of a clock that was wrong.
        """
        return self.name == "running" and abs(time.time() - (self.heartbeat or 0.0)) < STALE

    @property
    def elsewhere(self) -> bool:
        """Whether a process on another host trains the run, by its last sign of life."""
        return self.host != socket.gethostname() and self.fresh

    @property
    def alive(self) -> bool:
        """Whether the process that wrote the state is there: by its sign of life or, on this host, its number."""
        if self.host != socket.gethostname():
            return self.elsewhere
        try:
            os.kill(self.pid or 0, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # somebody else's
        return True


Board = dict[str, State]  # run -> where it stands
_FIELDS = {  # key of state.json -> field, in the order of the file
    "format": "format",
    "state": "name",
    **{each.name: each.name for each in fields(State) if each.name not in ("name", "format", "more")},
}


def _possible(key: str, value: Any) -> bool:
    """Whether a value of state.json is of the kind that degrade writes: others may have written it."""
    if key in _WORDS:
        return isinstance(value, str) and not SURROGATE.search(value)  # which no table can hold
    if key in _WHOLE:
        least, end = _WHOLE[key]
        return type(value) is int and least <= value < end
    if key in _NUMBERS:
        return isinstance(value, (int, float)) and -LARGE < value < LARGE
    if key in ("warmup", "warmup_until"):
        return value is None or type(value) is (str if key == "warmup" else int)
    return not key.endswith("_error") or (isinstance(value, (int, float)) and 0 <= value <= 100)
