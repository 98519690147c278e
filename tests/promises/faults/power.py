"""Power cuts: what a sweep wrote is replayed onto a model of a disk, cut, and the sweep started again on the rest.

`python -m promises.faults power STAGE EVENT SEED` does one of them again.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias

from promises.faults import sweeps
from promises.faults.children import child, lanes, lines
from promises.faults.shim import File, Shim
from promises.faults.storage import Disk

SAID = "power: the power goes after the event: of what was not flushed, any pages and any names are lost"
SEEDS = 3  # of each event
KEPT = ("results", "user", "pictures/.degrade")  # what a sweep writes under its folder
Operation: TypeAlias = tuple[int, str, list[Any]]  # after which event, a method of Disk, its arguments


class Cut(NamedTuple):
    """A power cut after one event, and the seed of what survives."""

    event: int
    seed: int


class Recording(NamedTuple):
    """All that a sweep did to its files, and its checkpoints from the event on after which they are certain."""

    events: list[tuple[str, str]]
    operations: list[Operation]
    certain: list[tuple[int, str, int]]  # event, run, iteration


class Recorder(Shim):
    """Writes down each operation once it is done."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.operations: list[Operation] = []
        self.handles = 0

    def note(self, kind: str, *values: Any) -> None:
        self.operations.append((len(self.events) - 1, kind, [*values]))

    def below(self, path: str) -> str:
        return f"{path}{os.sep}".removeprefix(self.root).removesuffix(os.sep)

    def wrap(self, opened: Any, path: str, mode: str) -> File:
        if Path(path).is_dir():  # a temporary file without a name in it
            return super().wrap(opened, path, mode)
        self.handles += 1
        self.note("open", self.handles, self.below(path), "w" in mode)
        return Recorded(opened, path, self, self.handles)

    def os_open(self, path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        made = super().os_open(path, flags, *rest, dir_fd=dir_fd)
        nameless = flags & os.O_TMPFILE == os.O_TMPFILE
        if flags & os.O_CREAT and not nameless and dir_fd is None and (name := self.ours(path)):
            self.handles += 1
            self.note("open", self.handles, self.below(name), bool(flags & os.O_TRUNC))
        return made

    def fsync(self, file: int, *rest: Any) -> None:
        path = self.ours(file)
        super().fsync(file, *rest)
        if path:
            self.note("fsync", self.below(path))

    def replace(self, source: Any, target: Any) -> None:
        old, new = self.ours(source), self.ours(target)
        super().replace(source, target)
        if new:
            self.note("rename", self.below(old), self.below(new))

    def done(self, kind: str, path: str) -> None:
        if kind == "compile":
            self.handles += 1
            self.note("open", self.handles, self.below(path), True)
            self.note("write", self.handles, 0, Path(path).read_bytes().hex())
        if kind in ("mkdir", "unlink"):
            self.note({"mkdir": "mkdir", "unlink": "remove"}[kind], self.below(path))


class Recorded(File):
    """A file whose writes are written down with their places."""

    def __init__(self, file: Any, path: str, shim: Recorder, number: int) -> None:
        super().__init__(file, path, shim)
        self.recorder, self.number = shim, number

    def write(self, data: Any) -> int:
        at = self.file.tell()
        count = super().write(data)
        self.recorder.note("write", self.number, at, bytes(data).hex())
        return count

    def truncate(self, *_: Any) -> int:
        raise NotImplementedError("the model of a disk has no truncate of an open file")


def replay(recording: Recording, event: int) -> Disk:
    """The disk after an event."""
    disk = Disk()
    for at, kind, values in recording.operations:
        if at <= event:
            match kind:
                case "open":
                    disk.open(values[0], values[1], empty=values[2])
                case "write":
                    disk.write(values[0], values[1], bytes.fromhex(values[2]))
                case _:
                    getattr(disk, kind)(*values)
    return disk


def record(source: Path, base: Path) -> Recording:
    """An undisturbed sweep, with everything it did. Raises RuntimeError where the model ends with other files."""
    shutil.copytree(source, base)

    def work() -> str:
        shim = Recorder(base)
        certain, named = list[tuple[int, str, int]](), dict[str, int]()

        def seen(kind: str, path: str) -> None:
            place = Path(path)
            if kind == "rename" and place.name == "checkpoint.pt":
                named[str(place.parent)] = sweeps.unpack(place.read_bytes())["iteration"]
            elif kind == "fsync" and path in named:
                certain.append((len(shim.events) - 1, place.name, named.pop(path)))
            shim.done(kind, path)

        shim.seen = seen
        shim.install()
        ended = sweeps.sweep(base)
        told.write_text(json.dumps([shim.events, shim.operations, certain]))
        return ended

    told = base.with_name("recording.json")  # more than a pipe holds
    if (ended := child(work)) != (0, "done"):
        raise RuntimeError(ended[1])
    events, operations, certain = json.loads(told.read_text())
    recording = Recording([tuple(each) for each in events], operations, [tuple(each) for each in certain])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        replay(recording, len(events)).write_out(Path(folder))
        if differing := _differ(Path(folder), base):
            raise RuntimeError(f"the model of the disk has missed something: {differing}")
    return recording


def _differ(model: Path, real: Path) -> list[str]:
    found, wanted = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for kept in KEPT
            for path in (root / kept).rglob("*")
            if path.is_file() and path.name != "log.txt"  # print writes into it, and no file of Python's
        }
        for root in (model, real)
    )
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def harmed(cut: Cut, base: Path, whole: sweeps.Whole, recording: Recording) -> str:
    """What was lost by one cut; nothing, if all is as it should be."""
    replay(recording, cut.event).cut(base, Random(f"{cut.event} {cut.seed}"))
    due = {run: iteration for event, run, iteration in recording.certain if event <= cut.event}
    fault = sweeps.Fault("power", cut.event, *recording.events[cut.event])
    code, told = child(lambda: sweeps.after(fault, base, whole, due, ""))
    return f"{told} (code {code})" if code else told


def choose(stage: sweeps.Stage, step: int, seeds: int) -> list[Cut]:
    """Cuts after every `step`-th event, each with so many seeds; on the cold stage after those that make kernels."""
    cold = not (stage.source / "user").exists()
    events = stage.compiling if cold else range(len(stage.whole.events))
    return [Cut(event, seed) for event in events[::step] for seed in range(seeds)]


def survive(
    chosen: Sequence[Cut], whole: sweeps.Whole, recording: Recording, source: Path, place: Path, count: int = 2
) -> dict[Cut, str]:
    """What each cut lost, `count` at a time."""

    def lane(number: int) -> None:
        for cut in chosen[number::count]:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                base = Path(folder)
                shutil.copytree(source, base, dirs_exist_ok=True)
                wrong = harmed(cut, base, whole, recording)
            with (place / f"power-{number}").open("a") as file:
                file.write(json.dumps([cut, wrong]) + "\n")

    lanes(lane, count)
    said = [json.loads(line) for number in range(count) for line in lines(place / f"power-{number}")]
    for number in range(count):
        (place / f"power-{number}").unlink(missing_ok=True)
    return {Cut(*cut): wrong for cut, wrong in said}


def run(stages: Sequence[sweeps.Stage], place: Path, step: int, seeds: int) -> tuple[list[str], list[str]]:
    """What each cut lost, and a line about each loss, with the command that does it again."""
    wrong, told = list[str](), list[str]()
    for stage in stages:
        recording = record(stage.source, place / f"recorded-{stage.source.name}" / "base")
        for cut, lost in survive(choose(stage, step, seeds), stage.whole, recording, stage.source, place).items():
            wrong.append(lost)
            if lost:
                event = " ".join(recording.events[cut.event])
                again = f"python -m promises.faults power {stage.source.name} {cut.event} {cut.seed}"
                told.append(f"power cut after {event}: {lost}; again: {again}")
    return wrong, told


def again(place: Path, name: str, event: str, seed: str) -> str:
    """What one cut loses."""
    stage = next(each for each in sweeps.ready(place) if each.source.name == name)
    recording = record(stage.source, place / "recorded" / "base")
    base = place / "again"
    shutil.copytree(stage.source, base)
    return harmed(Cut(int(event), int(seed)), base, stage.whole, recording)
