"""Files damaged at random: whoever reads them must notice, or find what was there before."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from promises.faults import sweeps
from promises.faults.children import child

from degrade.data.cache import Cache, Known, key_of
from degrade.errors import DataError, RunError
from degrade.spec.rows import LayerGradient, Point
from degrade.store import parquet
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES, TABLES
from degrade.store.results import run_dirs
from degrade.store.state import State
from degrade.train.checkpoint import unpack

BLOCK = 512  # bytes: a sector
KEY = key_of("pictures")


def flipped(content: bytes, draw: Random, bits: int = 1) -> bytes:
    damaged = bytearray(content)
    for _ in range(bits):
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def zeroed(content: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes(len(content[at : at + BLOCK])) + content[at + BLOCK :]


def torn(content: bytes, draw: Random) -> bytes:
    """Of another file from some byte on, as long as it was."""
    at = draw.randrange(len(content))
    return content[:at] + draw.randbytes(len(content) - at)


HARMS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bit flipped": flipped,
    "8 bits flipped": lambda content, draw: flipped(content, draw, 8),
    "cut short": lambda content, draw: content[: draw.randrange(len(content))],
    "sector zeroed": zeroed,
    "end overwritten": torn,
    "emptied": lambda content, draw: b"",
}


class Kind(NamedTuple):
    """A kind of file: one of them, and what reads it."""

    path: Path
    read: Callable[[], Any]  # raises RunError or DataError; None: was noticed, and is made again


def kinds(results: Path, cache_root: Path) -> dict[str, Kind]:
    """Every kind of file that a run or the cache of pictures has."""
    folder = next(run for run in run_dirs(results) if run.tables["probe"].exists())
    cache = Cache(cache_root)
    with cache.draft() as draft:
        for split in ("train", "test"):
            draft.add(split, iter(np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)))
        labels = {split: np.arange(4) % 2 for split in ("train", "test")}
        known = Known(draft.publish(labels, ("cat", "dog")), ("cat/bad.png",))
    cache.remember(KEY, known)
    place = cache.home / known.content

    def pictures() -> Any:
        if (found := cache.recall(KEY, partial=True)) is None:
            return None
        return found, [(i.pixels.tobytes(), i.labels.tobytes(), i.classes) for i in cache.load(found.content)]

    return {
        "checkpoint.pt": Kind(folder.checkpoint, lambda: repr(unpack(folder.checkpoint.read_bytes()))),
        "curve.parquet": table(folder.curve, CURVES),
        "probe.parquet": table(folder.tables["probe"], TABLES["probe"]),
        "spec.json": Kind(folder.spec, lambda: folder.read(folder.spec)),
        "environment.json": Kind(folder.environment, lambda: folder.read(folder.environment)),
        "state.json": Kind(folder.state, folder.read_state),
        "cache: pixels": Kind(place / "train-pixels.npy", pictures),
        "cache: labels": Kind(place / "test-labels.npy", pictures),
        "cache: about.json": Kind(place / "about.json", pictures),
        "cache: key": Kind(cache.notes / f"{KEY}.json", pictures),
    }


def table(path: Path, schema: Any) -> Kind:
    return Kind(path, lambda: parquet.read(path, schema).to_pydict())


def corrupt(kind: Kind, harm: str, count: int, draw: Random) -> Counter[str]:
    """How `count` corruptions of one file ended: noticed, same (what was read is what had been written) or lost."""
    content, before = kind.path.read_bytes(), repr(kind.read())
    ends = Counter[str]()
    for _ in range(count):
        damaged = HARMS[harm](content, draw)
        kind.path.write_bytes(damaged)
        try:
            found = kind.read()
            ends["noticed" if found is None else "same" if repr(found) == before else "lost"] += 1
        except (RunError, DataError) as error:
            ends["lost" if "\n" in str(error) else "noticed"] += 1
    kind.path.write_bytes(content)
    return ends


MENDED = ("checkpoint.pt", "curve.parquet", "probe.parquet", "spec.json", "environment.json", "state.json")


class Damage(NamedTuple):
    """One damaged file in a folder of runs that a sweep is then started on."""

    stage: str  # finished; stopped: with two generations of checkpoints
    name: str
    harm: str

    def due(self) -> bool:
        """The checkpoint of a finished run is not looked at by a sweep, but by who opens it."""
        return (self.stage, self.name) != ("finished", "checkpoint.pt")


def damages() -> list[Damage]:
    found = [Damage(stage, name, harm) for stage in ("finished", "stopped") for name in MENDED for harm in HARMS]
    return [damage for damage in found if damage.due()]


def stopped(base: Path) -> None:
    """The same, stopped at the last checkpoint but one, where there are two; raises RuntimeError if that failed."""

    def work() -> str:
        done = sweeps.sweep(base)
        for folder in (folder for folder in run_dirs(base / "results") if folder.previous.exists()):
            folder.previous.replace(folder.checkpoint)
            folder.previous.write_bytes(folder.kept(4).read_bytes())
            at, spec = unpack(folder.checkpoint.read_bytes()), folder.read_spec()
            folder.write_curve(spec, [Point(*values) for values in at["points"]])
            folder.write_table("probe", spec, [LayerGradient(*values) for values in at["probes"]])
            folder.write_state(State("interrupted", iteration=at["iteration"]))
        return done

    if (ended := child(work)) != (0, "done"):
        raise RuntimeError(ended[1])


def mended(damage: Damage, base: Path, whole: sweeps.Whole, draw: Random) -> str:
    """What is lost after a sweep on folders in which one file of each run is damaged; nothing, if all is as before."""
    for folder in run_dirs(base / "results"):
        path = folder.path / damage.name
        if path.exists() and (damage.name != "checkpoint.pt" or folder.previous.exists()):  # no other: see `due`
            path.write_bytes(HARMS[damage.harm](path.read_bytes(), draw))

    def work() -> str:
        ended = sweeps.sweep(base)
        for folder in (RunDir(base / "results", run) for run in whole.results):
            folder.check(folder.read_state())
        found = sweeps.results(base)
        return "" if ended == "done" and found == whole.results else f"{ended}: {found}, not {whole.results}"

    code, said = child(work)
    return said or (f"ended with code {code}" if code else "")


def mend(chosen: list[Damage], whole: sweeps.Whole, stages: dict[str, Path], place: Path) -> dict[Damage, str]:
    """What each damage lost."""
    draw, found = Random(1), dict[Damage, str]()
    for damage in chosen:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            shutil.copytree(stages[damage.stage], folder, dirs_exist_ok=True)
            found[damage] = mended(damage, Path(folder), whole, draw)
    return found
