"""What docs/inside.md says is what happens."""

import re
import shlex

import numpy as np
import pytest
import torch
from conftest import tiny
from places import ROOT

from degrade import data, figures
from degrade.data.images import Images, fingerprint
from degrade.experiments.known import KNOWN
from degrade.nets import build
from degrade.spec import NetSpec
from degrade.train.run import run

PAGE = (ROOT / "docs" / "inside.md").read_text()
COMMANDS = [
    line for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in text.splitlines() if line.strip()
]
SHORT = {  # commands that train: on less
    "sweep": ["depth=8", "net=plain", "recipe=smoke", "recipe.iterations=2", "data.train_limit=40", "jobs=1"],
}
WIDE = {"width": 16, "data": {"train_limit": 40, "test_limit": 20}, "recipe": {"iterations": 2, "eval_every": 2}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The runs and files that the page names, and small pictures for CIFAR-10."""
    runs = [tiny(**WIDE, net="plain", depth=20, seed=seed) for seed in range(3)]
    run([*runs, tiny(**WIDE, net="plain", depth=56)], tmp_path / "results")
    for name, net, wrap in (("resnet20", "residual", True), ("plain20", "plain", False)):
        state = build(NetSpec(net=net, depth=20), channels=3, classes=10).state_dict()
        theirs = {"state_dict": {f"module.{key}": value for key, value in state.items()}, "best_prec1": 91.7}
        torch.save(theirs if wrap else state, tmp_path / f"{name}.th")
    draws = np.random.default_rng(0)
    names = tuple(f"class {k}" for k in range(10))
    pair = [Images(draws.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10, names) for n in (20, 10)]
    few = data.Dataset(lambda *_: fingerprint(*pair), lambda spec: (pair[0], pair[1]), size=32, channels=3, classes=10)
    monkeypatch.setitem(data.DATASETS, "cifar10", few)
    monkeypatch.setattr(figures, "FORMATS", ("svg",))  # the fastest
    return tmp_path


def test_the_commands_of_the_page_work_as_written(here, place):
    assert len(COMMANDS) >= 9
    for line in COMMANDS:
        _, command, *words = shlex.split(line)
        done = here(command, *words, *SHORT.get(command, []))
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_the_sources_that_as_knows_are_on_the_page_with_their_numbers():
    rows = dict(re.findall(r"^\| `(\w+)` \| \S+/\S+ \| (.*) \|$", PAGE, re.MULTILINE))
    assert list(rows) == list(KNOWN)
    for name, known in KNOWN.items():
        row = rows[name]
        row = row.replace("as `bearpaw`", rows["bearpaw"]).replace("as `akamaster`", rows["akamaster"])
        for numbers in known.normalize.values():
            halves = (", ".join(f"{value:g}" for value in part) for part in (numbers[:3], numbers[3:]))
            assert "mean {}, deviation {}".format(*halves) in row
        assert (known.pad is None) == ("pad=" not in rows[name])
