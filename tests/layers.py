"""The layers of the house: which room may import which, and what the imports of today are.

A room is `errors.py`, a package of degrade/, or hydra_plugins. `python tests/layers.py` (`make layers`) prints rooms,
floors, arrows, arrows up and circles, and fails beyond the limits.
"""

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from places import ROOT

MAY = {  # room -> the rooms it may import; `errors` is open to all
    "errors": (),
    "spec": (),
    "nets": ("spec",),
    "store": ("spec",),
    "data": ("spec", "store"),
    "analysis": ("spec", "store"),
    "train": ("spec", "store", "nets", "data"),
    "figures": ("spec", "store", "analysis"),
    "views": ("spec", "store", "analysis", "figures"),
    "bench": ("spec", "store", "nets", "data", "train", "views"),
    "sweep": ("spec", "store", "data", "train", "views"),
    "experiments": ("spec", "store", "nets", "data", "train", "analysis", "figures", "views"),
    "cli": (
        *("spec", "nets", "store", "data", "analysis", "train", "figures"),
        *("views", "bench", "sweep", "experiments"),
    ),
    "hydra_plugins": ("sweep",),
}
INSIDE = {  # room -> modules that no other room imports: what its docstring does not offer
    "store": ("names",),
    "nets": ("moments", "stacks"),
    "data": ("cache", "cifar", "digits", "download", "folder", "leftovers", "mounts", "pictures", "stored", "tree"),
    "train": ("recompute", "turns"),
    "analysis": ("stats",),
    "figures": ("canvas", "constructed", "depth", "draw", "gradients", "lines", "marks", "style", "ticks"),
    "views": ("summaries", "verdicts"),
    "sweep": ("cost", "estimate", "limit", "queue", "sample", "worker"),
    "experiments": ("identity.learn",),
    "bench": ("apart", "bounds", "cases", "exact", "limit", "machine", "ours", "peer", "same", "timing"),
    "cli": (
        *("app", "bench", "complete", "doctor", "examples", "experiments", "identity", "keys"),
        *("loud", "offer", "results", "runs", "sheets", "shells", "sweeps"),
    ),
}
FRONT = "degrade"  # the package itself: __init__, __main__ and the doors; it may import all, and no room imports it
FLOORS = 8  # from errors to cli
ROOMS = len(MAY)
C = ROOT / "degrade" / "train" / "backends" / "native"
Arrows = dict[str, set[str]]  # who imports -> what


def files() -> list[Path]:
    """Every Python file of the product."""
    return sorted([*ROOT.glob("degrade/**/*.py"), *ROOT.glob("hydra_plugins/**/*.py")])


def module(path: Path) -> str:
    """degrade/nets/blocks.py -> degrade.nets.blocks; a door has the name it opens."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("__init__", "doors"))


@cache
def modules() -> dict[str, Path]:
    """Module -> its file."""
    return {module(path): path for path in files()}


def room(name: str) -> str:
    """degrade.nets.blocks -> nets; what is not in a room of degrade is its front."""
    first, *rest = name.split(".")
    if first == "hydra_plugins":
        return first
    return rest[0] if rest and rest[0] in MAY else FRONT


def imported(path: Path) -> set[str]:
    """Modules that a file imports, inside functions too: what is taken out of a package, where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules() else str(node.module) for name in whole}
    return found


@cache
def ours() -> Arrows:
    """Module -> modules of ours that it imports."""
    names = modules()
    return {
        name: {each for each in imported(path) if each.split(".")[0] in ("degrade", "hydra_plugins")} - {name}
        for name, path in names.items()
    }


def rooms() -> Arrows:
    """Room -> rooms that it imports."""
    found: Arrows = {name: set() for name in MAY}
    for name, others in ours().items():
        here = room(name)
        if here != FRONT:
            found[here] |= {room(other) for other in others} - {here}
    return found


def up(arrows: Arrows) -> list[str]:
    """Arrows that the table does not have."""
    return [
        f"{here} -> {there}"
        for here, others in arrows.items()
        for there in sorted(others)
        if there not in ("errors", *MAY[here])
    ]


def intrusions() -> list[str]:
    """Imports of what another room keeps to itself."""
    inside = {f"degrade.{name}.{module}": name for name, modules in INSIDE.items() for module in modules}
    return [
        f"{name} -> {other}"
        for name, others in ours().items()
        for other in sorted(others)
        if other in inside and room(name) not in (inside[other], FRONT)
    ]


def circle(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """One circle of arrows, its members in order; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for other in sorted(arrows.get(name, ())):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def floor(name: str, arrows: Arrows) -> int:
    """1 for a room that imports none, else one above the highest that it imports."""
    return 1 + max((floor(other, arrows) for other in arrows[name] if other in arrows), default=0)


def headers() -> Arrows:
    """C file -> files of ours that it includes."""
    paths = [*C.glob("*.h"), *C.glob("*.c")]
    return {path.name: set(re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)) for path in paths}


def main() -> int:
    """Prints the house; 1 where a limit is passed."""
    arrows = rooms()
    wrong, ring = up(arrows), circle(arrows)
    inside, included = circle(ours()), circle(headers())
    floors = {} if ring else {name: floor(name, arrows) for name in arrows}
    highest = floors.get("cli", 0)
    for level in sorted({*floors.values()}):
        print(f"floor {level}: {' '.join(sorted(name for name in floors if floors[name] == level))}")
    flat = [path.name for path in (ROOT / "degrade").glob("*.py") if not path.name.startswith("__")]
    print(f"rooms: {len(arrows)} (modules at the root: {', '.join(flat)}); floors from errors to cli: {highest}")
    print(f"arrows: {sum(map(len, arrows.values()))}; up: {len(wrong)} {', '.join(wrong)}")
    print(f"circles: rooms {ring or 'none'}, modules {inside or 'none'}, C headers {included or 'none'}")
    print(f"imports of what a room keeps to itself: {intrusions() or 'none'}")
    broken = wrong or ring or inside or included or intrusions()
    return int(bool(broken or highest > FLOORS or flat != ["errors.py"]))


if __name__ == "__main__":
    sys.exit(main())
