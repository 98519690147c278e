"""The identity experiment (Sec. 3.1): a grid of trials in processes of their own. Each is stored once it is done.

<results>/identity/<settings>/trials/<trial>.parquet   trial.IDENTITY, a row at each of ten iterations
                              identity.parquet         the rows of all trials of the last call
                              identity.png .svg .pdf   error against depth, a panel a target
"""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degrade.errors import RunError, SpecError, Stopped
from degrade.experiments.identity.trial import IDENTITY, LATER, Trial
from degrade.spec.rules import build_spec
from degrade.store import parquet
from degrade.store.files import inside
from degrade.train import processes
from degrade.views.terminal import bar

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = parquet.Schema(IDENTITY)
_ANEW = "remove it, and the same command makes it anew"
_ABREAST = 2  # panels in a row of the figure, which is then read in a column of text
_EXAMPLES = {  # of every axis
    "net": "plain,residual",
    "blocks": "1,2,4",
    "seeds": "0,1,2",
    "lr": "0.3,3",
    "target": "identity,permutation",
    "weight_decay": "0,1e-4",
    "init": "he,dirac",
}


def identity(
    *,
    net: Sequence[str] = ("plain", "residual"),
    blocks: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (0, 1, 2),
    lr: Sequence[float] = (3.0,),
    target: Sequence[str] = ("identity",),
    weight_decay: float | Sequence[float] = 1e-4,
    init: Sequence[str] = ("he",),
    pick: Sequence[int] = (),
    results: Path | str = "results",
    jobs: int | None = None,
    **settings: Any,
) -> "pd.DataFrame":
    """Trains stacks to reproduce their input, or another target, and returns trial.IDENTITY, ten rows a trial.

    `pick` are seeds that only choose the rate: the seeds `seeds` are then trained at that rate alone. The rows of both
    are returned. `settings` are other fields of trial.Trial: layers, width, steps and so on. Reads trials that are done
    already. `jobs` spreads the others over so many processes; a script must then guard its code by `if __name__ ==
    "__main__"`. Writes identity.parquet and the figure, too. Raises SpecError for a bad value, RunError for a folder
    that cannot be written, Stopped after a signal (with `jobs`).
    """
    from degrade.figures.panels import NothingToDraw  # loads matplotlib, which a trial does not need

    decays = weight_decay if isinstance(weight_decay, Sequence) else (weight_decay,)
    with_seeds = partial(
        trials, net=net, blocks=blocks, lr=lr, target=target, weight_decay=decays, init=init, **settings
    )
    asked, tried = with_seeds(seeds=seeds), with_seeds(seeds=pick) if pick else []
    frame = measure(asked, tried, Path(results), jobs)
    with contextlib.suppress(NothingToDraw):  # where every stack has diverged: the numbers are there all the same
        draw(frame, home(asked, Path(results)), pick=pick)
    return frame


def trials(
    *,
    net: Sequence[str],
    blocks: Sequence[int],
    seeds: Sequence[int],
    lr: Sequence[float],
    target: Sequence[str] = ("identity",),
    weight_decay: Sequence[float] = (1e-4,),
    init: Sequence[str] = ("he",),
    **settings: Any,
) -> list[Trial]:
    """Lists every combination once. Raises SpecError for a bad value, and for an axis without values."""
    axes: dict[str, Sequence[Any]] = {"target": target, "init": init, "weight_decay": weight_decay}
    axes |= {"net": net, "blocks": blocks, "lr": lr, "seeds": seeds}
    for key, values in axes.items():
        if not values:
            raise SpecError(f"{key}=: names nothing; give one value or several, as in {_EXAMPLES[key]}")
    fields = [key.replace("seeds", "seed") for key in axes]
    every = product(*(dict.fromkeys(values) for values in axes.values()))
    return [build_spec(Trial, dict(zip(fields, values, strict=True)) | settings) for values in every]


def home(asked: Sequence[Trial], results: Path) -> Path:
    """The folder of the first trial, which gets the table and the figure. Raises RunError where it is a link.

    Trials with the same settings share a folder, and trials of one call differ at most in weight decay.
    """
    return inside(results, "identity", asked[0].settings)


def trial_file(trial: Trial, folder: Path) -> Path:
    """Where a trial keeps its rows. `folder` is its own, home([trial], results)."""
    return folder / "trials" / f"{trial.name}.parquet"


def measure(asked: Sequence[Trial], tried: Sequence[Trial], results: Path, jobs: int | None = None) -> "pd.DataFrame":
    """As measure_trials, but where there are `tried` trials they are trained too, and choose the rate of those asked.

    Raises SpecError where a seed is in both.
    """
    if not tried:
        return measure_trials(asked, results, jobs)
    pick = {trial.seed for trial in tried}
    if both := pick & {trial.seed for trial in asked}:
        raise SpecError(f"--pick={min(both)}: this seed is in --seeds too; choose the rate on seeds that are not shown")
    from degrade.figures.identity import choose_rates  # loads matplotlib, which a trial does not need

    best = choose_rates(measure_trials(tried, results, jobs), pick)
    chosen = [trial for trial in asked if trial.lr == best[trial.cell]]
    return measure_trials([*tried, *chosen], results, jobs)


def measure_trials(asked: Sequence[Trial], results: Path, jobs: int | None = None) -> "pd.DataFrame":
    """Trains the trials that are missing. Returns the rows of all, and writes them to identity.parquet."""
    folders = {trial: home([trial], results) for trial in asked}
    missing = [trial for trial, folder in folders.items() if not trial_file(trial, folder).exists()]
    try:
        for folder in {folders[trial] for trial in missing}:
            (folder / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"results={results}: cannot be made ({error.strerror}); name another folder") from None
    if missing:
        _train(missing, folders, jobs)
    table = parquet.concatenate([_read_rows(trial, folder) for trial, folder in folders.items()], SCHEMA)
    folder = home(asked, results)
    try:
        parquet.save(folder / "identity.parquet", table)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); name another folder by results") from None
    return table.to_pandas()


def _read_rows(trial: Trial, folder: Path) -> Any:
    """Reads the rows of a trial. Raises RunError for a file that cannot be read or holds another trial."""
    path, labels = trial_file(trial, folder), trial.labels()
    try:
        rows = parquet.read(path, SCHEMA, known={key: labels[key] for key in LATER})
    except RunError as error:
        raise RunError(str(error).replace(parquet.AGAIN, _ANEW)) from None
    if not len(rows):
        raise RunError(f"{path}: has no rows; {_ANEW}")
    for key, value in labels.items():
        if others := {*rows[key].to_pylist()} - {value}:
            raise RunError(f"{path}: {key} cannot be {others.pop()!r} of {trial.name}; {_ANEW}")
    return rows


def _train(missing: Sequence[Trial], folders: Mapping[Trial, Path], jobs: int | None) -> None:
    """Trains trials, each for its folder, long ones first. Keeps what is done.

    Raises Stopped after a signal, RunError if a process died.
    """
    queue = sorted(missing, key=lambda trial: -trial.cost)
    if jobs is not None:
        _spread(queue, folders, jobs)
        return
    total, done = sum(trial.cost for trial in queue), 0
    with bar() as note:
        for trial in queue:
            keep(trial, folders[trial])
            done += trial.cost
            note(_describe_queue(queue), 100 * done // total, 100)


def _describe_queue(queue: Sequence[Trial]) -> str:
    return f"training {len(queue)} {'stack' if len(queue) == 1 else 'stacks'}, %"


def _spread(queue: Sequence[Trial], folders: Mapping[Trial, Path], jobs: int) -> None:
    """Trains trials on `jobs` spawned processes, one CPU thread each."""
    how = processes.SPAWN
    halt, done, total = how.Event(), how.Value("q", 0), sum(trial.cost for trial in queue)
    jobs = min(jobs, len(queue))
    pool = ProcessPoolExecutor(jobs, mp_context=how, initializer=_begin, initargs=(halt, done))
    with processes.signals() as received, bar() as note, pool:
        with processes.hold_back():  # inherited: a signal before `_begin` must not end a process
            futures = [pool.submit(_work, trial, folders[trial]) for trial in queue]
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
        raise RunError(
            f"{folders[queue[0]]}: a process died; what is done is kept: run the same command again"
        ) from None


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


def draw(frame: "pd.DataFrame", folder: Path, command: str = "", pick: Collection[int] = ()) -> tuple[Path, ...]:
    """Draws the figure in all formats. Returns its files. `pick`: the seeds that only chose the rate."""
    from degrade import figures
    from degrade.figures.identity import panels, title_of

    made, title = tuple(panels(frame, pick)), title_of(frame, pick)
    return figures.write(figures.Picture(name="identity", title=title, panels=made, across=_ABREAST), folder, command)
