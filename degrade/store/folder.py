"""The folder of one run: reads its files, writes them, and decides who may write. Never loads torch."""

import socket
import time
import warnings
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
from degrade.store import state as states
from degrade.store.belonging import check_checkpoint, check_curve, seal_files
from degrade.store.files import write
from degrade.store.holder import this_process
from degrade.store.locks import break_stale
from degrade.store.names import RunFiles
from degrade.store.parquet import AGAIN, CURVES, TABLES
from degrade.store.state import State


class RunDir(RunFiles):
    """The folder of one run."""

    @contextmanager
    def claimed(self) -> Generator[bool]:
        """True while this process alone may write here; False where another process holds the folder.

        Another process holds it by a lock, which its death frees, or by a heartbeat, on a host that no lock reaches.
        Raises FileNotFoundError where the results folder is gone: made again, it would fill a disk's mount point.
        """
        files.inside(self.root, "runs", self.run)
        if not self.path.exists():
            self.path.mkdir(exist_ok=True)
            files.sync_folder(self.path.parent)
        lock = FileLock(self.lock)
        if not self._acquire(lock):
            yield False
            return
        try:
            if self.try_read_state().elsewhere:
                yield False
                return
            for left in files.list_drafts(self.path, time.time() - states.STALE):
                left.unlink(missing_ok=True)
            yield True
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> bool:
        """Acquires the lock, unless another process holds it. A lock that is only a file is broken where the state
        names no process that lives.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # filelock's, about a file system without locks
            for last in (False, True):
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    held = (state := self.try_read_state()).name == "running" and state.alive
                    if last or held or not break_stale(lock, states.STALE):
                        return False
                else:
                    return True
        return False

    def begin(self, spec: RunSpec, environment: Mapping[str, Any]) -> None:
        """Writes the spec and the environment of a run. A run that is taken up again adds its environment.

        Writes a damaged file anew, and prints that it was damaged.
        """
        self.write_spec(spec)
        if not self.environment.exists():
            write_json(self.environment, environment)
            return
        known = self.try_read(self.environment)
        before = known["resumed"] if isinstance(known.get("resumed"), list) else []  # others may have written it
        write_json(self.environment, {**known, "format": seal.FILE_FORMAT, "resumed": [*before, environment]})

    def write_spec(self, spec: RunSpec) -> None:
        """Writes the spec, if there is none or it is damaged: a run that fails at once is listed by it."""
        if not self.spec.exists() or "damaged" in self.try_read(self.spec):
            write_json(self.spec, {"spec": spec.tree()})

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
                        self.seal_spec(self.read_state())

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
        """The run's spec. Raises RunError if there is none, this degrade does not know it, or it is another run's."""
        spec = self._parse_spec()
        if spec.run != self.run:
            raise RunError(f"{self.spec}: is the spec of another run, {spec.run}; {AGAIN}")
        return spec

    def _parse_spec(self) -> RunSpec:
        if not self.spec.exists():
            raise RunError(f"{self.spec}: is not there; {AGAIN}")
        tree = self.read(self.spec).get("spec")
        try:
            if isinstance(tree, dict):
                return parse(tree)
            reason = "describes no run"
        except SpecError as error:
            reason = str(error)
        raise RunError(f"{self.spec}: {reason}; move the run's folder away")

    def read_state(self) -> State:
        """What state.json says; a new run without a file. Raises RunError if the file cannot be read, or is another
        run's.
        """
        try:
            state = State.parse(self.read(self.state))
        except ValueError as error:
            raise RunError(f"{self.state}: {error}; move the run's folder away") from None
        if state.run not in (None, self.run):
            raise RunError(f"{self.state}: is the state of another run, {state.run}; {AGAIN}")
        return state

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
        read. The state of a run that is over gets the checksums of its files.
        """
        me = this_process()
        sign = {"host": socket.gethostname(), "pid": me.pid, "holder": str(me), "heartbeat": time.time()}
        known = replace(self.try_read_state(), seals=seal_files(self) if state.over else None)
        said = {**known.tree(), **state.tree(), "format": seal.FILE_FORMAT, "run": self.run, **sign}
        write_json(self.state, said, sync=False)

    def seal_spec(self, state: State) -> None:
        """Puts the checksum of a spec that was written anew into the state of a run that is over."""
        seals, digits = state.seals or {}, seal.read_digits(self.spec)
        if seals and seals.get(self.spec.name) != digits:
            self.write_state(replace(state, seals={**seals, self.spec.name: digits}))

    def leave(self, state: str, reason: str) -> None:
        """Writes how a run ended, unless another has taken it over. If the disk refuses, prints it instead."""
        try:
            if not self.try_read_state().others:
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
        with suppress(FileNotFoundError):  # there is none, or a host without our locks was as fast
            self.checkpoint.replace(self.previous)
        write(self.checkpoint, content)

    @property
    def over(self) -> bool:
        """Whether the run has a result that can be read."""
        return self.standing().over

    def standing(self) -> State:
        """Where the run stands: `read_state`, but `interrupted` if its process is gone.

        `damaged`, with the reason, if the state cannot be read or a file that the checkpoint can mend is damaged.
        A run that is over needs no checkpoint: one that is not its own is a reason beside its state.
        Writes nothing and takes no lock.
        """
        state = State()
        try:
            state = self.read_standing()
            if state.name == "new" and self.curve.exists():
                raise RunError(f"{self.state}: is not there; {AGAIN}")
            if not state.over and self.spec.exists():
                self.read_spec()
            if state.over:
                self.check(state)
        except RunError as error:
            return replace(state, name="damaged", reason=str(error))
        try:
            check_checkpoint(self, state)
        except RunError as error:
            return replace(state, reason=str(error))
        return state

    def check(self, state: State) -> None:
        """Checks a run that is over. Raises RunError if a file that a sweep can write anew is damaged, gone, of another
        run or of another moment.
        """
        if gone := [path for path in (self.spec, self.curve) if not path.exists()]:
            raise RunError(f"{gone[0]}: is not there; {AGAIN}")
        for path in (self.spec, self.environment):
            self.read(path)
        if (state.seals or {}).get(self.spec.name) != seal.read_digits(self.spec):
            self.read_spec()
        for path in filter(Path.exists, (self.curve, self.tables["probe"])):
            parquet.check(path)
        check_curve(self, state)

    def read_standing(self) -> State:
        """`read_state`, but `interrupted` if the process is gone. Raises RunError if the state cannot be read."""
        state = self.read_state()
        return replace(state, name="interrupted") if state.name == "running" and not state.alive else state


def write_json(path: Path, values: Mapping[str, Any], *, sync: bool = True) -> None:
    """Writes a JSON file with a checksum."""
    write(path, seal.to_json(values), sync=sync)
