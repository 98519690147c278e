"""What state.json of a run says, and whether the process that wrote it lives."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from degrade.spec.escape import SURROGATE
from degrade.spec.rows import SPLITS
from degrade.spec.rules import LIMIT

FINISHED = "finished"
STALE = 120.0  # seconds without a heartbeat after which a process is taken for dead; one is due every 10 at most
OVER = (FINISHED, "diverged")  # results: never trained again
CONSTRUCTED = "constructed"  # holds a constructed net and has done no step
WORDS = ("state", "outcome", "reason", "host", "run", "backend")  # of state.json
WHOLE = {"iteration": (0, LIMIT), "iterations": (1, LIMIT), "pid": (1, 2**31)}
NEEDED = {"running": ("heartbeat", "pid"), "failed": ("reason",), "damaged": ("reason",)}  # by a state
NUMBERS = ("epoch", "lr", "seconds", "images_per_second", "heartbeat")
ERRORS = tuple(f"{split}_error" for split in SPLITS)  # %, at the last point
KEPT = (*WORDS, *WHOLE, *NUMBERS, *ERRORS, "format", "warmup", "warmup_until")  # all that degrade writes


def fault_of(state: Mapping[str, Any]) -> str:
    """What no degrade would have written, since others may have; "" where all is possible."""
    needed = NEEDED.get(str(state.get("state")), ())
    wrong = [key for key in [*state, *needed] if not possible(key, state.get(key))]
    if not wrong and state.get("iteration", 0) > state.get("iterations", LIMIT):
        return f"iteration cannot be {state['iteration']} of {state['iterations']} iterations"
    return f"{wrong[0]} cannot be {state.get(wrong[0])!r}" if wrong else ""


def possible(key: str, value: Any) -> bool:
    """Whether a value of state.json is of the kind that degrade writes: others may have written it."""
    if key in WORDS:
        return isinstance(value, str) and not SURROGATE.search(value)  # which no table can hold
    if key in WHOLE:
        least, end = WHOLE[key]
        return type(value) is int and least <= value < end
    if key in NUMBERS:
        return isinstance(value, (int, float)) and -1e40 < value < 1e40
    return key not in ERRORS or (isinstance(value, (int, float)) and 0 <= value <= 100)


def kept(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a table may hold of a state: nothing that degrade does not write."""
    return {key: value for key, value in state.items() if key in KEPT}


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
