"""Do the files of stored runs hold what they held, and belong together? Reads all of them, and writes nothing.

A look at a run (RunDir.standing) checks what tables and figures rest on. This reads every byte and compares every file
with every other: checksums, names, moments, the curve with the checkpoint it can be made from. `deep` evaluates the net
once more, and compares with the last point of its curve.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from degrade.data import quiet
from degrade.data.images import Note
from degrade.errors import DegradeError, RunError
from degrade.experiments.evaluate import evaluate
from degrade.experiments.trained import open_net
from degrade.spec import RunSpec
from degrade.spec.rows import Point
from degrade.store import parquet
from degrade.store.belonging import ASIDE, check_checkpoint
from degrade.store.files import read
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES, TABLES
from degrade.store.results import run_dirs
from degrade.store.state import State
from degrade.train.checkpoint import parse_rows, unpack

_LOSS = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}  # relative; another number of threads adds in another order
_IMAGES = 2e-3  # the share of images that rounding may judge otherwise
SPLITS = {"train_clean": "train", "test": "test", "val": "val"}  # of a curve -> of the pictures


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of one run."""

    run: str
    path: str  # of its folder
    state: str
    files: int  # that were read
    problems: tuple[str, ...]  # each names a file; empty: all is right
    notes: tuple[str, ...] = ()  # what could not be checked, and what is left over


def verify(roots: Iterable[Path], *, deep: bool = False, note: Note = quiet) -> list[Verified]:
    """Verifies all runs under results folders, and their reruns. `deep` evaluates their nets on their own pictures.

    Raises RunError for a folder that is not there.
    """
    folders = [folder for root in roots for place in _list_places(root) for folder in run_dirs(place)]
    found: list[Verified] = []
    for done, folder in enumerate(folders):
        note("verify", done, len(folders))
        found.append(_verify_run(folder, deep))
    return found


def _list_places(root: Path) -> list[Path]:
    """A results folder and the results folders of its reruns."""
    return [root, *sorted(path for path in (root / "reruns").glob("*") if (path / "runs").is_dir())]


def _verify_run(folder: RunDir, deep: bool) -> Verified:
    state, problems = folder.standing(), list[str]()
    if state.name == "damaged" and state.reason:
        problems.append(state.reason)
    spec = _collect(problems, folder.read_spec)
    for path in (folder.state, folder.environment):
        _collect(problems, folder.read, path)
    curve = _verify_tables(folder, state, problems)
    for path in sorted(folder.path.glob("checkpoint*.pt")):
        _collect(problems, _verify_checkpoint, folder, path, state, spec, curve)
    notes = [f"{path.name} is left over" for path in _list_leftovers(folder)]
    if deep and spec is not None and state.over and not problems:
        _verify_net(folder, curve, problems, notes)
    files = sum(path.is_file() for path in folder.path.iterdir())
    return Verified(
        run=folder.run,
        path=str(folder.path),
        state=state.name,
        files=files,
        problems=tuple(dict.fromkeys(problems)),
        notes=tuple(notes),
    )


def _collect(problems: list[str], check: Any, *given: Any) -> Any:
    """What a check returns; None where it raised, and then its line is among the problems."""
    try:
        return check(*given)
    except DegradeError as error:
        problems.append(str(error))
        return None


def _list_leftovers(folder: RunDir) -> list[Path]:
    """Files that no run reads: half-written, damaged, or of another run."""
    kept = (ASIDE, ".damaged", ".tmp")
    return sorted(path for path in folder.path.iterdir() if path.name.endswith(kept))


def _verify_tables(folder: RunDir, state: State, problems: list[str]) -> list[dict[str, Any]]:
    """Reads curve and tables; returns the rows of the curve."""
    curve: list[dict[str, Any]] = []
    for path, schema in ((folder.curve, CURVES), *((folder.tables[name], TABLES[name]) for name in TABLES)):
        table = _collect(problems, parquet.read, path, schema) if path.exists() else None
        rows = [] if table is None else table.to_pylist()
        if others := {row["run"] for row in rows} - {folder.run}:
            problems.append(f"{path}: holds rows of another run, {min(others)}")
        if path == folder.curve:
            curve = rows
        if table is not None and path == folder.tables["probe"] and state.over:
            _collect(problems, _check_probe, path, [row["iteration"] for row in rows], state.iteration or 0)
    if state.over and curve:
        _collect(problems, _check_errors, folder, state, curve)
    return curve


def _check_errors(folder: RunDir, state: State, curve: list[dict[str, Any]]) -> None:
    """Raises RunError if the errors in the state are not those of the last point."""
    last = max(row["iteration"] for row in curve)
    for row in (row for row in curve if row["iteration"] == last):
        said = getattr(state, f"{row['split']}_error")
        if said is not None and said != row["error"]:
            place = f"{folder.state}: {row['split']}_error is {said}"
            raise RunError(f"{place}, but the curve ends at {row['error']}; one of the two is of another training")


def _check_probe(path: Path, iterations: list[int], end: int) -> None:
    """Raises RunError if a probe does not reach from the first step to the last in equal strides."""
    seen = sorted({*iterations})
    stride = seen[1] if len(seen) > 1 else end
    if seen != list(range(0, end, max(1, stride))):
        said = f"its probes are of iterations {seen[0]:,} to {seen[-1]:,} of {end:,}" if seen else "it has no rows"
        raise RunError(f"{path}: is a part of a probe; {said}; move it away, and `--reprobe` makes it again")


def _verify_checkpoint(
    folder: RunDir, path: Path, state: State, spec: RunSpec | None, curve: list[dict[str, Any]]
) -> None:
    """Raises RunError if a checkpoint is damaged, of another run or moment, or holds other points than the curve."""
    try:
        content = unpack(read(path))
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    if content.get("run") != folder.run:
        raise RunError(f"{path}: is a checkpoint of another run, {content.get('run')}")
    if spec is None or path != folder.checkpoint or not state.over:
        return
    check_checkpoint(folder, state)
    points = parse_rows(Point, content.get("points"), "points")
    held = parquet.table(spec.labels(), points, CURVES).to_pylist()
    names = [name for name in CURVES.columns if name in Point.__dataclass_fields__]
    if [_pick(row, names) for row in held] != [_pick(row, names) for row in curve]:
        raise RunError(f"{path}: holds another curve than {folder.curve.name}")


def _pick(row: dict[str, Any], names: list[str]) -> list[Any]:
    """The values of a row; a NaN equals itself there."""
    values = (row[name] for name in names)
    return ["nan" if isinstance(value, float) and math.isnan(value) else value for value in values]


def _verify_net(folder: RunDir, curve: list[dict[str, Any]], problems: list[str], notes: list[str]) -> None:
    """Evaluates the net of the checkpoint, and compares with the last point of the curve."""
    if not folder.checkpoint.exists():
        notes.append("not evaluated: there is no checkpoint")
        return
    last = max(row["iteration"] for row in curve)
    points = {row["split"]: row for row in curve if row["iteration"] == last}
    try:
        trained = open_net(folder.path)
        for split, row in points.items():
            if split in SPLITS and math.isfinite(row["loss"]):
                seen = evaluate(trained, split=SPLITS[split])
                if seen.n == row["n"] and not _is_close(seen.loss, seen.error, row):
                    said = f"loss {seen.loss:.6g} and error {seen.error:.4g} % on {split}"
                    was = f"{row['loss']:.6g} and {row['error']:.4g} %"
                    problems.append(f"{folder.checkpoint}: its net has {said}, but the curve ends at {was}")
    except DegradeError as error:
        notes.append(f"not evaluated: {error}")


def _is_close(loss: float, error: float, row: dict[str, Any]) -> bool:
    """Whether two evaluations of one net differ by rounding alone."""
    near = abs(loss - row["loss"]) <= _LOSS[row["precision"]] * max(abs(row["loss"]), 1e-3)
    return near and abs(error - row["error"]) <= 100 * max(_IMAGES, 1.5 / row["n"])
