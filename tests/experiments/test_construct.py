"""Constructed runs: made, proved, stored, trained on."""

import json

import pytest
from conftest import tiny

import degrade
from degrade.analysis import curves
from degrade.analysis.compare import compare
from degrade.errors import RunError
from degrade.experiments.construct import construct
from degrade.experiments.trained import open_net
from degrade.spec import parse
from degrade.store import results
from degrade.store.folder import RunDir
from degrade.sweep import rerun
from degrade.train import run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A plain and a residual net of 8 layers, trained."""
    folder = tmp_path_factory.mktemp("results")
    run.run([tiny(net="plain"), tiny(net="residual")], folder)
    return folder


def made(root, net="plain", depth=14, **options):
    return construct(open_net(RunDir(root, tiny(net=net).run).path), depth, root, **options)


def test_predictions_agree_on_every_image_and_the_first_point_is_the_shallow_nets_last(root):
    built = made(root)
    assert (built.images, built.differ) == (150, 0)
    assert built.gap < 1e-3
    tables = results.load(root)
    last = curves.last_points(tables.curves).set_index(["run", "split"])
    for split in ("train_clean", "test"):
        deep, shallow = last.loc[(built.run.run, split)], last.loc[(tiny(net="plain").run, split)]
        assert (deep.iteration, deep.error, deep.n) == (0, shallow.error, shallow.n)
    assert built.folder.read_state().name == "constructed"


def test_it_is_a_run_of_its_own_that_its_spec_brings_back(root):
    built = made(root)
    stored = parse(json.loads(built.folder.spec.read_text())["spec"])
    assert stored == built.run
    assert stored.run.startswith("plain-14-w4-from8-s0-")
    assert stored.protocol == tiny(net="plain", depth=14).protocol
    assert len({stored.run, stored.group, tiny(net="plain", depth=14).run, tiny(net="plain", depth=14).group}) == 4
    assert stored.labels()["origin"] == "constructed-8"
    assert made(root).known
    assert made(root, exact=True).run.run != built.run.run


def test_copies_of_two_seeds_are_one_group_of_two_runs(root):
    run.run([tiny(net="plain", seed=1)], root)
    other = construct(open_net(RunDir(root, tiny(net="plain", seed=1).run).path), 14, root)
    assert other.run.group == made(root).run.group
    assert other.run.run != made(root).run.run


@pytest.mark.parametrize("net", ["plain", "residual"])
def test_exact_is_exact(root, net):
    assert made(root, net, 20, exact=True).gap == 0


def test_trained_on_it_begins_where_it_was_constructed_and_reruns_to_the_same_curve(root, tmp_path):
    built = made(root, "residual")
    assert run.run([built.run], root) == {built.run.run: "finished"}
    curve = results.load(root, runs=[built.run.run]).curves
    assert sorted(curve.iteration.unique()) == [0, 5, 10, 12]
    assert set(curve[curve.iteration == 0].split) == {"train_clean", "test"}
    again = RunDir(tmp_path, built.run.run)
    with pytest.raises(RunError, match="degrade construct --ckpt residual-A-8"):
        run.run([built.run], tmp_path)
    again.kept(0).write_bytes(built.folder.kept(0).read_bytes())
    run.run([built.run], tmp_path)
    assert rerun.same_curve(again.curve, built.folder.curve)


def test_another_recipe_is_another_run(root):
    slower = tiny(net="plain", recipe={"lr": 0.01})
    built = construct(open_net(RunDir(root, tiny(net="plain").run).path), 14, root, like=slower)
    assert built.run.recipe.lr == 0.01
    assert built.run.protocol == slower.protocol


def test_the_command_says_what_was_proved_and_refuses_what_cannot_be(here, degrade, root, tmp_path):
    run = str(RunDir(root, tiny(net="plain").run).path)
    done = degrade("construct", "--ckpt", run, "depth=20", "recipe.iterations=4", "--train")
    assert done.returncode == 0, done.stderr
    assert "150 predictions, all equal" in done.stdout
    assert "1 of 1 runs finished" in done.stdout
    for words, said in (
        (["--ckpt", run], "depth=8: "),
        (["--ckpt", run, "depth=15"], "depth=15: not 6n+2"),
        (["--ckpt", run, "dept=20"], "dept=20: no such key of a run; did you mean 'depth'?"),
        (["--ckpt", run, "depth=14,20"], "depth=14,20: takes one value"),
        (["--ckpt", run, "depth=14", "width=8"], "width=8: a copy has that of plain-8-w4-s0"),
        (["--ckpt", run, "depth=14", "recipe.norm=none"], "recipe.norm=none: a copy has that of"),
        (["depth=20"], "construct: a copy of which run?"),
    ):
        refused = here("construct", *words)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused.stderr
        assert refused.stderr.startswith(f"degrade: {said}")
    assert list(tmp_path.iterdir()) == []


def test_the_control_is_an_ordinary_run_of_all_steps_beside_the_copy_in_the_table(here, degrade, root):
    source = tiny(net="plain")
    words = ("construct", "--ckpt", str(RunDir(root, source.run).path), "depth=14", "recipe.iterations=6", "--control")
    done = degrade(*words)
    assert done.returncode == 0, done.stderr
    control = tiny(net="plain", depth=14, recipe={"iterations": source.recipe.iterations + 6})
    assert RunDir(root, control.run).read_state().name == "finished"
    assert control.run in done.stdout or "1 of 1 runs finished" in done.stdout
    before = RunDir(root, control.run).curve.read_bytes()
    assert "1 of 1 runs finished" in here(*words).stdout
    assert RunDir(root, control.run).curve.read_bytes() == before
    (copy,) = [
        s for s in results.load(root).specs.values() if s.origin and s.recipe.iterations == 6 and s.net.depth == 14
    ]
    frame = compare(results.load(root)).constructed
    row = frame[(frame.group == copy.group) & (frame.split == "test")].iloc[0]
    assert (row.control_runs, row.trained_runs, row.source_runs) == (1, 0, 1)


def test_it_is_there_in_python(root):
    assert degrade.construct is construct


def test_a_folder_with_nothing_but_a_constructed_net_is_drawn_and_judged(here, root, tmp_path):
    built = made(root, "residual", 20)
    alone = RunDir(tmp_path / "results", built.run.run)
    alone.path.mkdir(parents=True)
    for file in (built.folder.spec, built.folder.environment, built.folder.curve, built.folder.state):
        (alone.path / file.name).write_bytes(file.read_bytes())
    drawn = here("plot", "--figure", "constructed")
    assert (drawn.returncode, drawn.stdout.count("constructed.")) == (0, 3), drawn.stderr
    refused = here("plot", "--figure", "constructed", "--x", "epochs")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no step was done yet" in refused.stderr
    judged = here("compare", "--table", "constructed")
    assert judged.returncode == 0
    assert "residual-A-20-w4-from8" in judged.stdout
