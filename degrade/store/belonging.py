"""Whether the files of a run belong together. Each may be whole, and of another run or of another moment.

A copy of a sweep under way, a sync client, `git checkout`, or a disk that wrote names out of order mixes such files.
The state of a run that is over holds the checksums of the files it ended with.
"""

from pathlib import Path
from typing import Any

from degrade.errors import RunError, SpecError
from degrade.spec import parse
from degrade.store import files, parquet, seal
from degrade.store.names import RunFiles
from degrade.store.parquet import AGAIN
from degrade.store.state import State

ASIDE = ".misplaced"  # after the name of a file of another run


def seal_files(folder: RunFiles) -> dict[str, str]:
    """Name -> checksum of the files that a run ends with: spec, curve and checkpoint, as far as they are there."""
    there = [path for path in (folder.spec, folder.curve, folder.checkpoint) if path.exists()]
    return {path.name: seal.read_digits(path) for path in there}


def check_curve(folder: RunFiles, state: State) -> None:
    """Raises RunError if the curve is another run's, or not the one that a run that is over ended with.

    The state of an older degrade holds no checksums: there the curve must end where the state says.
    """
    known = (state.seals or {}).get(folder.curve.name)
    if known is not None and known == seal.read_digits(folder.curve):
        return
    runs, last = parquet.read_end(folder.curve)
    if runs - {folder.run}:
        raise RunError(f"{folder.curve}: is the curve of another run, {min(runs - {folder.run})}; {AGAIN}")
    if known is not None or (state.iteration is not None and last != state.iteration):
        said = f"{last:,}" if state.iteration is None else f"{last:,} of {state.iteration:,}"
        raise RunError(f"{folder.curve}: is not the curve the run ended with; it ends at iteration {said}; {AGAIN}")


def check_checkpoint(folder: RunFiles, state: State) -> None:
    """Raises RunError if the checkpoint is not the one that a run that is over ended with. It may have been removed."""
    known = (state.seals or {}).get(folder.checkpoint.name)
    if known is not None and folder.checkpoint.exists() and known != seal.read_digits(folder.checkpoint):
        way_out = "bring the right one back, or move it away and keep the curve alone"
        raise RunError(f"{folder.checkpoint}: is not the checkpoint the run ended with; {way_out}")


def set_strangers_aside(folder: RunFiles) -> None:
    """Renames spec, state and curve, where they are those of another run, and says so. Nothing is lost.

    Raises RunError where no file is of the run that the folder is named after.
    """
    owners = {path: run for path in (folder.spec, folder.state, folder.curve) if (run := _read_owner(path))}
    strangers = {path: run for path, run in owners.items() if run != folder.run}
    if strangers and len(strangers) == len(owners):
        other = min(strangers.values())
        way_out = "give the folder that name, or move it away"
        raise RunError(f"{folder.path}: holds the run {other}, not {folder.run}; {way_out}")
    for path, run in strangers.items():
        path.replace(path.with_name(path.name + ASIDE))
        print(f"{path}: is of another run, {run}; it is {path.name}{ASIDE} now", flush=True)


def _read_owner(path: Path) -> str:
    """The run that a spec, state or curve says it is of; "" where it says none or cannot be read."""
    try:
        if path.suffix == ".parquet":
            return next(iter(parquet.read_end(path)[0]), "")
        values: dict[str, Any] = seal.of_json(files.read(path))
        return parse(values["spec"]).run if "spec" in values else str(values.get("run", ""))
    except (OSError, ValueError, RunError, SpecError, TypeError, AttributeError):
        return ""
