"""Trains specs to their end in their folders: claim, go on from the checkpoint, advance, save."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from degrade import data
from degrade.errors import DegradeError, NewerError, RunError, one_line
from degrade.spec import RunSpec
from degrade.store import state as states
from degrade.store.belonging import set_strangers_aside
from degrade.store.files import at_home, describe_refusal, write
from degrade.store.folder import RunDir
from degrade.store.results import make_root
from degrade.store.state import FINISHED, OVER, State
from degrade.train.backends.graph import has_broken
from degrade.train.checkpoint import pack
from degrade.train.environment import environment
from degrade.train.fit import Fit
from degrade.train.processor import pick_device
from degrade.train.resume import (
    REPROBE,
    Saved,
    cut_back,
    damaged_tables,
    demand_probe,
    describe_change,
    ended,
    lost,
    progress,
    record,
    restore_end,
    resume,
    save,
    sound,
    until_save,
)
from degrade.train.turns import Run, in_turn

TURN = 0.25  # seconds of one turn; after it, `_train` looks at what is due besides steps


def run(
    specs: Iterable[RunSpec] | RunSpec,
    root: Path | str,
    *,
    stop: Callable[[], bool] = lambda: False,
    command: str = "",
    together: int = 1,
    made: bool = False,
) -> dict[str, str]:
    """Trains each spec under `root`, unless it is finished or another process holds it; `together` of them in turn.

    Returns run -> state: finished, diverged, interrupted (`stop` said so; the checkpoint is written) or elsewhere.
    An error in a run is raised, and its reason is written to the run's state as `failed`. Of several runs together, an
    error that any of them may have caused, as a GPU's, makes all of them `interrupted`: try them one by one.
    `made`: the results folder was made before, so it is not made again where it has gone.
    """
    states: dict[str, str] = {}
    place, asked = at_home(root), [specs] if isinstance(specs, RunSpec) else specs
    pulse, wanted = Pulse(stop), [data.identify(spec) for spec in asked]
    if not made:
        make_root(place)

    def one(spec: RunSpec) -> Run:
        states[spec.run] = yield from run_one(spec, place, pulse, command, alone=together == 1)

    on_gpu = torch.cuda.is_available() and all(spec.engine.device != "cpu" for spec in wanted)
    in_turn([one(spec) for spec in wanted], together, on_gpu=on_gpu)
    return states


def run_one(spec: RunSpec, root: Path, pulse: "Pulse", command: str, *, alone: bool) -> Generator[None, None, str]:
    """Trains one run, a turn at each `next`; returns its state. Closed early, it stops at its last checkpoint."""
    folder = RunDir(root, spec.run)
    if not alone and pulse():  # told to stop while it waited for its place in a pack
        return "interrupted"
    with _translate_refusals(folder), ExitStack() as held:
        if not _claim(folder, held):
            return "elsewhere"
        set_strangers_aside(folder)
        known = folder.try_read_state()
        if known.over and sound(folder, known):
            return known.name
        if known.name == "damaged":
            print(known.reason, flush=True)
        unknown = known.name == "damaged" or not folder.state.exists()
        if known.over or (unknown and (damaged_tables(folder) or ended(spec, folder))):  # the run may have been over
            return _mend(spec, folder, known, pulse, command)
        layout = known.layout if known.name == "new" else None  # a rerun plans it
        try:
            # this early, so that another host sees it even if it does not see our locks
            folder.write_state(State("running"))
            folder.write_spec(spec)
            with pulse.of(folder), _translate_refusals(folder):
                return (yield from _train(spec, folder, pulse, command, layout))
        except GeneratorExit:
            folder.leave("interrupted", "a run beside it failed")
            raise
        except Exception as error:
            own = alone or isinstance(error, DegradeError)
            folder.leave("failed" if own else "interrupted", one_line(error))
            raise


def _mend(spec: RunSpec, folder: RunDir, known: State, stop: Callable[[], bool], command: str) -> str:
    """Writes the damaged files of a run that is over anew, curve and probe from its checkpoint. Returns its state.

    `known` is its state, which may be unknown. Nothing is trained. Raises RunError where the checkpoint does not hold
    the end; the files then stay as they are.
    """
    if known.over and folder.curve.exists() and not damaged_tables(folder):
        folder.begin(spec, environment(pick_device(spec.engine.device), command))
        folder.seal_spec(known)
        return known.name
    try:
        fit = restore_end(spec, folder, stop)
    except NewerError:
        raise
    except RunError:
        if known.over and folder.curve.exists():
            demand_probe(folder)
        raise
    folder.begin(spec, environment(fit.device, command, kernels=fit.here.kernels, measured=fit.measured))
    record(fit, folder)
    folder.write_state(progress(fit, _end_of(fit), outcome=fit.outcome, reason=""))
    demand_probe(folder)
    return _end_of(fit)


def _claim(folder: RunDir, held: ExitStack) -> bool:
    """Claims the folder until `held` closes. Where the disk refuses the lock, the run failed for that reason."""
    try:
        return held.enter_context(folder.claimed())
    except OSError as error:
        if folder.standing().name not in ("running", "damaged", *OVER):
            folder.leave("failed", one_line(error))
        raise


@contextmanager
def _translate_refusals(folder: RunDir) -> Generator[None]:
    """Turns what the disk refuses into a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(describe_refusal(error, folder.path)) from error


def _train(
    spec: RunSpec, folder: RunDir, stop: Callable[[], bool], command: str, layout: str | None
) -> Generator[None, None, str]:
    """Trains one run in its folder, which this process has claimed. `layout`: to begin in; None: the device's own."""
    splits = data.load(spec.data)
    fit = Fit(spec, splits, stop=stop)
    if layout is not None:
        fit.begin_in(layout)
    resume(fit, folder)
    about = environment(
        fit.device, command, classes=splits.train.classes, kernels=fit.here.kernels, measured=fit.measured
    )
    folder.begin(fit.spec, about)  # of the backend and with the probe that the run began with
    if fit.spec.engine.probe != spec.engine.probe:
        print(f"{spec.run}: engine.probe stays {fit.spec.engine.probe}, as the run began; {REPROBE}", flush=True)
    if said := describe_change(fit):
        print(f"{spec.run}: {said}", flush=True)
    if fit.backend_why:
        print(f"{spec.run}: engine.backend is {fit.backend_name}; {fit.backend_why}", flush=True)
    if lost(folder):
        return "elsewhere"
    cut_back(fit, folder)
    folder.write_state(progress(fit, "running", outcome="", reason=""))
    saved = Saved(fit.iteration, time.monotonic())
    pace, told = 1.0, time.monotonic()  # steps that fit in one turn; when the state was last written
    while not fit.done and not stop():
        begin, before = time.perf_counter(), fit.iteration
        found = fit.advance(min(max(1, int(pace)), until_save(fit, saved)))
        keep, due = fit.iteration in spec.engine.keep_checkpoints, until_save(fit, saved) == 0
        beat = found or time.monotonic() - told >= states.BEAT
        if (keep or due or beat) and lost(folder):
            return "elsewhere"
        if found and not fit.done:  # the last points follow the last checkpoint
            record(fit, folder)
        if keep:
            write(folder.kept(fit.iteration), pack(fit.state()))
        if due:
            saved = save(fit, folder)
        if beat:
            folder.write_state(progress(fit, "running", outcome=fit.outcome))
            told = time.monotonic()
        paused = time.perf_counter()
        yield
        fit.book_wait(time.perf_counter() - paused)
        measured = (fit.iteration - before) * TURN / (time.perf_counter() - begin)
        pace = min(2 * max(1.0, pace), measured)  # a GPU accepts the first turns before it has done them
    if lost(folder):
        return "elsewhere"
    save(fit, folder)
    folder.write_state(progress(fit, _end_of(fit), outcome=fit.outcome, reason=""))
    return _end_of(fit)


def _end_of(fit: Fit) -> str:
    return "interrupted" if not fit.done else "diverged" if fit.diverged else FINISHED


class Pulse:
    """Asks `stop`, and gives signs of life for the runs under way while it does so.

    So a long evaluation of one of them does not look like a death to other hosts.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.stop, self.last = stop, time.monotonic()
        self.folders: list[RunDir] = []

    @contextmanager
    def of(self, folder: RunDir) -> Generator[None]:
        """Gives signs of life for `folder` meanwhile."""
        self.folders.append(folder)
        try:
            yield
        finally:
            self.folders.remove(folder)

    def __call__(self) -> bool:
        if time.monotonic() - self.last > states.LIFE:
            for folder in self.folders:
                with suppress(OSError, RunError):  # the run's own next write will raise it
                    if not folder.try_read_state().others:
                        folder.write_state(State("running"))
            self.last = time.monotonic()
        return self.stop()


def is_worn() -> bool:
    """Whether this process should train no more packs: a capture broke, and torch may keep what belonged to it."""
    return has_broken()


def take_gpu(slot: int) -> None:
    """Spreads the worker processes of one machine over its GPUs; does nothing where there is none."""
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())
