"""Many runs: what commands take on thousands that are finished, and what a sweep of hundreds leaves in its parent."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import processes
from generated import Run, lay
from processes import KEYS, Sweep

from degrade.spec import NetSpec, RunSpec

LIMITS = {"status": 2.0, "plot": 10.0, "compare": 10.0}  # seconds, on 2,000 runs
NETS = (("plain", "none"), ("residual", "A"), ("residual", "B"), ("residual", "C"))
DEPTHS = (20, 32, 44, 56, 110)
POINTS = 20
TINY = [
    *KEYS[:-2],
    "net=plain",
    "depth=8",
    "recipe.iterations=2",
    "recipe.eval_every=2",
    "data.test_limit=20",
    "jobs=2",
]
GROWTH = 8.0  # MB that a parent may grow by from a fifth of its runs on: the table of the runs


def finished(root: Path, count: int) -> None:
    """So many finished runs of four nets and five depths, made through the store."""
    falling = [60.0 * 0.9**i for i in range(POINTS)]
    errors = dict.fromkeys(("train", "train_clean", "test"), falling)
    each = count // (len(NETS) * len(DEPTHS))
    specs = (
        RunSpec(net=NetSpec(net=net, shortcut=shortcut, depth=depth), seed=seed)
        for net, shortcut in NETS
        for depth in DEPTHS
        for seed in range(each)
    )
    lay((Run(spec, errors) for spec in specs), root)


def seconds(command: str, root: Path) -> float:
    """What a command takes, from its start to its end. Raises CalledProcessError where it fails."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "degrade", command, str(root)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


class Held(NamedTuple):
    """What a process holds."""

    megabytes: float
    files: int


def held(pid: int) -> Held:
    """Raises OSError once the process is gone."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Held(pages * 4096 / 1e6, len(list(Path(f"/proc/{pid}/fd").iterdir())))


def of_parent(root: Path, count: int) -> tuple[Held, Held]:
    """What the parent of a sweep of `count` tiny runs holds after a fifth of them, and at the end."""
    root.mkdir(parents=True)
    sweep = processes.begin(root, *TINY, f"seed={','.join(map(str, range(count)))}")
    first = watched(sweep, root, count // 5)
    last = watched(sweep, root, count)
    if code := sweep.wait():
        raise RuntimeError(f"the sweep ended with {code}: {(root / 'output').read_text()[-500:]}")
    return first, last


def watched(sweep: Sweep, root: Path, until: int) -> Held:
    """The last that was seen before so many runs were over."""
    seen = held(sweep.pid)
    while sweep.poll() is None and len(list(root.glob("runs/*/curve.parquet"))) < until:
        with contextlib.suppress(OSError, IndexError):
            seen = held(sweep.pid)
        time.sleep(0.05)
    return seen
