"""Every public function that takes a path takes a string and a Path."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from PIL import Image

import degrade
from degrade.data import load as load_pictures
from degrade.data import prepare
from degrade.store.folder import RunDir

TAKING = {"DataSpec", "construct", "ensemble", "evaluate", "identity", "load", "open_net"} | {
    "plot",
    "report",
    "responses",
    "run",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("paths") / "results"
    degrade.run([tiny(), tiny(seed=1)], place)
    return place


def test_the_functions_that_take_a_path_are_these():
    """Functions whose parameters are annotated with a path, and the spec of pictures, whose root is one."""
    found = set[str]()
    for name in degrade.__all__:
        value = getattr(degrade, name)
        if inspect.isfunction(value) and "Path" in str(inspect.signature(value)):
            found.add(name)
    assert found | {"DataSpec"} == TAKING
    for name in found:
        for parameter in inspect.signature(getattr(degrade, name)).parameters.values():
            if "Path" in str(parameter.annotation):
                assert "str" in str(parameter.annotation), f"{name}: {parameter}"


@pytest.mark.parametrize("kind", [str, Path])
def test_runs_are_trained_loaded_and_opened_by_either(root, kind):
    specs = [tiny(), tiny(seed=1)]
    assert degrade.run(specs, kind(root)) == {spec.run: "finished" for spec in specs}
    assert degrade.run(specs[0], kind(root)) == {specs[0].run: "finished"}
    assert set(degrade.load(kind(root)).runs.run) == {spec.run for spec in specs}
    assert set(degrade.load(kind(root), kind(root)).runs.run) == {spec.run for spec in specs}
    assert degrade.open_net("residual-A-8-w4-s1", results=kind(root)).run == specs[1]
    assert degrade.open_net(kind(RunDir(root, specs[0].run).path)).run == specs[0]


@pytest.mark.parametrize("kind", [str, Path])
def test_nets_are_measured_and_copied_by_either(root, kind, tmp_path):
    nets = [kind(RunDir(root, tiny(seed=seed).run).path) for seed in (0, 1)]
    opened = [degrade.open_net(net) for net in nets]
    assert degrade.evaluate(nets[0]) == degrade.evaluate(opened[0])
    assert degrade.ensemble(nets) == degrade.ensemble(opened)
    assert set(degrade.responses(nets).layers.run) == {net.run.run for net in opened if net.run}
    made = degrade.construct(nets[0], 14, kind(tmp_path))
    assert made.folder.path.parent.parent == tmp_path


@pytest.mark.parametrize("kind", [str, Path])
def test_pictures_and_stacks_lie_at_either(kind, tmp_path):
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / "photos" / split / label / "0.png")
    spec = degrade.DataSpec(name="image_folder", root=kind(tmp_path / "photos"))
    assert load_pictures(prepare(spec)).train.classes == ("a", "b")
    frame = degrade.identity(net=("plain",), blocks=(1,), seeds=(0,), results=kind(tmp_path / "r"), steps=10, width=2)
    assert set(frame.net) == {"plain"}
