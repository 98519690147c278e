"""Where runs lie on disk. Moves bytes and rows; never loads torch.

<root>/runs/<run>/spec.json         what it is
                  environment.json  on what, by which command
                  curve.parquet     degrade.spec.rows.CURVE, rewritten at each point
                  probe.parquet     degrade.spec.rows.PROBE, where engine.probe asks for it
                  responses.parquet, blocks.parquet   degrade.spec.rows, where they have been measured
                  checkpoint.pt     weights, momentum, BN, tallies and the points so far: written before the curve
                  state.json        where it stands; also the heartbeat
                  log.txt           what the training printed
                  .lock             held while a process trains it
"""

import os
import socket
import time
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout

from degrade.errors import NewerError, RunError, SpecError
from degrade.spec import RunSpec, parse
from degrade.spec.rows import Point
from degrade.store import files, parquet, seal
from degrade.store.files import at_home, write
from degrade.store.parquet import AGAIN, CURVES, TABLES
from degrade.store.state import OVER, alive, elsewhere, far, fault_of, kept

if TYPE_CHECKING:
    import pandas as pd


class RunDir:
    """The folder of one run: the names of its files, what is in them, and who may write."""

    def __init__(self, root: Path, run: str) -> None:
        self.run, self.path = run, root / "runs" / run
        self.spec = self.path / "spec.json"
        self.environment = self.path / "environment.json"
        self.curve = self.path / "curve.parquet"
        self.tables = {name: self.path / f"{name}.parquet" for name in TABLES}
        self.checkpoint = self.path / "checkpoint.pt"
        self.previous = self.path / "checkpoint-previous.pt"
        self.state = self.path / "state.json"
        self.log = self.path / "log.txt"
        self.lock = self.path / ".lock"

    def kept(self, iteration: int) -> Path:
        """A checkpoint that stays for good."""
        return self.path / f"checkpoint-{iteration}.pt"

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Where the state of the training may lie, the newest first; a constructed net begins at the last of them."""
        return self.checkpoint, self.previous, self.kept(0)

    @contextmanager
    def claimed(self) -> Generator[bool]:
        """True while this process alone may write here; False where another holds it: by its lock, which its death
        frees, or by its heartbeat, on a host that no lock reaches.
        """
        files.inside(self.path.parent.parent, "runs", self.run)
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            if elsewhere(self.known()):
                yield False
                return
            for left in self.path.glob(".*.tmp"):  # of a process that died while writing
                left.unlink(missing_ok=True)
            yield True
        finally:
            lock.release()

    def begin(self, spec: RunSpec, environment: Mapping[str, Any]) -> None:
        """Writes what the run is and on what it runs; a run that is taken up again adds to that.

        What is damaged is written anew, and that it was is told. Raises RunError if the folder is another run's.
        """
        if not self.spec.exists():
            if not self.environment.exists():
                write_json(self.environment, environment)
            write_json(self.spec, {"spec": spec.tree()})
            return
        if "damaged" in self.intact(self.spec):
            write_json(self.spec, {"spec": spec.tree()})
        elif self.read_spec().run != spec.run:
            raise RunError(f"{self.spec}: describes another run than {spec.run}; move the folder away")
        known = self.intact(self.environment)
        before = known["resumed"] if isinstance(known.get("resumed"), list) else []  # others may have written it
        write_json(self.environment, {**known, "format": seal.FILE_FORMAT, "resumed": [*before, environment]})

    def read(self, file: Path) -> dict[str, Any]:
        """A JSON file; {} where there is none. Raises RunError if it cannot be read."""
        try:
            return seal.of_json(files.read(file))
        except FileNotFoundError:
            return {}
        except NewerError as error:
            raise NewerError(f"{file}: {error}") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read ({error}); {AGAIN}") from None

    def intact(self, file: Path) -> dict[str, Any]:
        """As `read`, but of a damaged file {"damaged": why}. Raises NewerError, since that is no damage."""
        try:
            return self.read(file)
        except NewerError:
            raise
        except RunError as error:
            print(error, flush=True)
            return {"damaged": str(error)}

    def read_spec(self) -> RunSpec:
        """Raises RunError where there is none, or none that this degrade knows."""
        tree = self.read(self.spec).get("spec")
        try:
            if isinstance(tree, dict):
                return parse(tree)
            reason = "describes no run"
        except SpecError as error:
            reason = str(error)
        raise RunError(f"{self.spec}: {reason}; move the run's folder away")

    def read_state(self) -> dict[str, Any]:
        """state.json, or {"state": "new"}."""
        state = self.read(self.state)
        if fault := fault_of(state):
            raise RunError(f"{self.state}: {fault}; move the run's folder away")
        return {"state": "new"} | state

    def known(self) -> dict[str, Any]:
        """read_state, but of a damaged one {"state": "damaged"} and the reason. Raises NewerError."""
        try:
            return self.read_state()
        except NewerError:
            raise
        except RunError as error:
            return {"state": "damaged", "reason": str(error)}

    def write_state(self, state: str, **values: Any) -> None:
        """Keeps what was said before of keys that are not given, if it can be read."""
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "heartbeat": time.time()}
        said = {**self.known(), "format": seal.FILE_FORMAT, "state": state, **sign, **values}
        write_json(self.state, said, sync=False)

    def leave(self, state: str, reason: str) -> None:
        """Writes how a run ended, unless another host has taken it over, where the disk still takes that."""
        try:
            if not elsewhere(self.known()):
                self.write_state(state, reason=reason)
        except (OSError, RunError) as error:
            with suppress(OSError):  # nor may the log take it
                print(f"{self.state}: not written ({error}): {state}, {reason}", flush=True)

    def write_curve(self, spec: RunSpec, points: Sequence[Point]) -> None:
        """All points so far, with the labels of the run, in one atomic step."""
        parquet.write_rows(self.curve, spec.labels(), points, CURVES)

    def write_table(self, name: str, spec: RunSpec, rows: Sequence[Any]) -> None:
        """One of degrade.store.parquet.TABLES, as a whole."""
        parquet.write_rows(self.tables[name], spec.labels(), rows, TABLES[name])

    def write_checkpoint(self, content: bytes) -> None:
        """The newest generation; the one before it stays."""
        if self.checkpoint.exists():
            self.checkpoint.replace(self.previous)
        write(self.checkpoint, content)

    @property
    def over(self) -> bool:
        """Whether it has a result that can be read."""
        return self.standing()["state"] in OVER

    def standing(self) -> dict[str, Any]:
        """read_state, but a run whose process is gone is `interrupted`, and one that cannot be read `damaged`.

        So is one with a damaged file that its checkpoint can mend. Nothing is written and no lock is taken.
        """
        state: dict[str, Any] = {}
        try:
            state = self.seen()
            if state["state"] == "new" and self.curve.exists():
                raise RunError(f"{self.state}: is not there; {AGAIN}")
            if state["state"] in OVER:
                self.check()
        except RunError as error:
            return {**state, "state": "damaged", "reason": str(error)}
        return state

    def check(self) -> None:
        """Of a run that is over: raises RunError if a file that a sweep can write anew is damaged or gone."""
        if gone := [path for path in (self.spec, self.curve) if not path.exists()]:
            raise RunError(f"{gone[0]}: is not there; {AGAIN}")
        for path in (self.spec, self.environment):
            self.read(path)
        for path in filter(Path.exists, (self.curve, self.tables["probe"])):
            parquet.check(path)

    def seen(self) -> dict[str, Any]:
        """As `standing`, but raises RunError for a state that cannot be read."""
        state = self.read_state()
        gone = state["state"] == "running" and not alive(state)
        return {**state, "state": "interrupted"} if gone else state


class Tables(NamedTuple):
    """Everything under one or more results folders."""

    runs: "pd.DataFrame"  # a row a run: its labels and state.json
    curves: "pd.DataFrame"  # degrade.spec.rows.CURVE
    responses: "pd.DataFrame"  # degrade.spec.rows.RESPONSES, with the labels of the run; so are the next two
    blocks: "pd.DataFrame"
    probe: "pd.DataFrame"
    specs: dict[str, RunSpec]  # by the name of the run

    def measured(self) -> "dict[str, pd.DataFrame]":
        """What is measured besides the curves, by the names of degrade.store.parquet.TABLES."""
        return {name: getattr(self, name) for name in TABLES}


def make_root(root: Path) -> None:
    """The results folder, before anything is trained. Raises RunError where it cannot be made or takes no files."""
    runs = files.inside(root, "runs")
    try:
        runs.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=runs).close()
    except OSError as error:
        raise RunError(f"results={root}: cannot be written ({error.strerror}); name another folder") from None


def run_dirs(root: Path) -> list[RunDir]:
    """The runs under a results folder, by name. Raises RunError if there is no such folder."""
    if not root.is_dir():
        raise RunError(f"{root}: no such results folder; run `degrade sweep results={root}` first, or name another")
    return [RunDir(root, path.parent.name) for path in sorted((root / "runs").glob("*/spec.json"))]


def find(run: str, root: Path) -> tuple[RunDir, Path]:
    """A run by its folder, its name or the beginning of it, and its results folder.

    Raises RunError if there is none, or more than one.
    """
    try:
        path = at_home(run).resolve()
    except (OSError, RuntimeError):  # a loop of links
        path = at_home(run)
    if (path / "spec.json").exists():
        return RunDir(path.parent.parent, path.name), path.parent.parent
    folders = [folder for folder in run_dirs(root) if folder.run.startswith(run)]
    if len(folders) != 1:
        said = "no run begins so" if not folders else f"{len(folders)} runs begin so, as {folders[1].run}"
        raise RunError(f"{run}: {said} in {root}; `degrade status {root}` lists them")
    return folders[0], root


def furthest(places: Iterable[tuple[RunDir, dict[str, Any]]]) -> dict[str, tuple[RunDir, dict[str, Any]]]:
    """run -> where it lies and its state; of a run in several places, the one that is further, or over."""
    found: dict[str, tuple[RunDir, dict[str, Any]]] = {}
    for folder, state in places:
        if folder.run not in found or far(state) > far(found[folder.run][1]):
            found[folder.run] = (folder, state)
    return found


def load(*roots: Path, runs: Collection[str] | None = None, measured: Collection[str] = tuple(TABLES)) -> Tables:
    """The tables of all runs under `roots`, or of those named; of a run found twice, the one that is further.

    Besides the curves only the tables in `measured` are read; the others are empty.
    Raises RunError for a folder that is not there or a file that cannot be read.
    """
    there = [run for root in roots for run in run_dirs(root) if runs is None or run.run in runs]
    found = furthest((run, run.seen()) for run in there)
    specs = {name: run.read_spec() for name, (run, _) in found.items()}
    rows = [{"outcome": "", **kept(state), **specs[name].labels()} for name, (_, state) in found.items()]
    folders = [run for run, _ in found.values()]
    read = {name: [run.tables[name] for run in folders if name in measured] for name in TABLES}
    frames = {name: gathered(read[name], schema) for name, schema in TABLES.items()}
    import pandas as pd  # here, since the processes that only write need no frames

    return Tables(pd.DataFrame(rows), gathered([run.curve for run in folders], CURVES), **frames, specs=specs)


def gathered(paths: Sequence[Path], schema: Any) -> "pd.DataFrame":
    """The rows of all these files that are there."""
    return parquet.read_all([path for path in paths if path.exists()], schema).to_pandas()


def write_json(path: Path, values: Mapping[str, Any], *, sync: bool = True) -> None:
    """With a checksum in it."""
    write(path, seal.to_json(values), sync=sync)
