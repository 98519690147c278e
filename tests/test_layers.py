"""The house as it stands: imports go one way, heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import degrade

ROOT = Path(__file__).parent.parent
LAYERS = [
    ["errors", "escape"],
    ["spec", "origin", "checked", "point", "measures", "files", "sheets", "packs", "seal", "states"],
    ["nets", "data", "curves", "deviations", "environment", "parquet", "trial", "stats", "paper"],
    ["train", "store", "figures", "prices"],
    ["journal", "composition"],
    ["experiment", "trained", "samples", "screen", "clean", "verdicts", "evaluation", "bench"],
    ["serving"],
    ["solution", "sweep", "workers", "tables", "plan"],
    ["anatomy", "overrides", "launch", "complete", "reruns", "solvers"],
    ["analyses"],
    ["cli", "hydra_plugins", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MAY = {
    ("packs", "spec"),
    ("spec", "checked"),
    ("spec", "origin"),
    ("origin", "checked"),
    ("states", "checked"),
    ("states", "point"),
    ("launch", "reruns"),
    ("plan", "workers"),
    ("evaluation", "trained"),
    ("bench", "experiment"),
    ("__main__", "cli"),
}  # within a layer
ONLY = {  # third-party library -> the only rooms that may import it
    "hydra": {"composition", "sweep", "launch", "hydra_plugins"},
    "omegaconf": {"composition", "sweep", "launch", "hydra_plugins"},
    "typer": {"cli"},
    "rich": {"screen"},
    "matplotlib": {"figures"},
    "pyarrow": {"parquet"},
    "torch": {
        *("nets", "data", "train", "environment", "journal", "experiment", "samples"),
        *("trained", "evaluation", "solution", "anatomy", "bench"),
    },
    "safetensors": {"nets"},
    "pandas": {"analyses", "cli", "curves", "figures", "solvers", "store", "tables", "anatomy", "paper", "verdicts"},
    "filelock": {"store", "data", "train"},
    "scipy": {"stats"},
    "torchvision": {"data", "bench"},
    "PIL": {"data", "bench"},
}
FILES = sorted([*ROOT.glob("degrade/**/*.py"), *ROOT.glob("hydra_plugins/**/*.py")])


def room(path: Path) -> str:
    """The module or folder a file belongs to: nets/blocks.py -> nets."""
    inner = path.relative_to(ROOT).parts
    return inner[0] if inner[0] == "hydra_plugins" else inner[1].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "degrade" else {module}
    return found


@pytest.mark.parametrize("path", [f for f in FILES if f != ROOT / "degrade" / "__init__.py"], ids=lambda p: p.stem)
def test_imports_go_down(path):
    here = room(path)
    assert here in LEVEL, f"{here} has no place in the layers"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in ("degrade", "hydra_plugins") and len(parts) > 1 and parts[1] in LEVEL:
            there = parts[1] if parts[0] == "degrade" else "hydra_plugins"
            assert there == here or (here, there) in MAY or LEVEL[there] < LEVEL[here], f"{here} imports {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_libraries_stay_in_their_rooms(path):
    for name in imports(path):
        allowed = ONLY.get(name.split(".")[0])
        assert allowed is None or room(path) in allowed, f"{room(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 300


def test_what_only_draws_and_lists_loads_neither_torch_nor_hydra():
    code = (
        "import sys, degrade.cli, degrade.figures, degrade.store, degrade.tables, degrade.workers;"
        "import degrade.verdicts.writing;"
        "print([m for m in ('torch', 'hydra', 'pyarrow.dataset') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_help_loads_almost_nothing():
    heavy = ("torch", "hydra", "pandas", "numpy", "rich", "pydantic")  # the last two double what it takes
    code = (
        "import atexit, sys, degrade.cli; sys.argv = ['degrade', '--help'];"
        f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules]));"
        "degrade.cli.main()"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).endswith("\n[]\n")


def test_public_names_are_what_we_meant():
    assert sorted(degrade.__all__) == degrade.__all__ == sorted(degrade._HOME)
    for name in degrade.__all__:
        assert getattr(degrade, name).__name__ == name
    with pytest.raises(AttributeError, match="nope"):
        degrade.nope  # noqa: B018
