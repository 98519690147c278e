"""The folder of one run: what its files say, who may write, and how they are written. Never loads torch."""

import os
import socket
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from degrade.errors import NewerError, RunError, SpecError
from degrade.spec import RunSpec, parse
from degrade.spec.rows import Point
from degrade.store import files, parquet, seal
from degrade.store.files import write
from degrade.store.names import RunFiles
from degrade.store.parquet import AGAIN, CURVES, TABLES
from degrade.store.state import State


class RunDir(RunFiles):
    """The folder of one run: what is in its files, and who may write them."""

    @contextmanager
    def claimed(self) -> Generator[bool]:
        """True while this process alone may write here; False where another holds it: by its lock, which its death
        frees, or by its heartbeat, on a host that no lock reaches.
        """
        files.inside(self.root, "runs", self.run)
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            if self.known().elsewhere:
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

    def read_state(self) -> State:
        """What state.json says; a new run where there is none. Raises RunError."""
        try:
            return State.parse(self.read(self.state))
        except ValueError as error:
            raise RunError(f"{self.state}: {error}; move the run's folder away") from None

    def known(self) -> State:
        """As `read_state`, but `damaged` with the reason where that cannot be read. Raises NewerError."""
        try:
            return self.read_state()
        except NewerError:
            raise
        except RunError as error:
            return State("damaged", reason=str(error))

    def write_state(self, state: State) -> None:
        """With a sign of life. What the new state does not say stays as it was said before, if that can be read."""
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "heartbeat": time.time()}
        said = {**self.known().tree(), **state.tree(), "format": seal.FILE_FORMAT, **sign}
        write_json(self.state, said, sync=False)

    def leave(self, state: str, reason: str) -> None:
        """Writes how a run ended, unless another host has taken it over, where the disk still takes that."""
        try:
            if not self.known().elsewhere:
                self.write_state(State(state, reason=reason))
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
        return self.standing().over

    def standing(self) -> State:
        """`read_state`, but a run whose process is gone is `interrupted`, and one that cannot be read `damaged`.

        So is one with a damaged file that its checkpoint can mend. Nothing is written and no lock is taken.
        """
        state = State()
        try:
            state = self.seen()
            if state.name == "new" and self.curve.exists():
                raise RunError(f"{self.state}: is not there; {AGAIN}")
            if state.over:
                self.check()
        except RunError as error:
            return replace(state, name="damaged", reason=str(error))
        return state

    def check(self) -> None:
        """Of a run that is over: raises RunError if a file that a sweep can write anew is damaged or gone."""
        if gone := [path for path in (self.spec, self.curve) if not path.exists()]:
            raise RunError(f"{gone[0]}: is not there; {AGAIN}")
        for path in (self.spec, self.environment):
            self.read(path)
        for path in filter(Path.exists, (self.curve, self.tables["probe"])):
            parquet.check(path)

    def seen(self) -> State:
        """As `standing`, but raises RunError for a state that cannot be read."""
        state = self.read_state()
        return replace(state, name="interrupted") if state.name == "running" and not state.alive else state


def write_json(path: Path, values: Mapping[str, Any], *, sync: bool = True) -> None:
    """With a checksum in it."""
    write(path, seal.to_json(values), sync=sync)
