"""Names of nets in tables, legends and files."""

import json
import shutil

import pytest
import torch
from conftest import tiny

from degrade.experiments.responses import responses
from degrade.experiments.trained import Sources, name_file, open_net, tell_apart
from degrade.nets import build
from degrade.spec import DataSpec, NetSpec
from degrade.store.folder import RunDir
from degrade.train.run import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    net = build(NetSpec(depth=8, width=2, shortcut="B"), channels=1, classes=10, seed=seed)
    torch.save(net.state_dict(), path)
    return str(path)


def labels(*words, **options):
    return [net.label for net in Sources(nets=words, **options).open()]


def test_files_of_one_name_are_told_apart_by_the_shortest_end_of_their_paths(place):
    one, other, far = (save(place / folder / "net.pth", k) for k, folder in enumerate(("a", "b", "c/b")))
    alike = save(place / "a" / "net.th", 3)
    assert labels(one, save(place / "else.pth")) == ["net", "else"]
    assert labels(one, other) == ["a/net", "b/net"]
    assert labels(one, other, far)[1:] == [f"{place.name}/b/net", "c/b/net"]
    assert labels(one, alike) == ["net.pth", "net.th"]
    assert labels(one, one) == ["net", "net"]
    assert not any(label.startswith("/") for label in labels(one, other, far, alike))
    assert len(set(labels(one, other, far, alike))) == 4


def test_runs_of_one_name_are_told_apart_by_hash_iteration_or_folder(place):
    runs = [tiny(engine={"keep_checkpoints": [6]}), tiny(recipe={"lr": 0.1})]
    run(runs, place / "results")
    first, second = (RunDir(place / "results", each.run) for each in runs)
    assert labels(str(first.path), str(second.path)) == [each.run for each in runs]
    assert labels(str(first.path), str(first.kept(6))) == [f"{runs[0].run}@12", f"{runs[0].run}@6"]
    shutil.copytree(place / "results", place / "copy")
    same = [f"{folder}/runs/{runs[0].run}" for folder in ("results", "copy")]
    assert labels(*same) == ["results/runs/residual-A-8-w4-s0", "copy/runs/residual-A-8-w4-s0"]


def test_two_files_of_one_name_are_two_lines_of_a_table_and_a_figure(here, place):
    words = [save(place / folder / "net.pth", k) for k, folder in enumerate(("a", "b"))]
    done = here("responses", *words, "data=digits", "data.test_limit=20", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["responses"]
    assert [row["group"].rpartition("-")[0] for row in rows] == ["a/net", "b/net"]
    assert all(row["rests_on"].startswith("scale: the mean image of the training set of the pictures") for row in rows)
    text = (place / "out" / "foreign" / "fig7-a-net+b-net.svg").read_text()
    assert "residual-B-8 (a/net)" in text
    assert "residual-B-8 (b/net)" in text
    assert str(place) not in done.stdout


def test_figures_of_named_nets_leave_the_figures_of_the_folder_alone(here, place):
    run([tiny(), tiny(net="plain")], place / "results")
    assert here("responses").returncode == 0
    folder = place / "results" / "figures" / tiny().protocol
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "fig7.png" in before
    assert here("responses", "residual-A-8-w4-s0").returncode == 0
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        f"{figure}-residual-A-8-w4-s0.{kind}" for figure in ("fig7", "blocks") for kind in ("png", "svg", "pdf")
    }


def test_many_nets_have_a_short_file_name_of_their_own(place):
    nets = [open_net(save(place / f"a-rather-long-name-of-a-net-{k}.pth", k)) for k in range(4)]
    names = {name_file(nets), name_file(nets[:3]), name_file(nets[1:])}
    assert len(names) == 3
    assert max(map(len, names)) <= 70


def test_python_tells_files_of_one_name_apart_too(place):
    words = [save(place / folder / "net.pth", k) for k, folder in enumerate(("a", "b"))]
    asked = DataSpec(name="digits", test_limit=20)
    layers = responses(words, asked=asked).layers
    assert sorted(layers.run.str.rpartition("-")[0].unique()) == ["a/net", "b/net"]
    assert [net.label for net in tell_apart([open_net(words[0])])] == ["net"]
