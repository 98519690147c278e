"""Where a run stands: what its state.json says, and whether the process that wrote it is alive."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from degrade.spec.escape import SURROGATE
from degrade.spec.rows import LARGE
from degrade.spec.rules import LIMIT
from degrade.store.holder import Holder, this_process
from degrade.store.holder import parse as parse_holder

BEAT = 1.0  # seconds between two writes of the state of a run under way, for others to look at
LIFE = 10.0  # seconds between two signs of life in any case
STALE = 120.0  # seconds without a sign of life after which a process counts as dead
FINISHED = "finished"
OVER = (FINISHED, "diverged")  # states with a result: never trained again
BROKEN = ("failed", "damaged")  # states of runs that ended without a result
CONSTRUCTED = "constructed"  # the run holds a constructed net and has done no step
ONE, MIXED, UNKNOWN = "one", "mixed", "unknown"  # machines that computed the steps of a run
UNMARKED_LAYOUT = "channels_last"  # of runs that name no layout: 0.1.0 had only this one (degrade.train.layout)
_REQUIRED_KEYS = {
    "running": ("heartbeat", "pid"),
    "failed": ("reason",),
    "damaged": ("reason",),
}  # state -> keys it must have
_TEXT_KEYS = ("state", "run", "outcome", "reason", "host", "backend", "layout", "machine", "computed_by", "holder")
_NUMBER_KEYS = ("epoch", "lr", "seconds", "images_per_second", "heartbeat")
_INTEGER_BOUNDS = {"iteration": (0, LIMIT), "iterations": (1, LIMIT), "pid": (1, 2**31)}


@dataclass(frozen=True, kw_only=True)
class State:
    """What state.json says. None: the file does not have the key."""

    name: str = field(
        default="new", kw_only=False
    )  # new, running, interrupted, failed, finished, ...; key `state` in the file
    format: int | None = None  # of the file
    run: str | None = None  # name of the run; files of an older degrade do not say it
    host: str | None = None
    pid: int | None = None
    holder: str | None = None  # the process that wrote this (degrade.store.holder); older files name host and pid alone
    heartbeat: float | None = None  # the last sign of life, in seconds since 1970
    outcome: str | None = None  # "", diverged or not started
    reason: str | None = None  # why the run failed; "" if it did not
    iteration: int | None = None  # SGD steps done
    iterations: int | None = None  # of the whole schedule
    backend: str | None = None
    layout: str | None = None  # of tensors in training (degrade.train.layout)
    machine: str | None = None  # one | mixed | unknown: what computed all steps (degrade.train.processor)
    computed_by: str | None = None  # processor, torch and kernels, by iteration
    epoch: float | None = None
    lr: float | None = None
    seconds: float | None = None  # of training and evaluation so far
    warmup: str | None = None  # on | none | why the warm-up ended
    warmup_until: int | None = None  # the iteration at which the warm-up ended
    images_per_second: float | None = None
    train_error: float | None = None  # %, at the last point; likewise the next three
    train_clean_error: float | None = None
    test_error: float | None = None
    val_error: float | None = None
    seals: Mapping[str, str] | None = None  # of a run that is over: name of a file -> the checksum that it holds
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])  # keys of another degrade; they stay as they are

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """A State from the values of state.json. No values: a new run.

        Raises ValueError for a value that no degrade would have written.
        """
        for key in [*(key for key in tree if key in _FIELDS), *_REQUIRED_KEYS.get(str(tree.get("state")), ())]:
            if not _is_possible(key, tree.get(key)):
                raise ValueError(f"{key} cannot be {tree.get(key)!r}")
        known = {name: tree[key] for key, name in _FIELDS.items() if key in tree}
        state = cls(**known, more={key: value for key, value in tree.items() if key not in _FIELDS})
        if state.iteration is not None and state.iteration > (state.iterations or LIMIT):
            raise ValueError(f"iteration cannot be {state.iteration} of {state.iterations} iterations")
        return state

    def tree(self) -> dict[str, Any]:
        """All values, by the keys of state.json."""
        values = {key: getattr(self, name) for key, name in _FIELDS.items()}
        nullable = {"warmup_until"} if self.warmup is not None else set[str]()  # null: the warm-up has not ended
        return {key: value for key, value in values.items() if value is not None or key in nullable} | {**self.more}

    def known_tree(self) -> dict[str, Any]:
        """As `tree`, for tables: without checksums and the keys of another degrade."""
        return {key: value for key, value in self.tree().items() if key in _FIELDS and key != "seals"}

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
        """The share of the schedule that is done, from 0 to 1."""
        return 0.0 if self.iteration is None or self.iterations is None else self.iteration / self.iterations

    @property
    def left(self) -> float:
        """Seconds to the end, at the pace so far."""
        done, whole = self.iteration or 0, self.iterations or 0
        return (self.seconds or 0.0) * (whole - done) / max(1, done)

    @property
    def progress(self) -> tuple[int, bool]:
        """Orders the states of one run in several places: the furthest is the greatest."""
        return self.iteration or 0, self.over

    @property
    def fresh(self) -> bool:
        """Whether a process gives signs of life. Its number alone is no sign, since numbers are used again.

        A sign from further in the future than STALE comes from a wrong clock and does not count.
        """
        return self.name == "running" and abs(time.time() - (self.heartbeat or 0.0)) < STALE

    @property
    def elsewhere(self) -> bool:
        """Whether a process that this one cannot see trains the run, by its last sign of life."""
        return not self._is_here and self.fresh

    @property
    def others(self) -> bool:
        """Whether another process than this one trains the run, here or elsewhere, or has brought it to its end.

        The token tells the processes apart. A host that slept may find that the run is over.
        """
        holder = parse_holder(self.holder or "")
        if holder is None or not (self.over or self.name == "running"):
            return self.elsewhere
        return holder.token != this_process().token and (self.over or self.alive)

    @property
    def alive(self) -> bool:
        """Whether the process that wrote the state is alive: by its number and start where both are seen from here,
        else by its sign of life.

        A number alone proves nothing: after a sign of life that is old, it may be another process's.
        """
        if not self._is_here:
            return self.fresh
        holder = parse_holder(self.holder or "")
        if holder is not None:
            return holder.alive
        return self.fresh and Holder("", self.pid or 0, "", "").alive

    @property
    def _is_here(self) -> bool:
        """Whether the numbers of processes in the state mean the same here."""
        holder = parse_holder(self.holder or "")
        return holder.here if holder is not None else self.host == socket.gethostname()


Board = dict[str, State]  # run -> its state
_FIELDS = {  # key of state.json -> field, in the order of the file
    "format": "format",
    "state": "name",
    **{each.name: each.name for each in fields(State) if each.name not in ("name", "format", "more")},
}


def _is_possible(key: str, value: Any) -> bool:
    """Whether degrade could have written a value of state.json. Others may have written the file."""
    if key in _TEXT_KEYS:
        return isinstance(value, str) and not SURROGATE.search(value)  # no table can hold half a character
    if key == "seals":
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    if key in _INTEGER_BOUNDS:
        least, end = _INTEGER_BOUNDS[key]
        return type(value) is int and least <= value < end
    if key in _NUMBER_KEYS:
        return isinstance(value, (int, float)) and -LARGE < value < LARGE
    if key in ("warmup", "warmup_until"):
        return value is None or type(value) is (str if key == "warmup" else int)
    return not key.endswith("_error") or (isinstance(value, (int, float)) and 0 <= value <= 100)
