"""What state.json of a run says, and whether the process that wrote it lives."""

import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

FINISHED = "finished"
STALE = 120.0  # seconds without a heartbeat after which a process is taken for dead; one is due every 10 at most
OVER = (FINISHED, "diverged")  # results: never trained again
CONSTRUCTED = "constructed"  # holds a constructed net and has done no step
WORDS = ("state", "outcome", "reason", "host", "run", "backend")  # of state.json
WHOLE = {"iteration": (0, 2**63), "iterations": (1, 2**63), "pid": (1, 2**31)}
SURROGATE = re.compile("[\ud800-\udfff]")
NUMBERS = ("epoch", "lr", "seconds", "images_per_second", "heartbeat")


def fault_of(state: Mapping[str, Any]) -> str:
    """What no degrade would have written, since others may have; "" where all is possible."""
    needed = {"running": ("heartbeat", "pid"), "failed": ("reason",)}.get(str(state.get("state")), ())
    wrong = [key for key in [*state, *needed] if not possible(key, state.get(key))]
    return f"{wrong[0]} cannot be {state.get(wrong[0])!r}" if wrong else ""


def possible(key: str, value: Any) -> bool:
    """Whether a value of state.json is of the kind that degrade writes: others may have written it."""
    if key in WORDS:
        return isinstance(value, str) and not SURROGATE.search(value)  # which no table can hold
    if key in WHOLE:
        least, end = WHOLE[key]
        return type(value) is int and least <= value < end
    if key in NUMBERS or key.endswith("_error"):
        return isinstance(value, (int, float)) and (key not in NUMBERS or -1e40 < value < 1e40)
    return True


def fresh(state: Mapping[str, Any]) -> bool:
    """Whether a process gives signs of life; its number alone is none, since numbers are used again.

    One of the future, beyond what clocks may differ by, is of a clock that was wrong.
    """
    return state["state"] == "running" and abs(time.time() - state["heartbeat"]) < STALE


def elsewhere(state: Mapping[str, Any]) -> bool:
    """Whether a process on another host trains the run, by its last sign of life."""
    return state.get("host") != socket.gethostname() and fresh(state)


def alive(state: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a state is there, by its sign of life or, on this host, its number."""
    if state.get("host") != socket.gethostname():
        return elsewhere(state)
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def far(state: Mapping[str, Any]) -> tuple[int, bool]:
    """Orders the states of one run in several places, the furthest last."""
    return state.get("iteration", 0), state["state"] in OVER
