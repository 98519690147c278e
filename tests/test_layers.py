"""The house as it stands: imports go one way, heavy libraries stay where they belong, the front is what we meant."""

import ast
import subprocess
import sys
from pathlib import Path

import layers
import pytest
from layers import FLOORS, FRONT, MAY, ROOT
from torch import nn

import degrade

ONLY = {  # third-party library -> the only rooms that may import it
    "hydra": {"sweep", "hydra_plugins"},
    "omegaconf": {"sweep", "hydra_plugins"},
    "typer": {"cli"},
    "rich": {"views"},
    "matplotlib": {"figures"},
    "pyarrow": {"store"},
    "torch": {"nets", "data", "train", "bench", "experiments", "sweep"},  # of sweep, what measures: see below
    "safetensors": {"nets"},
    "pandas": {"store", "analysis", "figures", "views", "experiments", "cli"},
    "filelock": {"store", "data", "train"},
    "scipy": {"analysis"},
    "torchvision": {"data", "bench"},
    "PIL": {"data", "bench"},
}
LIGHT = ("store", "analysis", "figures", "views", "sweep", "cli")  # rooms that leave torch out
MEASURES = "degrade.sweep.sample"  # the one module there that runs steps; imported by the process that does
FILES = layers.files()


def test_the_table_is_that_of_thirteen_rooms_and_the_plugins():
    packages = {path.parent.name for path in ROOT.glob("degrade/*/__init__.py")}
    assert packages | {"errors", "hydra_plugins"} == set(MAY)
    assert [path.name for path in ROOT.glob("degrade/[!_]*.py")] == ["errors.py"]


def test_every_import_is_in_the_table():
    assert layers.up(layers.rooms()) == []


def test_what_a_room_keeps_to_itself_no_other_imports():
    assert layers.intrusions() == []
    known = {f"degrade.{name}.{module}" for name, modules in layers.INSIDE.items() for module in modules}
    assert known <= {*layers.modules()}


def test_there_is_no_circle_of_rooms_modules_or_c_headers():
    assert layers.circle(layers.rooms()) == layers.circle(layers.ours()) == layers.circle(layers.headers()) == []


def test_there_are_at_most_eight_floors():
    arrows = layers.rooms()
    assert layers.floor("cli", arrows) <= FLOORS


def test_the_check_sees_imports_of_the_package_and_inside_functions(tmp_path):
    """It did not see `import degrade`."""
    path = tmp_path / "new.py"
    path.write_text("import degrade\ndef act():\n    from degrade.cli import app\n    from degrade import compare\n")
    found = layers.imported(path)
    assert found == {"degrade", "degrade.cli.app"}
    assert {layers.room(name) for name in found} == {FRONT, "cli"}
    wrong = {**layers.rooms(), "nets": {"spec", FRONT, "cli"}}
    assert layers.up(wrong) == ["nets -> cli", f"nets -> {FRONT}"]
    assert layers.circle(wrong)


@pytest.mark.parametrize("header", sorted(path.name for path in layers.C.glob("*.h")))
def test_each_c_header_includes_what_it_uses(header, tmp_path):
    """Alone it compiles, whatever was included before it."""
    from conftest import missing

    if why := missing("fp32"):
        pytest.skip(f"no kernels: {why}")
    (tmp_path / "alone.c").write_text(f'#include "{header}"\n')
    command = [
        "cc",
        "-std=gnu11",
        "-march=native",
        "-Werror=implicit-function-declaration",
        "-fsyntax-only",
        "-I",
        str(layers.C),
        str(tmp_path / "alone.c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=layers.module)
def test_libraries_stay_in_their_rooms(path):
    for name in layers.imported(path):
        allowed = ONLY.get(name.split(".")[0])
        assert allowed is None or layers.room(layers.module(path)) in allowed, name


@pytest.mark.parametrize("path", FILES, ids=layers.module)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 300


def test_what_only_draws_lists_and_sweeps_loads_no_torch():
    """Every module of these rooms, and what they are named by."""
    names = sorted(name for name in layers.modules() if layers.room(name) in LIGHT and name != MEASURES)
    assert "degrade.sweep.expand" in names
    code = f"import sys, importlib, degrade, degrade.train.processes; [importlib.import_module(n) for n in {names}];"
    code += "print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_what_only_draws_and_lists_does_not_load_hydra():
    rooms = ("store", "analysis", "figures", "views", "cli")
    names = sorted(n for n in layers.modules() if layers.room(n) in rooms and n != "degrade.cli.complete")
    code = f"import sys, importlib, degrade; [importlib.import_module(n) for n in {names}];"
    code += "print([m for m in ('torch', 'hydra', 'pyarrow.dataset') if m in sys.modules])"
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


def test_no_public_function_has_the_name_of_a_package():
    """Importing the package would hide it."""
    assert not set(degrade.__all__) & {path.parent.name for path in ROOT.glob("degrade/*/__init__.py")}


def test_annotations_of_the_front_are_where_the_names_are():
    """What type checkers read under TYPE_CHECKING is what is loaded on first use."""
    tree = ast.parse(Path(degrade.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name: str(node.module).removeprefix("degrade.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == degrade._HOME


def test_paths_of_an_older_version_still_open():
    """As an attribute of the package that nobody has imported yet, and imported."""
    doors = sorted(path.stem for path in ROOT.glob("degrade/doors/*.py"))
    assert len(doors) == 7
    code = (
        f"import degrade, importlib;"
        f"first = [getattr(degrade, name) for name in {doors}];"
        f"second = [importlib.import_module('degrade.' + name) for name in {doors}];"
        f"print(first == second and all(hasattr(door, name) for door in second for name in door.__all__))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


def test_documented_paths_hold_what_they_held():
    from degrade.measures import RESPONSES
    from degrade.paper import results
    from degrade.point import MEANING
    from degrade.verdicts import COLUMNS

    from degrade.nets.blocks import Residual

    assert {"summary", "reached", "verdicts", "interaction", "paper", "table6", "constructed", "left_out"} <= {*COLUMNS}
    assert len(results()) == 183
    assert MEANING["error"] == ("float64", "top-1 error, %")
    assert RESPONSES["n"] == ("int64", "images it was measured on")
    assert issubclass(Residual, nn.Module)
