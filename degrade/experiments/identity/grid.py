"""The identity experiment (Sec. 3.1): a grid of trials in processes of their own. Each is stored once it is done.

<results>/identity/<settings>/trials/<trial>.parquet   trial.IDENTITY, a row at each of ten iterations
                              identity.parquet         the rows of all trials of the last call
                              identity.png .svg .pdf   relative error against depth
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degrade.errors import RunError, SpecError, Stopped
from degrade.experiments.identity.trial import IDENTITY, Trial
from degrade.spec.rules import build_spec
from degrade.store import parquet
from degrade.store.files import inside
from degrade.train import processes
from degrade.views.terminal import bar

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = parquet.Schema(IDENTITY)
_ANEW = "remove it, and the same command makes it anew"
_EXAMPLES = {"net": "plain,residual", "blocks": "1,2,4", "seeds": "0,1,2", "lr": "0.3,3"}


def identity(
    *,
    net: Sequence[str] = ("plain", "residual"),
    blocks: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (0, 1, 2),
    lr: Sequence[float] = (3.0,),
    results: Path | str = "results",
    jobs: int | None = None,
    **settings: Any,
) -> "pd.DataFrame":
    """Trains stacks to reproduce their input and returns trial.IDENTITY, a row at each of ten iterations.

    `settings` are other fields of trial.Trial: layers, width, steps and so on. Reads trials that are done already.
    `jobs` spreads the others over so many processes; a script must then guard its code by `if __name__ ==
    "__main__"`. Writes identity.parquet and the figure, too. Raises SpecError for a bad value, RunError for a folder
    that cannot be written, Stopped after a signal (with `jobs`).
    """
    from degrade.figures.panels import NothingToDraw  # loads matplotlib, which a trial does not need

    asked = trials(net=net, blocks=blocks, seeds=seeds, lr=lr, **settings)
    frame = measure_trials(asked, Path(results), jobs)
    with contextlib.suppress(NothingToDraw):  # where every stack has diverged: the numbers are there all the same
        draw(frame, home(asked, Path(results)))
    return frame


def trials(
    *, net: Sequence[str], blocks: Sequence[int], seeds: Sequence[int], lr: Sequence[float], **settings: Any
) -> list[Trial]:
    """Lists every combination once. Raises SpecError for a bad value, and for an axis without values."""
    for key, values in (("net", net), ("blocks", blocks), ("seeds", seeds), ("lr", lr)):
        if not values:
            raise SpecError(f"{key}=: names nothing; give one value or several, as in {_EXAMPLES[key]}")
    axes = product(dict.fromkeys(net), dict.fromkeys(blocks), dict.fromkeys(lr), dict.fromkeys(seeds))
    return [build_spec(Trial, {"net": n, "blocks": b, "lr": r, "seed": s, **settings}) for n, b, r, s in axes]


def home(asked: Sequence[Trial], results: Path) -> Path:
    """The folder of trials with the same settings. Raises RunError where it is a link."""
    return inside(results, "identity", asked[0].settings)


def trial_file(trial: Trial, folder: Path) -> Path:
    """Where a trial keeps its rows."""
    return folder / "trials" / f"{trial.name}.parquet"


def measure_trials(asked: Sequence[Trial], results: Path, jobs: int | None = None) -> "pd.DataFrame":
    """Trains the trials that are missing. Returns the rows of all, and writes them to identity.parquet."""
    folder = home(asked, results)
    missing = [trial for trial in asked if not trial_file(trial, folder).exists()]
    if missing:
        try:
            (folder / "trials").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"results={results}: cannot be made ({error.strerror}); name another folder") from None
        _train(missing, folder, jobs)
    table = parquet.concatenate([_read_rows(trial, folder) for trial in asked], SCHEMA)
    try:
        parquet.save(folder / "identity.parquet", table)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); name another folder by results") from None
    return table.to_pandas()


def _read_rows(trial: Trial, folder: Path) -> Any:
    """Reads the rows of a trial. Raises RunError for a file that cannot be read or holds another trial."""
    path = trial_file(trial, folder)
    try:
        rows = parquet.read(path, SCHEMA)
    except RunError as error:
        raise RunError(str(error).replace(parquet.AGAIN, _ANEW)) from None
    if not len(rows):
        raise RunError(f"{path}: has no rows; {_ANEW}")
    for key, value in trial.labels().items():
        if others := {*rows[key].to_pylist()} - {value}:
            raise RunError(f"{path}: {key} cannot be {others.pop()!r} of {trial.name}; {_ANEW}")
    return rows


def _train(missing: Sequence[Trial], folder: Path, jobs: int | None) -> None:
    """Trains trials, long ones first; keeps what is done. Raises Stopped after a signal, RunError if a process died."""
    queue = sorted(missing, key=lambda trial: -trial.cost)
    if jobs is not None:
        _spread(queue, folder, jobs)
        return
    total, done = sum(trial.cost for trial in queue), 0
    with bar() as note:
        for trial in queue:
            keep(trial, folder)
            done += trial.cost
            note(_describe_queue(queue), 100 * done // total, 100)


def _describe_queue(queue: Sequence[Trial]) -> str:
    return f"training {len(queue)} {'stack' if len(queue) == 1 else 'stacks'}, %"


def _spread(queue: Sequence[Trial], folder: Path, jobs: int) -> None:
    """Trains trials on `jobs` spawned processes, one CPU thread each."""
    how = processes.SPAWN
    halt, done, total = how.Event(), how.Value("q", 0), sum(trial.cost for trial in queue)
    jobs = min(jobs, len(queue))
    pool = ProcessPoolExecutor(jobs, mp_context=how, initializer=_begin, initargs=(halt, done))
    with processes.signals() as received, bar() as note, pool:
        with processes.hold_back():  # inherited: a signal before `_begin` must not end a process
            futures = [pool.submit(_work, trial, folder) for trial in queue]
        while not received and wait(futures, timeout=processes.TICK).not_done:
            note(_describe_queue(queue), 100 * done.value // total, 100)
        if received:
            halt.set()
            pool.shutdown(cancel_futures=True)
            raise Stopped(received[0])
    try:
        for future in futures:
            future.result()
    except BrokenProcessPool:
        raise RunError(f"{folder}: a process died; what is done is kept: run the same command again") from None


@dataclass
class _Pool:
    """What a process of the pool shares with its parent."""

    halt: Any = None  # an Event: whether to stop
    done: Any = None  # a Value: work done so far, in units of Trial.cost


_pool = _Pool()  # in a process of the pool: set by `_begin`, for `_work`


def _begin(halt: Any, done: Any) -> None:
    """Prepares a process of the pool."""
    processes.begin()
    _pool.halt, _pool.done = halt, done


def _work(trial: Trial, folder: Path) -> None:
    """Trains one trial in a process of the pool."""

    def tell() -> None:
        with _pool.done.get_lock():
            _pool.done.value += trial.cost // trial.steps

    keep(trial, folder, _pool.halt.is_set, tell)


def keep(
    trial: Trial,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Trains one trial and writes its file in one atomic step, unless `stop` says so."""
    from degrade.experiments.identity.learn import learn  # only a process that trains loads torch

    rows = learn(trial, stop, tell)
    if not stop():
        parquet.write_rows(trial_file(trial, folder), trial.labels(), rows, SCHEMA)


def draw(frame: "pd.DataFrame", folder: Path, command: str = "") -> tuple[Path, ...]:
    """Draws the figure in all formats. Returns its files."""
    from degrade import figures
    from degrade.figures.identity import panels, title_of

    shown = figures.draw(panels(frame), title_of(frame))
    return figures.write(shown, "identity", sorted(frame.trial.unique()), folder, command)
