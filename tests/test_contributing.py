"""What CONTRIBUTING.md tells a newcomer to add works as it stands there, and needs three files at most.

A copy of the repository gets one of each kind, from the page itself. Its commands are forked from a process that has
loaded its `degrade`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import layers
import newcomers
import pandas as pd
import pytest
from conftest import PLAIN
from places import ROOT
from processes import PATIENCE, Forked, Zygote, forked

FOLDERS = ("degrade", "hydra_plugins", "conf", "tests")
FILES = ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
SHORT = ("recipe.iterations=4", "recipe.eval_every=2", "data.train_limit=40", "data.test_limit=20", "width=2", "jobs=1")
# tests of the copy: of the toy net, and those that compare a table with something else
TESTS = (
    *("tests/nets", "tests/train/test_fit.py", "tests/train/test_recompute.py", "tests/train/test_probe.py"),
    *("tests/cli/test_complete.py", "tests/figures/test_draw.py", "tests/test_docs.py", "tests/test_layers.py"),
)
NAMED = (
    *("damped", "known_sizes", "can_be_built", "offered", "help", "every_key", "every_command"),
    *("saved_in_three_formats", "lists_what_failed", "in_the_table", "stay_short", "in_their_rooms"),
)
Command = Callable[..., tuple[Forked, str]]


def content(root: Path) -> dict[str, bytes]:
    places = [*(path for folder in FOLDERS for path in (root / folder).rglob("*")), *(root / name for name in FILES)]
    return {str(p.relative_to(root)): p.read_bytes() for p in places if p.is_file() and "__pycache__" not in p.parts}


def ruff(root: Path, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with a toy of each kind."""
    root = tmp_path_factory.mktemp("newcomers") / "copy"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("results-*"))
    for name in FILES:
        shutil.copy(ROOT / name, root / name)
    for kind in newcomers.KINDS:
        before = content(root)
        told = newcomers.add(kind, root)
        ruff(root, "check", "--fix", "--quiet", "degrade", "hydra_plugins")  # `make format`
        ruff(root, "format", "--check", "degrade", "hydra_plugins")
        after = content(root)
        changed = {path for path in after if before.get(path) != after[path]}
        assert changed == told
        assert 1 <= len(changed) <= 3, f"{kind}: {changed}"
    return root


@pytest.fixture(scope="module")
def there(copy: Path) -> dict[str, str]:
    """The environment in which `degrade` is that of the copy."""
    return {**os.environ, **PLAIN, "PYTHONPATH": str(copy)}


@pytest.fixture(scope="module")
def degrade(copy: Path, there: dict[str, str]) -> Iterator[Command]:
    """The copy's command line, in a folder beside it; the process that it was, and what it printed."""
    zygote, folder = Zygote(there), copy.parent

    def call(*words: str) -> tuple[Forked, str]:
        output = folder / "output"
        output.write_text("")
        process = forked(words, there, folder, (Path(os.devnull), output, output), zygote=zygote)
        assert process.wait(PATIENCE) == 0, output.read_text()
        return process, output.read_text()

    yield call
    zygote.process.communicate()


@pytest.fixture(scope="module")
def results(copy: Path, degrade: Command) -> Path:
    """What the commands of the toy net leave, their sweep shortened to a few steps."""
    sweep, plot = newcomers.commands("net")
    degrade(*sweep, *SHORT)
    _, said = degrade(*plot)
    assert "fig6.svg" in said
    return copy.parent / "results"


def test_the_map_is_the_table_of_layers():
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    told = {name: set(others.strip().split(", ")) - {""} for name, others in rows}
    rooms = {name: set(others) for name, others in layers.MAY.items() if name not in ("errors", "hydra_plugins")}
    assert told == rooms | {"cli": {"all of these"}}


def test_a_net_is_trained_and_drawn(results: Path):
    states = [json.loads(path.read_text()) for path in results.glob("runs/damped-A-*/state.json")]
    assert [state["state"] for state in states] == ["finished", "finished"]
    (figure,) = results.glob("figures/*/fig6.svg")
    assert "damped-A-14" in figure.read_text()


def test_a_dataset_is_trained_on_and_learned(copy: Path, degrade: Command):
    (train,) = newcomers.commands("dataset")
    degrade(*train, "results=stripes")
    (path,) = copy.parent.glob("stripes/runs/*/curve.parquet")
    curve = pd.read_parquet(path)
    assert set(curve.data) == {"stripes"}
    assert curve[curve.split == "test"].error.iloc[-1] < 10  # half of it is chance


def test_a_figure_is_drawn_and_is_in_the_help(results: Path, degrade: Command):
    (plot,) = newcomers.commands("figure")
    degrade(*plot)
    (figure,) = results.glob("figures/*/depths.svg")
    assert "test error at the last point" in figure.read_text()
    assert "depths;" in degrade("plot", "--help")[1]


def test_an_experiment_has_a_command_that_says_what_came_out(results: Path, degrade: Command):
    (command,) = newcomers.commands("experiment")
    wrong = json.loads(degrade(*command, "--json")[1])
    curve = pd.read_parquet(next(results.glob("runs/plain-8-*/curve.parquet")))
    last = curve[curve.split == "test"].iloc[-1]
    assert sum(row["images"] for row in wrong) == round(last.error * last.n / 100)
    assert degrade(*command)[1].count("\n") > 3
    assert "confusion" in degrade("--help")[1]


def test_a_launcher_trains_where_it_says(copy: Path, degrade: Command):
    (sweep,) = newcomers.commands("launcher")
    process, _ = degrade(*sweep, *SHORT, "results=in-turn", "shortcut=A", "depth=8")
    states = [json.loads(path.read_text()) for path in copy.parent.glob("in-turn/runs/*/state.json")]
    assert [(state["state"], state["pid"]) for state in states] == 2 * [("finished", process.pid)]


def test_the_suite_and_the_layers_stay_as_they_were(copy: Path, there: dict[str, str]):
    """The tests that go over the tables, with what was added."""
    layers = subprocess.run([sys.executable, "tests/layers.py"], cwd=copy, env=there, capture_output=True, text=True)
    assert layers.returncode == 0, layers.stdout
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-k", " or ".join(NAMED), *TESTS]
    done = subprocess.run(command, cwd=copy, env=there, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
