"""Trains finished runs once more beside the first: does the same curve come out, and what does a probe see?

<root>/reruns/<n>/runs/<run> is the n-th rerun. The first run's folder never changes, with one exception: it gets
probe.parquet where the rerun gave its curve again to the last bit.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from degrade import data
from degrade.errors import RunError, Stopped
from degrade.spec import RunSpec
from degrade.spec.rows import TIMINGS
from degrade.store import parquet
from degrade.store.files import inside, read, write
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES
from degrade.store.results import board
from degrade.store.state import UNMARKED_LAYOUT, Board, State
from degrade.sweep.workers import train
from degrade.views import tables
from degrade.views.sheets import Show
from degrade.views.terminal import bar, confirm, console, duration, show

_FIRST_BACKEND = "eager"  # of runs whose state names none: there was no other


def rerun(folder: RunDir, root: Path, probe: int | None = None, show: Show = show) -> int:
    """Trains a stored run once more, with a probe of its gradients where `probe` asks for one; says what came out.

    Returns the exit code. Raises RunError where the run is not over, where it has the probe already, and where its
    pictures have changed.
    """
    if not folder.over:
        raise RunError(f"{folder.run}: is {folder.standing().name}; only what is finished can be compared with")
    if probe and folder.tables["probe"].exists():
        raise RunError(f"{folder.run}: has a probe already; move {folder.tables['probe']} away to get another")
    spec = read_trained_spec(folder)
    with bar() as note:
        found = data.prepare(spec.data, note, theirs=True)
    if found.content != spec.data.content:
        raise RunError(f"{folder.run}: the pictures under {spec.data.root} are not those it was trained on any more")
    spec = spec if probe is None else set_probe(spec, probe)
    into = choose_place(root, spec)
    _copy_start(folder, RunDir(into, spec.run))
    _plan_layout(folder, RunDir(into, spec.run))
    try:
        train([spec], into, jobs=1)
    except Stopped as stopped:
        option = "" if probe is None else f" --probe {probe}"
        console.print(f"stopped; go on with: degrade rerun {folder.path}{option}")
        return 128 + stopped.signal
    after = board([spec], into)
    show(tables.ends([spec], after, into))
    if after[spec.run].broken:
        return 1
    report(folder, RunDir(into, spec.run))
    return 0


def read_trained_spec(folder: RunDir) -> RunSpec:
    """Reads the spec of a run with the backend it had: `auto` could choose another one here, with other bits."""
    spec, had = folder.read_spec(), folder.read_state().backend or _FIRST_BACKEND
    return replace(spec, engine=replace(spec.engine, backend=had))


def _copy_start(first: RunDir, again: RunDir) -> None:
    """Copies the weights that a constructed run began from, since its rerun must begin there too.

    Does nothing for other runs. Raises RunError where the weights are gone.
    """
    if first.read_spec().origin is None or again.kept(0).exists():
        return
    if not first.kept(0).exists():
        raise RunError(f"{first.kept(0)}: its first weights are gone; `degrade construct` makes them again")
    again.path.mkdir(parents=True, exist_ok=True)
    write(again.kept(0), read(first.kept(0)))


def _plan_layout(first: RunDir, again: RunDir) -> None:
    """Lets a rerun begin in the layout of the first run (degrade.train.layout), if the curve depends on the layout.

    A checkpoint names its own layout. Says so where the first run is of a degrade that knew only one layout.
    """
    had, spec = first.read_state(), read_trained_spec(first)
    sums = spec.engine.backend in ("eager", "graph", "fused") or (
        spec.engine.backend == "native" and spec.recipe.precise_bn
    )
    if not sums or again.standing().name == "running" or any(path.exists() for path in again.checkpoints):
        return
    again.path.mkdir(parents=True, exist_ok=True)
    again.write_state(State("new", layout=had.layout or UNMARKED_LAYOUT))
    if had.layout is None:
        said = f"of a degrade before layouts had names; trained again in its layout, {UNMARKED_LAYOUT}"
        console.print(f"{first.run}: {said}; new runs sum more exactly on a CPU", highlight=False, soft_wrap=True)


def choose_place(root: Path, spec: RunSpec) -> Path:
    """Chooses the first reruns/<n> without this run. A rerun that was stopped there, with the same probe, goes on."""

    def free(folder: RunDir) -> bool:
        try:
            known = not folder.spec.exists() or folder.read_spec().engine.probe == spec.engine.probe
        except RunError:  # nobody knows what it was a rerun of
            return False
        return known and not folder.over

    paths = (inside(root, "reruns", str(n)) for n in count(1))
    return next(path for path in paths if free(RunDir(path, spec.run)))


def report(first: RunDir, again: RunDir) -> None:
    """Says whether the same curve came out. If so, copies the probe to the first run, unless that has one."""
    seen = again.tables["probe"]
    if not same_curve(first.curve, again.curve):
        said = f"another curve; other hardware, threads or versions do that (compare {again.environment.name})"
        left = f"; {seen.name} stays here, not with the first run" if seen.exists() else ""
    else:
        said, left = "the same curve to the last bit", ""
        if seen.exists() and not first.tables["probe"].exists():
            write(first.tables["probe"], read(seen))
            left = f"; {seen.name} added to {first.path}"
    console.print(f"{again.path}: {said}{left}", highlight=False, soft_wrap=True)


def find_unprobed(specs: Sequence[RunSpec], root: Path, board: Board) -> list[RunSpec]:
    """Finds finished runs that have no probe but are asked for with one. Their specs are as trained, with the probe."""
    found: list[RunSpec] = []
    for spec in specs:
        folder = RunDir(root, spec.run)
        if spec.engine.probe and board[spec.run].over and not folder.tables["probe"].exists():
            found.append(set_probe(replace(read_trained_spec(folder), data=spec.data), spec.engine.probe))
    return found


def set_probe(spec: RunSpec, probe: int) -> RunSpec:
    return replace(spec, engine=replace(spec.engine, probe=probe))


def offer(bare: Sequence[RunSpec], root: Path, *, ask: bool) -> bool:
    """Says that finished runs have no probe and how to get one. True where a person at the terminal wants it now."""
    if not bare:
        return False
    seconds = sum(RunDir(root, spec.run).read_state().seconds or 0.0 for spec in bare)
    which, them = ("1 finished run has", "it") if len(bare) == 1 else (f"{len(bare)} finished runs have", "them")
    said, cost = f"{which} no probe", f"{them} again beside the first ({duration(seconds)} of training)"
    if ask and (answer := confirm(f"{said}; train {cost}?")) is not None:
        return answer
    console.print(f"{said}; `degrade sweep ... --reprobe` trains {cost}", highlight=False, soft_wrap=True)
    return False


def reprobe(bare: Sequence[RunSpec], root: Path, *, jobs: int | None, fail_fast: bool, show: Show = show) -> int:
    """Trains finished runs again, several at once; returns how many failed.

    A run whose probe lies in a rerun already is not trained a third time. Raises Stopped after a signal. Raises
    RunError, at the end, where a run failed and could not write so.
    """
    todo: dict[Path, list[RunSpec]] = {}
    for spec in bare:
        if not find_probed(root, spec.run):
            todo.setdefault(into := choose_place(root, spec), []).append(spec)
            _copy_start(RunDir(root, spec.run), RunDir(into, spec.run))
            _plan_layout(RunDir(root, spec.run), RunDir(into, spec.run))
    failed, unsaid = 0, list[RunError]()
    try:
        for path, specs in todo.items():
            try:
                train(specs, path, jobs=jobs, fail_fast=fail_fast)
            except RunError as error:
                unsaid.append(error)
            after = board(specs, path)
            show([tables.failures(after, path)])
            failed += sum(state.broken for state in after.values())
            if fail_fast and (failed or unsaid):
                break
    finally:  # also after a stop half-way: reports the reruns that are done
        for spec in bare:
            for again in find_probed(root, spec.run)[:1]:
                report(RunDir(root, spec.run), again)
    if unsaid:
        raise unsaid[0]
    return failed


def find_probed(root: Path, run: str) -> list[RunDir]:
    """Finds the finished reruns of a run that have a probe; reruns with the same curve come first."""
    folders = [RunDir(path, run) for path in sorted((root / "reruns").glob("*"))]
    found = [folder for folder in folders if folder.over and folder.tables["probe"].exists()]
    return sorted(found, key=lambda folder: not same_curve(RunDir(root, run).curve, folder.curve))


def same_curve(one: Path, other: Path) -> bool:
    """Whether two curves are equal to the last bit in all columns but the timings."""
    first, second = (parquet.read(path, CURVES).drop_columns(list(TIMINGS)).to_pandas() for path in (one, other))
    return bool(first.equals(second))  # in pandas a NaN loss equals itself
