"""What a run saves in its folder while it trains, and how it goes on from there."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from degrade import data
from degrade.errors import NewerError, RunError, SpecError
from degrade.spec import RunSpec
from degrade.spec.rows import Point
from degrade.store import parquet
from degrade.store.belonging import check_curve
from degrade.store.files import read
from degrade.store.folder import RunDir
from degrade.store.parquet import AGAIN
from degrade.store.state import State
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit
from degrade.train.processor import count_machines, describe_machines

REPROBE = "`degrade sweep ... engine.probe=N --reprobe` trains it again with another probe once it is finished"


def sound(folder: RunDir, state: State) -> bool:
    """Whether the files of a run that is over need no mending. Raises NewerError: a newer file is not damaged."""
    try:
        folder.check(state)
    except NewerError:
        raise
    except RunError as error:
        print(error, flush=True)
        return False
    return True


def damaged_tables(folder: RunDir) -> list[Path]:
    """Lists curve and probe, where they are there and cannot be read, or the curve is not the run's last."""
    state = folder.try_read_state()
    return [path for path in (folder.curve, folder.tables["probe"]) if path.exists() and not _fits(path, folder, state)]


def _fits(path: Path, folder: RunDir, state: State) -> bool:
    try:
        parquet.check(path)
        if path == folder.curve:
            check_curve(folder, state if state.over else State())
    except RunError:
        return False
    return True


def ended(spec: RunSpec, folder: RunDir) -> bool:
    """Whether a run reached its last iteration or diverged, as far as its curve tells."""
    try:
        rows = parquet.read(folder.curve, parquet.CURVES).to_pydict() if folder.curve.exists() else {}
    except RunError:
        return False  # nobody knows
    diverged = not all(map(math.isfinite, rows.get("loss", [])))
    return diverged or max(rows.get("iteration", []), default=0) >= spec.recipe.iterations


def _find_harm(folder: RunDir) -> str:
    """Tells what is wrong with the files of a run, the state first."""
    said, state = list[str](), State()
    try:
        state = folder.read_state()
        said += [] if state.name != "new" else [f"{folder.state}: is not there"]
    except RunError as error:
        said.append(str(error))
    try:
        folder.check(state if state.over else State())
    except RunError as error:
        said.append(str(error))
    return "; ".join(dict.fromkeys(text.removesuffix(f"; {AGAIN}") for text in said))


def demand_probe(folder: RunDir) -> None:
    """Raises RunError where only the probe is damaged: a rerun made it, and no checkpoint holds what was in it."""
    probe = folder.tables["probe"]
    if damaged_tables(folder) == [probe]:
        way_out = "move it away, and `degrade sweep ... engine.probe=N --reprobe` makes it again"
        raise RunError(f"{probe}: is damaged, and no checkpoint holds what was in it; {way_out}")


def lost(folder: RunDir) -> bool:
    """Whether another process has taken the run over.

    It came first, or this process was stopped for longer than a sign of life lasts. Where two hosts begin at once, or
    two processes that broke one stale lock, the one that signed last keeps the run.
    """
    state = folder.try_read_state()
    if taken := state.others:
        who = "host" if state.elsewhere else "process"
        said = "has brought it to its end" if state.over else "trains it"
        print(f"{folder.path}: left to another {who}, which {said}", flush=True)
    return taken


def restore_end(spec: RunSpec, folder: RunDir, stop: Callable[[], bool]) -> Fit:
    """Restores a run that is over, or may have been, from its checkpoint; trains nothing.

    Raises RunError where no checkpoint holds the end: whether to train the run anew is for the user to decide.
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
    """Goes on from the last good checkpoint of two generations; from the start where there is no checkpoint.

    Damaged checkpoints are set aside, so that they never take the place of a good one. Raises RunError, with the way
    out `anew`, where no checkpoint is good, NewerError where one is of a newer degrade, and SpecError where
    engine.same_machine asks for the machine it was on.
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
            if fit.spec.engine.same_machine and (said := describe_change(fit)):
                raise SpecError(f"engine.same_machine=true: {fit.spec.run} {said}; go on there, or leave it out")
            for each in damaged:
                each.replace(each.with_name(f"{each.name}.damaged"))
            return
    if reasons:
        raise RunError(f"{'; '.join(reasons)}; {anew}")
    if fit.spec.origin:
        exact = " --exact" if fit.spec.origin.how == "exact" else ""
        again = f"degrade construct --ckpt {fit.spec.origin.run} depth={fit.spec.net.depth}{exact}"
        raise RunError(f"{folder.path}: the constructed net it began with is not there; make it again: {again}")


def describe_change(fit: Fit) -> str:
    """Says that a run goes on with something else than computed its last steps, or with who knows what; "" if not."""
    if fit.machines[-1].iteration != fit.iteration or len(fit.machines) < 2:
        return ""
    before, here = fit.machines[-2:]
    return f"goes on from iteration {fit.iteration:,} on another machine: {here.words}; before {before.words}"


def _check_sane(fit: Fit) -> None:
    """Raises RunError where a checkpoint held values that no curve, probe or state of a run can have."""
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
    """Steps until a checkpoint is due; 0: now. engine.checkpoint_every counts iterations or seconds."""
    every = fit.spec.engine.checkpoint_every
    kept = [i - fit.iteration for i in fit.spec.engine.keep_checkpoints if i > fit.iteration]
    if isinstance(every, int):
        return min([*kept, saved.iteration + every - fit.iteration])
    overdue = time.monotonic() - saved.moment >= int(every[:-1]) and fit.iteration > saved.iteration
    return 0 if overdue else min([*kept, sys.maxsize])


def save(fit: Fit, folder: RunDir) -> Saved:
    """Writes the checkpoint first and the curve last: a complete curve always has a checkpoint to be made from."""
    folder.write_checkpoint(pack(fit.state()))
    record(fit, folder)
    return Saved(fit.iteration, time.monotonic())


def record(fit: Fit, folder: RunDir) -> None:
    """Writes all that was measured so far: the curve and, if there was a probe, its table."""
    folder.write_curve(fit.spec, fit.points)
    if fit.probes:
        folder.write_table("probe", fit.spec, fit.probes)


def cut_back(fit: Fit, folder: RunDir) -> None:
    """Cuts curve and probe back to what the checkpoint holds; a probe that a rerun put beside a finished run stays."""
    record(fit, folder)
    if not fit.probes and not fit.done:
        folder.tables["probe"].unlink(missing_ok=True)


def progress(fit: Fit, name: str, *, outcome: str | None = None, reason: str | None = None) -> State:
    """How far a run is, as a state of that name. None for outcome or reason leaves the old value."""
    recipe, last = fit.spec.recipe, fit.points[-1] if fit.points else None
    errors = {p.split: p.error for p in _latest_points(fit.points)}
    return State(
        name,
        outcome=outcome,
        reason=reason,
        iteration=fit.iteration,
        iterations=recipe.iterations,
        backend=fit.backend_name,
        layout=fit.backend.layout,
        machine=count_machines(fit.machines),
        computed_by=describe_machines(fit.machines),
        epoch=fit.iteration * recipe.batch / len(fit.train),
        lr=fit.lr,
        seconds=fit.seconds,
        warmup=fit.warmup.why if fit.warmup.until is not None else "on",
        warmup_until=fit.warmup.until,
        images_per_second=last.images_per_second if last else 0.0,
        train_error=errors.get("train"),
        train_clean_error=errors.get("train_clean"),
        test_error=errors.get("test"),
        val_error=errors.get("val"),
    )


def _latest_points(points: list[Point]) -> list[Point]:
    """The points of the last measured iteration."""
    return [p for p in points if p.iteration == points[-1].iteration]
