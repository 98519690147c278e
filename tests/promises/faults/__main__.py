"""`make faults`: all of them, and a table by kind. Exit code 1 if anything was lost.

`python -m promises.faults 67` does every 67th fault of file events and corruptions, as `make test` does, and no more.
KILLS is how many sweeps are killed, 40 unless the environment has another number.
"""

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from promises.faults import corruptions, kills, many, power, shim, sweeps, tested

EACH = 250  # random corruptions of each kind of file by each harm
KILLS = int(os.environ.get("KILLS", "40"))
RUNS = 2000  # finished ones in one folder
SWEPT = 200  # in one sweep
MEMORY = Path("/dev/shm")  # a disk that syncs at once, where there is one: what a fault loses is the shim's to say

Row = tuple[str, int, int]  # kind, faults, lost


def row(kind: str, wrong: list[str]) -> Row:
    return kind, len(wrong), sum(map(bool, wrong))


def events(stages: Sequence[sweeps.Stage], place: Path, step: int) -> tuple[list[Row], list[str]]:
    """Each harm at each `step`-th event; of the stage that compiles, at those that make kernels."""
    found: list[tuple[sweeps.Fault, str]] = []
    for stage in stages:
        chosen = list(sweeps.faults(stage.whole))
        if stage is stages[0]:
            chosen = [fault for fault in chosen if fault.at in stage.compiling]
        found += sweeps.survive(chosen[::step], stage.whole, stage.source, place).items()
    rows = [row(f"{harm}: {said}", [w for f, w in found if f.harm == harm]) for harm, said in shim.HARMS.items()]
    cut, told = power.run(stages, place, step, 1 if step > 1 else power.SEEDS)
    lost = [f"{' '.join(map(str, fault))}: {wrong}" for fault, wrong in found if wrong]
    return [*rows, row(power.SAID, cut)], [*lost, *told]


def files(base: Path, place: Path, each: int) -> tuple[list[Row], Counter[str]]:
    """Random corruptions of every kind of file, each read at once."""
    rows: list[Row] = []
    ends, draw = Counter[str](), Random(0)
    for name, kind in corruptions.kinds(base / "results", place / "cache").items():
        of_kind = Counter[str]()
        for harm in corruptions.HARMS:
            of_kind += corruptions.corrupt(kind, harm, each, draw)
        rows.append((f"corrupted, then read: {name}", of_kind.total(), of_kind["lost"]))
        ends += of_kind
    return rows, ends


def restarts(whole: sweeps.Whole, place: Path, chosen: list[corruptions.Damage]) -> tuple[list[Row], list[str]]:
    """A damaged file in every run of a folder, then a sweep."""
    stages = {"finished": place / "whole", "stopped": place / "stopped"}
    shutil.copytree(stages["finished"], stages["stopped"])
    corruptions.stopped(stages["stopped"])
    found = corruptions.mend(chosen, whole, stages, place)
    rows = [
        row(f"corrupted, then swept: {name}", [w for d, w in found.items() if d.name == name])
        for name in corruptions.MENDED
    ]
    return rows, [f"{' '.join(damage)}: {wrong}" for damage, wrong in found.items() if wrong]


def sampled(place: Path, step: int) -> tuple[list[Row], list[str]]:
    """File events and corruptions."""
    stages = sweeps.ready(place)
    whole = stages[1].whole
    compiling = len(stages[0].compiling)
    print(f"a sweep of two runs: {len(whole.events)} file events, and {compiling} that make kernels", flush=True)
    harmed, lost = events(stages, place, step)
    swept, also = restarts(whole, place, corruptions.damages()[:: -(-step // 6)])
    read, ends = files(place / "whole", place, max(5, EACH // step))
    print(f"read after corruption: {ends['noticed']:,} noticed, {ends['same']:,} harmless, {ends['lost']:,} lost")
    return [*harmed, *swept, *read], [*lost, *also]


def killed(place: Path) -> tuple[list[Row], list[str]]:
    """kill -9 of real sweeps."""
    found = kills.campaign(place, KILLS)
    rows = [row(f"kill -9: {victim}", wrong) for victim, wrong in kills.by_victim(found).items()]
    return rows, [f"{moment}: {wrong}" for moment, wrong in found if wrong]


def others() -> tuple[list[Row], list[str]]:
    """What pytest holds."""
    rows, lost = list[Row](), list[str]()
    for group in tested.GROUPS:
        count, wrong = tested.run(group)
        rows.append((group.said, count, len(wrong)))
        lost += wrong
    return rows, lost


def load(place: Path) -> list[str]:
    """Prints what many runs cost; returns what is beyond its limit."""
    many.finished(place / "finished", RUNS)
    took = {command: many.seconds(command, place / "finished") for command in many.LIMITS}
    first, last = many.of_parent(place / "swept", SWEPT)
    growth = last.megabytes - first.megabytes
    said = ", ".join(f"{command} {took[command]:.1f} s (at most {limit:.0f})" for command, limit in many.LIMITS.items())
    print(f"{RUNS:,} finished runs: {said}")
    print(f"parent of a sweep of {SWEPT} runs: {growth:+.1f} MB, {last.files - first.files:+d} open files")
    beyond = [
        f"{command} took {took[command]:.1f} s" for command, limit in many.LIMITS.items() if took[command] > limit
    ]
    return beyond + (["the parent grew"] if growth > many.GROWTH or last.files > first.files else [])


def table(rows: list[Row]) -> str:
    width = max(len(row[0]) for row in rows)
    lines = [f"{kind:<{width}}  {count:>6,}  {count - lost:>8,}  {lost:>4,}" for kind, count, lost in rows]
    return "\n".join([f"{'':<{width}}  faults  survived  lost", *lines])


def main(step: int = 1) -> int:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        place = Path(folder)
        rows, lost = sampled(place / "events", step)
        if step == 1:
            for more, also in (killed(place / "kills"), others()):
                rows += more
                lost += also
    print(table(rows))
    if step == 1:
        with tempfile.TemporaryDirectory() as folder:  # on a disk, as a user's
            lost += load(Path(folder))
    print(f"{time.monotonic() - begun:.0f} s")
    for line in lost:
        print("lost:", line)
    return int(bool(lost))


def repeat(*words: str) -> int:
    """One power cut again."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        lost = power.again(Path(folder), *words)
    print(lost or "nothing lost")
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(repeat(*sys.argv[2:]) if sys.argv[1:2] == ["power"] else main(*map(int, sys.argv[1:])))
