"""A whole small sweep, harmed at one file event; then started again, it must end as an undisturbed one does."""

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from promises.faults.children import child, lanes, lines
from promises.faults.shim import FILLS, HARMS, KILLED, Shim

from degrade import data
from degrade.errors import DegradeError
from degrade.spec import RunSpec, parse
from degrade.spec.rows import TIMINGS
from degrade.store import parquet, state
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES, TABLES
from degrade.store.results import make_root, run_dirs
from degrade.store.state import OVER
from degrade.sweep import worker
from degrade.train import environment, run
from degrade.train.backends.native import check
from degrade.train.checkpoint import unpack

LIBRARIES = ("torch", "PIL", "pyarrow", "numpy", "degrade", "filelock")  # whose modules are loaded on the way
REFUSED = "refused: "  # how the report of a sweep begins that ended with an error of one line
SPEC: dict[str, Any] = {
    "depth": 8,
    "width": 2,
    "data": {"name": "image_folder", "size": 8, "train_limit": 12},
    "recipe": {"iterations": 7, "eval_every": 3, "augment": "crop", "clean_images": 8},
    "engine": {"device": "cpu", "checkpoint_every": 2, "keep_checkpoints": [4], "probe": 3},
}


class Fault(NamedTuple):
    """One harm at one event."""

    harm: str
    at: int
    kind: str
    path: str


class Whole(NamedTuple):
    """An undisturbed sweep: its events, its results, and after which event which checkpoint was there."""

    events: list[tuple[str, str]]
    results: dict[str, str]
    saved: list[tuple[int, str, int]]  # event, run, iteration

    def due(self, at: int) -> dict[str, int]:
        """run -> the iteration of the newest checkpoint that was whole before an event."""
        return {run: iteration for event, run, iteration in self.saved if event < at}


def pictures(folder: Path, train: int = 6, test: int = 3, size: int = 8) -> None:
    """Two classes of noise as PNG, so many of each."""
    noise = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 256, (size, size, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")


COMPILER = """#!/bin/sh
# the compiler, which is asked once; then what it made is copied
for word; do [ "$before" = -o ] && made=$word; before=$word; done
[ -z "$made" ] || [ ! -e {kept} ] || exec cp {kept} "$made"
{compiler} "$@" || exit
[ -z "$made" ] || cp "$made" {kept}
"""


def keep_compiled(place: Path) -> None:
    """From now on the kernels are compiled once, though every sweep has a cache of its own."""
    compiler, wrapper = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc"), place / "cc"
    if compiler:
        wrapper.write_text(COMPILER.format(compiler=compiler, kept=place / "kept.so"))
        wrapper.chmod(0o755)
        os.environ["CC"] = str(wrapper)


def steady() -> None:
    """The same file events at each training, however quick the machine is."""
    torch.set_num_threads(1)
    run.TURN, state.BEAT = 0.0, float("inf")  # one step a turn
    environment.find_commit = lambda: None  # two processes of git
    check.measure_speed = lambda precision: 2.0  # on a busy machine another backend might be faster for a moment


def specs(base: Path) -> list[RunSpec]:
    tree = {**SPEC, "data": {**SPEC["data"], "root": str(base / "pictures")}}
    bare = {**SPEC["engine"], "probe": 0, "checkpoint_every": "60s", "keep_checkpoints": []}  # one, at the end
    asked = [parse(tree), parse({**tree, "net": "plain", "engine": bare})]
    return [replace(spec, data=data.prepare(spec.data)) for spec in asked]


def sweep(base: Path) -> str:
    """Prepares the pictures and trains what is missing, as the command and its workers do; the error if it says one."""
    steady()
    os.environ["XDG_CACHE_HOME"] = str(base / "user")
    results, unsaid = base / "results", ""
    try:
        wanted = specs(base)
        make_root(results)
        for spec in wanted:
            report = worker.work([spec], results, lambda: False, "degrade sweep")
            if report.reason and RunDir(results, spec.run).try_read_state().name not in ("failed", *OVER):
                unsaid = f"{REFUSED}{report.reason}"  # the parent says it, where the folder cannot
    except DegradeError as error:
        return f"{REFUSED}{error}"
    return unsaid or "done"


def results(base: Path) -> dict[str, str]:
    """run -> a digest of its curve, timings aside, what its probe saw, and its weights."""
    found: dict[str, str] = {}
    for folder in run_dirs(base / "results"):
        total = hashlib.sha256(repr(rows(folder.curve, CURVES)).encode())
        if folder.tables["probe"].exists():
            total.update(repr(rows(folder.tables["probe"], TABLES["probe"])).encode())
        for path in filter(Path.exists, (folder.checkpoint, folder.kept(4))):
            for name, value in unpack(path.read_bytes())["net"].items():
                total.update(name.encode() + value.numpy().tobytes())
        found[folder.run] = f"{folder.read_state().name} {total.hexdigest()}"
    return found


def rows(path: Path, schema: Any) -> dict[str, list[Any]]:
    return {n: v for n, v in parquet.read(path, schema).to_pydict().items() if n not in TIMINGS}


def undisturbed(base: Path) -> Whole:
    """The sweep with all its events written down, in a child of its own."""

    def work() -> str:
        shim = Shim(base)
        saved: list[tuple[int, str, int]] = []

        def seen(kind: str, path: str) -> None:
            if kind == "rename" and path.endswith("/checkpoint.pt"):
                place = Path(path)
                saved.append((len(shim.events) - 1, place.parent.name, unpack(place.read_bytes())["iteration"]))

        shim.seen = seen
        shim.install()
        assert sweep(base) == "done"
        loaded = [name for name in sys.modules if name.split(".")[0] in LIBRARIES]
        return json.dumps([shim.events, results(base), saved, loaded])

    code, said = child(work)
    if code:
        raise RuntimeError(said)
    events, found, saved, loaded = json.loads(said)
    for name in loaded:  # so that the children to come have them
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return Whole([tuple(event) for event in events], found, [tuple(each) for each in saved])


def faults(whole: Whole) -> Iterator[Fault]:
    """Each harm at each event where it is one."""
    for harm in HARMS:
        for at, (kind, path) in enumerate(whole.events):
            if (harm != "torn" or kind == "write") and (harm != "ENOSPC" or kind in FILLS):
                yield Fault(harm, at, kind, path)


def harmed(fault: Fault, base: Path, whole: Whole) -> str:
    """What was lost by one fault; nothing, if all is as it should be."""

    def hit() -> str:
        Shim(base, fault.at, fault.harm).install()
        return sweep(base)

    def hit_again() -> str:
        Shim(base, Random(fault.at).randrange(len(whole.events)), "kill").install()
        return sweep(base)

    code, said = child(hit)
    fatal = fault.harm not in ("ENOSPC", "EIO")
    if fault.harm == "twice" and code == KILLED:
        code, said = child(hit_again)
        fatal = code != 0  # a sweep that goes on has fewer events
    if code != (KILLED if fatal else 0) or "\n" in said:
        return f"ended with code {code}: {said}"
    code, told = child(lambda: after(fault, base, whole, whole.due(fault.at), said))
    return f"{told} (code {code})" if code else told


def after(fault: Fault, base: Path, whole: Whole, due: dict[str, int], said: str) -> str:
    """What is wrong with what the fault left, or with what starting again makes of it.

    `due`: run -> the iteration of a checkpoint that must be there.
    """
    wrong = left(fault, base, due, said)
    if wrong:
        return wrong
    if (ended := sweep(base)) != "done":
        return f"starting again: {ended}"
    if (found := results(base)) != whole.results:
        return f"other results: {found}, not {whole.results}"
    stray = [path for path in base.rglob("*") if path.name.endswith(".tmp") or path.name == "draft"]
    return f"left behind: {stray}" if stray else ""


def left(fault: Fault, base: Path, due: dict[str, int], said: str) -> str:
    """Every file opens, the newest checkpoint is there, and an error has been said or written where it can be."""
    folders = [RunDir(base / "results", path.name) for path in (base / "results" / "runs").glob("*")]
    for folder in folders:
        for path, schema in ((folder.curve, CURVES), (folder.tables["probe"], TABLES["probe"])):
            if path.exists():
                parquet.read(path, schema)
        for path in (folder.spec, folder.environment):
            folder.read(path)
        if fault.harm != "power":  # state.json, written at each point, is not synced
            folder.read_state()
        there = [unpack(path.read_bytes())["iteration"] for path in folder.checkpoints if path.exists()]
        if max(there, default=0) < due.get(folder.run, 0):
            return f"{folder.run}: checkpoints {there}, where {due[folder.run]} was written"
    known = [folder.try_read_state() for folder in folders]
    told = said.startswith(REFUSED) or any(each.name == "failed" and each.reason for each in known)
    all_done = len(known) == 2 and all(each.name == "finished" for each in known)
    if fault.harm in ("EIO", "ENOSPC") and not told and not all_done:
        return f"nobody said what failed: {said} {known}"
    return ""


def survive(chosen: Sequence[Fault], whole: Whole, source: Path, place: Path, count: int = 2) -> dict[Fault, str]:
    """What each fault lost, `count` at a time."""

    def lane(number: int) -> None:
        for fault in chosen[number::count]:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                base = Path(folder)
                shutil.copytree(source, base, dirs_exist_ok=True)
                wrong = harmed(fault, base, whole)
            with (place / f"lane-{number}").open("a") as file:
                file.write(json.dumps([fault, wrong]) + "\n")

    lanes(lane, count)
    said = [json.loads(line) for number in range(count) for line in lines(place / f"lane-{number}")]
    for number in range(count):
        (place / f"lane-{number}").unlink(missing_ok=True)
    return {Fault(*fault): wrong for fault, wrong in said}


class Stage(NamedTuple):
    """A folder that sweeps start from, and the undisturbed one, which ran in `base`."""

    source: Path
    base: Path
    whole: Whole

    @property
    def compiling(self) -> list[int]:
        """The events that make kernels."""
        return [at for at, (_, path) in enumerate(self.whole.events) if "/kernels" in path]


def ready(place: Path) -> tuple[Stage, Stage]:
    """Two beginnings: pictures alone; and pictures with kernels that are compiled and checked, which saves a second."""
    place.mkdir(parents=True, exist_ok=True)
    keep_compiled(place)
    cold, warm = place / "cold", place / "warm"
    pictures(cold / "pictures")
    first = begin(cold, place / "whole-cold")
    shutil.copytree(cold, warm)
    shutil.copytree(first.base / "user" / "degrade" / "kernels", warm / "user" / "degrade" / "kernels")
    return first, begin(warm, place / "whole")


def begin(source: Path, base: Path) -> Stage:
    shutil.copytree(source, base)
    return Stage(source, base, undisturbed(base))
