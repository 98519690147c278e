"""What a run leaves in its folder while it is trained, and what it goes on from."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from degrade import data
from degrade.errors import NewerError, RunError
from degrade.spec import RunSpec
from degrade.spec.rows import Point
from degrade.store import parquet
from degrade.store.files import read
from degrade.store.folder import RunDir
from degrade.store.parquet import AGAIN
from degrade.store.state import State
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit


def sound(folder: RunDir) -> bool:
    """Whether what a sweep could mend in a run that is over needs no mending. Raises NewerError: that is no damage."""
    try:
        folder.check()
    except NewerError:
        raise
    except RunError as error:
        print(error, flush=True)
        return False
    return True


def damaged_tables(folder: RunDir) -> list[Path]:
    """Of curve and probe, those that are there and cannot be read."""
    return [path for path in (folder.curve, folder.tables["probe"]) if path.exists() and not _readable(path)]


def _readable(path: Path) -> bool:
    try:
        parquet.check(path)
    except RunError:
        return False
    return True


def ended(spec: RunSpec, folder: RunDir) -> bool:
    """Whether a run has come to its last iteration or diverged, as far as its curve tells."""
    try:
        rows = parquet.read(folder.curve, parquet.CURVES).to_pydict() if folder.curve.exists() else {}
    except RunError:
        return False  # nobody knows
    lost = not all(map(math.isfinite, rows.get("loss", [])))  # it diverged
    return lost or max(rows.get("iteration", []), default=0) >= spec.recipe.iterations


def _find_harm(folder: RunDir) -> str:
    """What is wrong with the files of a run, that of them which says how it stands first."""
    said: list[str] = []
    try:
        said += [] if folder.read_state().name != "new" else [f"{folder.state}: is not there"]
    except RunError as error:
        said.append(str(error))
    try:
        folder.check()
    except RunError as error:
        said.append(str(error))
    return "; ".join(dict.fromkeys(text.removesuffix(f"; {AGAIN}") for text in said))


def demand_probe(folder: RunDir) -> None:
    """Raises RunError where a damaged probe is left: of a rerun, and no checkpoint holds what was in it."""
    probe = folder.tables["probe"]
    if damaged_tables(folder) == [probe]:
        way_out = "move it away, and `degrade sweep ... engine.probe=N --reprobe` makes it again"
        raise RunError(f"{probe}: is damaged, and no checkpoint holds what was in it; {way_out}")


def lost(folder: RunDir) -> bool:
    """Whether another host has taken the run over: it came first, or this process was stopped for longer than a sign
    of life lasts. Of two that begin at once the one that signed last stays.
    """
    if taken := folder.try_read_state().elsewhere:
        print(f"{folder.path}: left to another host, which trains it", flush=True)
    return taken


def restore_end(spec: RunSpec, folder: RunDir, stop: Callable[[], bool]) -> Fit:
    """A run that is, or may have been, over, out of its checkpoint; trains nothing.

    Raises RunError where no checkpoint holds the end: what is lost to train it anew is for the user to decide.
    """
    why, anew = _find_harm(folder), f"move {folder.path} away to train it anew"
    if not any(path.exists() for path in folder.checkpoints):
        raise RunError(f"{why}; there is no checkpoint: {anew}")
    fit = Fit(spec, data.load(spec.data), stop=stop)
    resume(fit, folder, anew)
    if not fit.done:
        on = "" if folder.try_read_state().over else f"remove {folder.curve.name} to go on from there, or "
        raise RunError(f"{why}; its last good checkpoint is of iteration {fit.iteration:,}: {on}{anew}")
    return fit


def resume(fit: Fit, folder: RunDir, anew: str = "remove what is damaged to train the run anew") -> None:
    """Goes on from the last good checkpoint, of two generations; from the start where there is none.

    Damaged ones are set aside, so that they never take the place of a good one. Raises RunError, with the way out
    `anew`, where there are checkpoints and none is good, or one is of a newer degrade.
    """
    reasons: list[str] = []
    damaged: list[Path] = []
    for path in (path for path in folder.checkpoints if path.exists()):
        try:
            fit.restore(unpack(read(path)))
            _check_sane(fit)
        except NewerError as error:
            raise NewerError(f"{path}: {error}") from None
        except RunError as error:
            damaged.append(path)
            reasons.append(f"{path}: {error}")
            print(reasons[-1], flush=True)
        else:
            for each in damaged:
                each.replace(each.with_name(f"{each.name}.damaged"))
            return
    if reasons:
        raise RunError(f"{'; '.join(reasons)}; {anew}")
    if fit.spec.origin:
        exact = " --exact" if fit.spec.origin.how == "exact" else ""
        again = f"degrade construct --ckpt {fit.spec.origin.run} depth={fit.spec.net.depth}{exact}"
        raise RunError(f"{folder.path}: the constructed net it began with is not there; make it again: {again}")


def _check_sane(fit: Fit) -> None:
    """Raises RunError where what a checkpoint held is nothing that a curve, a probe or a state can say of a run."""
    try:
        for rows, schema in ((fit.points, parquet.CURVES), (fit.probes, parquet.TABLES["probe"])):
            parquet.check_values(parquet.table(fit.spec.labels(), rows, schema), schema)
        State.parse(progress(fit, "interrupted").tree())
    except (ValueError, OverflowError) as error:
        said = str(error).partition("\n")[0]
        raise RunError(f"holds what no run has: {said}") from None


class Saved(NamedTuple):
    """When the last checkpoint was written."""

    iteration: int
    moment: float  # of time.monotonic


def until_save(fit: Fit, saved: Saved) -> int:
    """Steps until a checkpoint is due, counted in iterations or in seconds; 0: now."""
    every = fit.spec.engine.checkpoint_every
    kept = [i - fit.iteration for i in fit.spec.engine.keep_checkpoints if i > fit.iteration]
    if isinstance(every, int):
        return min([*kept, saved.iteration + every - fit.iteration])
    overdue = time.monotonic() - saved.moment >= int(every[:-1]) and fit.iteration > saved.iteration
    return 0 if overdue else min([*kept, sys.maxsize])


def save(fit: Fit, folder: RunDir) -> Saved:
    """Checkpoint first, curve last: a curve that has come to its end is never without what it can be made from."""
    folder.write_checkpoint(pack(fit.state()))
    record(fit, folder)
    return Saved(fit.iteration, time.monotonic())


def record(fit: Fit, folder: RunDir) -> None:
    """All that was measured so far: the curve, and what the probe saw, if there was one."""
    folder.write_curve(fit.spec, fit.points)
    if fit.probes:
        folder.write_table("probe", fit.spec, fit.probes)


def cut_back(fit: Fit, folder: RunDir) -> None:
    """Curve and probe to what was measured before the checkpoint; what a rerun has put beside a finished run stays."""
    record(fit, folder)
    if not fit.probes and not fit.done:
        folder.tables["probe"].unlink(missing_ok=True)


def progress(fit: Fit, name: str, *, outcome: str | None = None, reason: str | None = None) -> State:
    """How far a run is, as a state of that name. An outcome or a reason that is None stays what it was."""
    recipe, last = fit.spec.recipe, fit.points[-1] if fit.points else None
    errors: dict[str, Any] = {f"{p.split}_error": p.error for p in _latest_points(fit.points)}
    return State(
        name,
        outcome=outcome,
        reason=reason,
        iteration=fit.iteration,
        iterations=recipe.iterations,
        backend=fit.backend_name,
        epoch=fit.iteration * recipe.batch / len(fit.train),
        lr=fit.lr,
        seconds=fit.seconds,
        warmup=fit.warmup.why if fit.warmup.until is not None else "on",
        warmup_until=fit.warmup.until,
        images_per_second=last.images_per_second if last else 0.0,
        **errors,
    )


def _latest_points(points: list[Point]) -> list[Point]:
    """The points of the last measured iteration."""
    return [p for p in points if p.iteration == points[-1].iteration]
