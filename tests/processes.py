"""Sweeps in processes of their own, as a user starts them, and what is in their folders."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from degrade import parquet
from degrade.parquet import CURVES
from degrade.point import TIMINGS
from degrade.train.checkpoint import unpack

DEGRADE = (sys.executable, "-m", "degrade")
PATIENCE = 60.0  # seconds until something that takes a few is called missing
Sweep = subprocess.Popen[bytes]
Result = tuple[str, dict[str, bytes]]  # the rows of a curve, timings aside, and the tensors of the net

KEYS = ["data=digits", "recipe=smoke", "data.train_limit=100", "width=4", "net=plain,residual", "shortcut=A"]


def begin(root: Path, *keys: str, program: Sequence[str] = DEGRADE, more: Mapping[str, str] | None = None) -> Sweep:
    """A sweep in a session of its own; what it prints goes to root/output. `more`: of its environment."""
    command = [*program, "sweep", *keys, f"results={root}"]
    with (root / "output").open("ab") as output:
        there = {**os.environ, **(more or {})}
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=there)


def states(root: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in (root / "runs").glob("*/state.json")}


def until(ready: Callable[[], object], sweep: Sweep | None = None, pause: float = 0.02) -> None:
    """Waits; raises AssertionError where nothing happens, or the sweep ends first."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "nothing happened"
        assert sweep is None or sweep.poll() is None, "the sweep ended early"
        time.sleep(pause)


def results(root: Path) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for folder in (root / "runs").iterdir():
        curve = parquet.read(folder / "curve.parquet", CURVES).drop_columns(list(TIMINGS)).to_pydict()
        net = unpack((folder / "checkpoint.pt").read_bytes())["net"]
        found[folder.name] = repr(curve), {name: value.numpy().tobytes() for name, value in net.items()}
    return found


def children(pid: int) -> list[int]:
    """The worker processes of a sweep; multiprocessing's resource tracker is none."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in tasks.read_text().split()] if tasks.exists() else []
    return [child for child in found if b"spawn_main" in cmdline(child)]


def cmdline(pid: int) -> bytes:
    """What a process was started with; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
