"""What may be removed from a results folder: failed runs, old runs, folders without a run."""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from degrade.errors import NewerError, RunError
from degrade.store.folder import RunDir


@dataclass(frozen=True)
class Waste:
    """A folder under runs/ and the reason to remove it."""

    folder: RunDir
    why: str
    state: str


def waste(root: Path, *, failed: bool, orphaned: bool, days: float | None) -> list[Waste]:
    """The folders that may be removed: failed runs, folders without a run, runs older than `days`.

    A run that a process holds is never among them. Raises RunError if there is no runs/ folder, or it is a link.
    """
    if not (root / "runs").is_dir():
        raise RunError(f"{root}: has no runs/ folder; name a results folder")
    if (root / "runs").is_symlink():
        raise RunError(f"{root}: its runs/ is a link, and nothing is removed elsewhere; name the folder it leads to")
    there = [
        (folder, _find_reason(folder, failed, orphaned, days), folder.standing().name) for folder in _list_folders(root)
    ]
    return [Waste(folder, why, state) for folder, why, state in there if why and state != "running"]


def _list_folders(root: Path) -> list[RunDir]:
    paths = sorted((root / "runs").iterdir())
    return [RunDir(root, path.name) for path in paths if path.is_dir() and not path.is_symlink()]


def _find_reason(folder: RunDir, failed: bool, orphaned: bool, days: float | None) -> str:
    """Why a folder may be removed; empty: it stays."""
    if not folder.holds_run:
        return "no run: it has no spec.json, state.json, curve or checkpoint" if orphaned else ""
    state = folder.standing()
    if failed and state.broken and not _may_be_result(folder):
        return f"{state.name}: {state.reason}"
    since = folder.path.stat().st_mtime if state.heartbeat is None else state.heartbeat
    age = (time.time() - since) / 86_400
    return f"{state.name}, {age:.0f} days old" if days is not None and age > days else ""


def _may_be_result(folder: RunDir) -> bool:
    """Whether a run that cannot be read is, or may be, a result.

    It is one if a newer degrade wrote it, or if it is over and only its curve is damaged. It may be one if its state is
    damaged or gone, and it has a curve or a checkpoint to make the curve from.
    """
    try:
        state = folder.try_read_state()
    except NewerError:
        return True
    there = any(path.exists() for path in (folder.curve, *folder.checkpoints))
    return state.over or (state.name in ("damaged", "new") and there)


def remove(found: list[Waste]) -> int:
    """Removes each folder whose state is still the same and that no process holds now; returns how many."""
    gone = 0
    for each in found:
        with suppress(RunError), each.folder.claimed() as mine:
            if mine and each.folder.standing().name == each.state:
                shutil.rmtree(each.folder.path)
                gone += 1
    return gone
