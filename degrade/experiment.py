"""Runs specs to their end in their folders: claim, go on from the checkpoint, advance, save."""

import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from degrade import data, parquet
from degrade.environment import environment
from degrade.errors import DegradeError, NewerError, RunError, refused
from degrade.files import write
from degrade.point import Point
from degrade.spec import RunSpec
from degrade.states import FINISHED, OVER
from degrade.store import RunDir
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit
from degrade.train.turns import Run, in_turn

BEAT = 1.0  # seconds between two looks that others may have at a run, in state.json
LIFE = 10.0  # seconds between two signs of life there in any case
TURN = 0.25  # seconds of one turn: between two looks at what is due besides steps


def run(
    specs: Iterable[RunSpec],
    root: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    command: str = "",
    together: int = 1,
) -> dict[str, str]:
    """Trains each spec under `root`, unless it is finished or another process holds it; `together`: so many in turn.

    Returns run -> state: finished, diverged, interrupted (`stop` said so; the checkpoint is written) or elsewhere.
    What goes wrong in a run is written to its state as `failed`, with the reason, and raised. Of several together an
    error that can be any one's, as those of a GPU, makes all of them `interrupted`: they are to be tried one by one.
    """
    states: dict[str, str] = {}
    pulse, wanted = Pulse(stop), [identified(spec) for spec in specs]

    def one(spec: RunSpec) -> Run:
        states[spec.run] = yield from training(spec, root, pulse, command, alone=together == 1)

    on_gpu = torch.cuda.is_available() and all(spec.engine.device != "cpu" for spec in wanted)
    in_turn([one(spec) for spec in wanted], together, on_gpu=on_gpu)
    return states


def identified(spec: RunSpec) -> RunSpec:
    """The spec with the fingerprint of its data, which is part of its name; a sweep has put it there already."""
    return spec if spec.data.content else replace(spec, data=data.prepare(spec.data))


def training(spec: RunSpec, root: Path, pulse: "Pulse", command: str, *, alone: bool) -> Generator[None, None, str]:
    """One run, a turn at each `next`; returns its state. Closed early, it is interrupted where its checkpoint is."""
    folder = RunDir(root, spec.run)
    if not alone and pulse():  # told to stop while it waited for its place in a pack
        return "interrupted"
    with refusals(folder), ExitStack() as held:
        if not claim(folder, held):
            return "elsewhere"
        found = folder.intact(folder.state)
        over = found.get("state") in OVER
        if over and sound(folder):
            return found["state"]
        if over or ("damaged" in found and ended(spec, folder)):
            demand_checkpoint(folder)
        try:
            with pulse.of(folder), refusals(folder):
                return (yield from _train(spec, folder, pulse, command))
        except GeneratorExit:
            leave(folder, "interrupted", "a run beside it failed")
            raise
        except Exception as error:
            own = alone or isinstance(error, DegradeError)
            leave(folder, "failed" if own else "interrupted", one_line(error))
            raise


def claim(folder: RunDir, held: ExitStack) -> bool:
    """folder.claimed() as long as `held` is; where the disk refuses the lock, that is what the run failed of."""
    try:
        return held.enter_context(folder.claimed())
    except OSError as error:
        if folder.known()["state"] not in ("running", *OVER):
            leave(folder, "failed", one_line(error))
        raise


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


def ended(spec: RunSpec, folder: RunDir) -> bool:
    """Whether a run has come to its last iteration, as far as its curve tells."""
    try:
        done = parquet.read(folder.curve, parquet.CURVES)["iteration"].to_pylist() if folder.curve.exists() else []
    except RunError:
        return True  # nobody knows
    return max(done, default=0) >= spec.recipe.iterations


def demand_checkpoint(folder: RunDir) -> None:
    """Raises RunError where there is nothing to mend a result from: to train it anew is for the user to decide."""
    if not any(path.exists() for path in folder.checkpoints):
        why = folder.standing()["reason"]
        raise RunError(f"{why}; there is no checkpoint: move {folder.path} away to train it anew")


@contextmanager
def refusals(folder: RunDir) -> Generator[None]:
    """What the disk refuses as a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(refused(error, folder.path)) from error


def leave(folder: RunDir, state: str, reason: str) -> None:
    """Writes how a run ended, where the disk still takes that: the error itself is to be heard in any case."""
    try:
        folder.write_state(state, reason=reason)
    except (OSError, RunError) as error:
        print(f"{folder.state}: not written ({one_line(error)}): {state}, {reason}", flush=True)


def _train(spec: RunSpec, folder: RunDir, stop: Callable[[], bool], command: str) -> Generator[None, None, str]:
    """One run in its own folder, which this process has claimed."""
    fit = Fit(spec, data.load(spec.data), stop=stop)
    folder.begin(spec, environment(fit.device, command))
    resume(fit, folder)
    if fit.backend_why:
        print(f"{spec.run}: engine.backend is {fit.backend_name}; {fit.backend_why}", flush=True)
    record(fit, folder)  # without what was measured after the checkpoint
    folder.write_state("running", outcome="", reason="", **progress(fit))
    saved = Saved(fit.iteration, time.monotonic())
    pace, told = 1.0, time.monotonic()  # steps that fit in one turn; when the state was last written
    while not fit.done and not stop():
        begin, before = time.perf_counter(), fit.iteration
        found = fit.advance(min(max(1, int(pace)), until_save(fit, saved)))
        if found:
            record(fit, folder)
        if fit.iteration in spec.engine.keep_checkpoints:
            write(folder.kept(fit.iteration), pack(fit.state()))
        if until_save(fit, saved) == 0:
            saved = save(fit, folder)
        if found or time.monotonic() - told >= BEAT:
            folder.write_state("running", outcome=fit.outcome, **progress(fit))
            told = time.monotonic()
        paused = time.perf_counter()
        yield
        fit.waited(time.perf_counter() - paused)
        measured = (fit.iteration - before) * TURN / (time.perf_counter() - begin)
        pace = min(2 * max(1.0, pace), measured)  # a GPU takes the first turns before it has done them
    save(fit, folder)
    state = "interrupted" if not fit.done else "diverged" if fit.diverged else FINISHED
    folder.write_state(state, outcome=fit.outcome, **progress(fit))
    return state


class Pulse:
    """`stop`, and a sign of life of the runs under way whenever it is asked: a long evaluation, of one of them, must
    not look like a death to other hosts.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop, self.last = stop, time.monotonic()
        self.folders: list[RunDir] = []

    @contextmanager
    def of(self, folder: RunDir) -> Generator[None]:
        """While `folder` is that of a run under way."""
        self.folders.append(folder)
        try:
            yield
        finally:
            self.folders.remove(folder)

    def __call__(self) -> bool:
        if time.monotonic() - self.last > LIFE:
            for folder in self.folders:
                folder.write_state("running")
            self.last = time.monotonic()
        return self.stop()


def resume(fit: Fit, folder: RunDir) -> None:
    """Goes on from the last good checkpoint, of two generations; from the start where there is none.

    Damaged ones are set aside, so that they never take the place of a good one. Raises RunError where there are
    checkpoints and none is good, or one is of a newer degrade: to train anew is for the user to decide.
    """
    reasons: list[str] = []
    damaged: list[Path] = []
    for path in (path for path in folder.checkpoints if path.exists()):
        try:
            fit.restore(unpack(path.read_bytes()))
        except NewerError as error:
            raise RunError(f"{path}: {error}") from None
        except RunError as error:
            damaged.append(path)
            reasons.append(f"{path}: {error}")
            print(reasons[-1], flush=True)
        else:
            for each in damaged:
                each.replace(each.with_name(f"{each.name}.damaged"))
            return
    if reasons:
        raise RunError(f"{'; '.join(reasons)}; remove what is damaged to train the run anew")
    if fit.spec.origin:
        exact = " --exact" if fit.spec.origin.how == "exact" else ""
        again = f"degrade construct --ckpt {fit.spec.origin.run} depth={fit.spec.net.depth}{exact}"
        raise RunError(f"{folder.path}: the constructed net it began with is not there; make it again: {again}")


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
    """Curve first, checkpoint last: what a later process goes on from is never ahead of the curve."""
    record(fit, folder)
    folder.write_checkpoint(pack(fit.state()))
    return Saved(fit.iteration, time.monotonic())


def record(fit: Fit, folder: RunDir) -> None:
    """All that was measured so far: the curve, and what the probe saw, if there was one."""
    folder.write_curve(fit.spec, fit.points)
    if fit.probes:
        folder.write_table("probe", fit.spec, fit.probes)
    else:
        folder.tables["probe"].unlink(missing_ok=True)


def one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    known = isinstance(error, DegradeError) and text
    return text[0] if known else f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def progress(fit: Fit) -> dict[str, Any]:
    """What the live table shows of a run."""
    recipe, last = fit.spec.recipe, fit.points[-1] if fit.points else None
    errors = {f"{p.split}_error": p.error for p in latest(fit.points)}
    return {
        "iteration": fit.iteration,
        "iterations": recipe.iterations,
        "backend": fit.backend_name,
        "epoch": fit.iteration * recipe.batch / len(fit.train),
        "lr": fit.lr,
        "seconds": fit.seconds,
        "warmup": fit.warmup.why if fit.warmup.until is not None else "on",
        "warmup_until": fit.warmup.until,
        "images_per_second": last.images_per_second if last else 0.0,
        **errors,
    }


def latest(points: list[Point]) -> list[Point]:
    """The points of the last measured iteration."""
    return [p for p in points if p.iteration == points[-1].iteration]


def take_gpu(slot: int) -> None:
    """Spreads the worker processes of one machine over its GPUs; nothing where there is none."""
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())
