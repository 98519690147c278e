"""The folder of one run: reads its files, writes them, and decides who may write. Never loads torch."""

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
    """The folder of one run."""

    @contextmanager
    def claimed(self) -> Generator[bool]:
        """True while this process alone may write here; False where another process holds the folder.

        Another process holds it by a lock, which its death frees, or by a heartbeat, on a host that no lock reaches.
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
            if self.try_read_state().elsewhere:
                yield False
                return
            for left in self.path.glob(".*.tmp"):  # a process died while writing
                left.unlink(missing_ok=True)
            yield True
        finally:
            lock.release()

    def begin(self, spec: RunSpec, environment: Mapping[str, Any]) -> None:
        """Writes the spec and the environment of a run. A run that is taken up again adds its environment.

        Writes a damaged file anew, and prints that it was damaged. Raises RunError if the folder is another run's.
        """
        if not self.spec.exists():
            if not self.environment.exists():
                write_json(self.environment, environment)
            write_json(self.spec, {"spec": spec.tree()})
            return
        if "damaged" in self.try_read(self.spec):
            write_json(self.spec, {"spec": spec.tree()})
        elif self.read_spec().run != spec.run:
            raise RunError(f"{self.spec}: describes another run than {spec.run}; move the folder away")
        known = self.try_read(self.environment)
        before = known["resumed"] if isinstance(known.get("resumed"), list) else []  # others may have written it
        write_json(self.environment, {**known, "format": seal.FILE_FORMAT, "resumed": [*before, environment]})

    def relabel(self, label: str) -> None:
        """Gives the data of the run another name for people, which is no part of its result. A run that cannot be read
        keeps its name, and so does a run that another process holds.
        """
        with suppress(RunError):
            spec = self.read_spec()
            if spec.data.label != label:
                with self.claimed() as mine:
                    if mine:
                        write_json(self.spec, {"spec": replace(spec, data=replace(spec.data, label=label)).tree()})

    def read(self, file: Path) -> dict[str, Any]:
        """The values of a JSON file; {} without a file. Raises RunError if the file cannot be read."""
        try:
            return seal.of_json(files.read(file))
        except FileNotFoundError:
            return {}
        except NewerError as error:
            raise NewerError(f"{file}: {error}") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read ({error}); {AGAIN}") from None

    def try_read(self, file: Path) -> dict[str, Any]:
        """As `read`, but prints the reason and returns {"damaged": reason} for a file that cannot be read.

        Raises NewerError, since a newer file is not damaged.
        """
        try:
            return self.read(file)
        except NewerError:
            raise
        except RunError as error:
            print(error, flush=True)
            return {"damaged": str(error)}

    def read_spec(self) -> RunSpec:
        """The spec of the run. Raises RunError if there is none, or this degrade does not know it."""
        tree = self.read(self.spec).get("spec")
        try:
            if isinstance(tree, dict):
                return parse(tree)
            reason = "describes no run"
        except SpecError as error:
            reason = str(error)
        raise RunError(f"{self.spec}: {reason}; move the run's folder away")

    def read_state(self) -> State:
        """What state.json says; a new run without a file. Raises RunError if the file cannot be read."""
        try:
            return State.parse(self.read(self.state))
        except ValueError as error:
            raise RunError(f"{self.state}: {error}; move the run's folder away") from None

    def try_read_state(self) -> State:
        """As `read_state`, but `damaged` with the reason if the file cannot be read. Raises NewerError."""
        try:
            return self.read_state()
        except NewerError:
            raise
        except RunError as error:
            return State("damaged", reason=str(error))

    def write_state(self, state: State) -> None:
        """Writes a state with a sign of life. Values that the new state lacks stay as they were, if the old file can be
        read.
        """
        sign = {"host": socket.gethostname(), "pid": os.getpid(), "heartbeat": time.time()}
        said = {**self.try_read_state().tree(), **state.tree(), "format": seal.FILE_FORMAT, **sign}
        write_json(self.state, said, sync=False)

    def leave(self, state: str, reason: str) -> None:
        """Writes how a run ended, unless another host has taken it over. If the disk refuses, prints it instead."""
        try:
            if not self.try_read_state().elsewhere:
                self.write_state(State(state, reason=reason))
        except (OSError, RunError) as error:
            with suppress(OSError):  # the log may refuse it too
                print(f"{self.state}: not written ({error}): {state}, {reason}", flush=True)

    def write_curve(self, spec: RunSpec, points: Sequence[Point]) -> None:
        """Writes all points so far, with the labels of the run, in one atomic step."""
        parquet.write_rows(self.curve, spec.labels(), points, CURVES, spec.data.label)

    def write_table(self, name: str, spec: RunSpec, rows: Sequence[Any]) -> None:
        """Writes one of degrade.store.parquet.TABLES as a whole."""
        parquet.write_rows(self.tables[name], spec.labels(), rows, TABLES[name], spec.data.label)

    def write_checkpoint(self, content: bytes) -> None:
        """Writes the newest checkpoint. The one before it stays as `previous`."""
        if self.checkpoint.exists():
            self.checkpoint.replace(self.previous)
        write(self.checkpoint, content)

    @property
    def over(self) -> bool:
        """Whether the run has a result that can be read."""
        return self.standing().over

    def standing(self) -> State:
        """Where the run stands: `read_state`, but `interrupted` if its process is gone.

        `damaged`, with the reason, if the state cannot be read or a file that the checkpoint can mend is damaged.
        Writes nothing and takes no lock.
        """
        state = State()
        try:
            state = self.read_standing()
            if state.name == "new" and self.curve.exists():
                raise RunError(f"{self.state}: is not there; {AGAIN}")
            if state.over:
                self.check()
        except RunError as error:
            return replace(state, name="damaged", reason=str(error))
        return state

    def check(self) -> None:
        """Checks a run that is over. Raises RunError if a file that a sweep can write anew is damaged or gone."""
        if gone := [path for path in (self.spec, self.curve) if not path.exists()]:
            raise RunError(f"{gone[0]}: is not there; {AGAIN}")
        for path in (self.spec, self.environment):
            self.read(path)
        for path in filter(Path.exists, (self.curve, self.tables["probe"])):
            parquet.check(path)

    def read_standing(self) -> State:
        """`read_state`, but `interrupted` if the process is gone. Raises RunError if the state cannot be read."""
        state = self.read_state()
        return replace(state, name="interrupted") if state.name == "running" and not state.alive else state


def write_json(path: Path, values: Mapping[str, Any], *, sync: bool = True) -> None:
    """Writes a JSON file with a checksum."""
    write(path, seal.to_json(values), sync=sync)
