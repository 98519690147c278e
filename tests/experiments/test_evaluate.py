import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny

from degrade import data
from degrade.cli import main
from degrade.errors import RunError, SpecError
from degrade.experiments.evaluate import ensemble, evaluate
from degrade.experiments.trained import open_net, pictures
from degrade.spec import DataSpec
from degrade.store.folder import RunDir
from degrade.train.run import run

RECIPE = {"iterations": 40, "eval_every": 20, "clean_images": 30}
EAGER: dict = {"recipe": RECIPE, "engine": {"backend": "eager"}}
SPECS = [
    tiny(**EAGER, data={"validation": 20}),
    tiny(**EAGER, data={"validation": 20}, seed=1),
    tiny(**EAGER, data={"validation": 20, "normalize": "channel"}, net="plain", seed=2),
    tiny(recipe=RECIPE, engine={"backend": "auto"}, seed=3),
    tiny(recipe=RECIPE, engine={"backend": "eager", "precision": "bf16"}, seed=4),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "results"
    run(SPECS, path)
    return path


@pytest.fixture(scope="module")
def members(root):
    return [open_net(RunDir(root, spec.run).path) for spec in SPECS[:3]]


@pytest.mark.parametrize("which", range(3))
def test_a_runs_last_measured_errors_and_losses_come_out_again_to_the_bit(root, members, which):
    curve = pd.read_parquet(RunDir(root, SPECS[which].run).curve)
    last = curve[curve.iteration == 40].set_index("split")
    for split, name in {"train": "train_clean", "test": "test", "val": "val"}.items():
        found = evaluate(members[which], split=split)
        assert (found.loss, found.error, found.n) == tuple(last.loc[name, ["loss", "error", "n"]])
        assert (found.label, found.iteration, found.split) == (members[which].label, 40, split)
    assert not members[which].net.training
    assert not {p.device.type for p in members[which].net.parameters()} - {"cpu"}


def test_those_of_a_run_on_compiled_kernels_but_for_rounding(root):
    curve = pd.read_parquet(RunDir(root, SPECS[3].run).curve)
    last = curve[curve.iteration == 40].set_index("split")
    found = evaluate(open_net(RunDir(root, SPECS[3].run).path))
    assert found.loss == pytest.approx(last.loss["test"], rel=1e-5)
    assert found.error == pytest.approx(last.error["test"], abs=2)  # one image of fifty


def test_those_of_a_run_in_bfloat16_in_bfloat16(root):
    curve = pd.read_parquet(RunDir(root, SPECS[4].run).curve)
    last = curve[curve.iteration == 40].set_index("split")
    found = evaluate(open_net(RunDir(root, SPECS[4].run).path))
    assert (found.loss, found.error) == tuple(last.loc["test", ["loss", "error"]])


def test_the_error_on_other_pictures_is_the_share_of_wrong_ones(members):
    asked = DataSpec(name="digits")
    found = evaluate(members[0], asked)
    _, test, _ = data.load(data.prepare(asked))
    mean = pictures(members[0]).scale.mean
    with torch.no_grad():
        said = members[0].net(torch.from_numpy(test.pixels).float() / 255 - mean).argmax(1).numpy()
    assert (found.n, found.error) == (360, 100 * np.sum(said != test.labels) / 360)
    assert found.error != evaluate(members[0], DataSpec(name="digits", normalize="channel"), given_scale=True).error


def test_an_ensemble_is_the_mean_of_softmaxes_beside_its_members(members):
    found = ensemble(members)
    assert list(found.members) == [evaluate(each) for each in members]
    total = np.zeros((50, 10))
    for each in members:
        x, y = pictures(each).resident("test", torch.device("cpu")).clean(slice(None))
        with torch.no_grad():
            logits = each.net(x).double().numpy()
        share = np.exp(logits - logits.max(1, keepdims=True))
        total += share / share.sum(1, keepdims=True) / len(members)
    assert found.together.error == 100 * np.sum(total.argmax(1) != y.numpy()) / 50
    assert found.together.loss == pytest.approx(-np.log(total[np.arange(50), y.numpy()]).mean(), rel=1e-4)
    assert found.together.label == "ensemble of 3"


def test_a_net_twice_is_the_net_once(members):
    found = ensemble([members[0], members[0]], split="train")
    assert found.together.error == found.members[0].error
    assert found.together.loss == pytest.approx(found.members[0].loss, rel=1e-6)


def test_members_with_other_pictures_are_one_only_on_pictures_that_are_named(tmp_path, members):
    other = tiny(data={"test_limit": 40})
    run([other], tmp_path)
    mixed = [members[0], open_net(RunDir(tmp_path, other.run).path)]
    with pytest.raises(RunError, match="different pictures; say on which to measure, by data="):
        ensemble(mixed)
    assert ensemble(mixed, DataSpec(name="digits")).together.n == 360
    with pytest.raises(RunError, match="two nets or more"):
        ensemble(members[:1])
    with pytest.raises(SpecError, match="--split=dev"):
        ensemble(members, split="dev")


def test_threads_are_as_they_were_after_an_evaluation(members):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    evaluate(members[0])
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def call(monkeypatch, capsys, *arguments):
    """Runs a command in this process, since starting one takes longer than all else here. Returns what it prints."""
    monkeypatch.setattr("sys.argv", ["degrade", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capsys.readouterr()


def test_the_commands_print_what_python_returns(root, members, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root.parent)
    torch.save(members[0].net.state_dict(), tmp_path / "theirs.pt")
    keys = ["data=digits", "data.train_limit=100", "data.validation=20", "data.test_limit=50"]
    both = ["--ckpt", "residual-A-8-w4-s0", f"{tmp_path / 'theirs.pt'}:net=residual,pad=after"]
    code, said = call(monkeypatch, capsys, "evaluate", *both, *keys, "--json")
    assert code == 0, said.err
    ours, theirs = json.loads(said.out)
    assert ours == asdict(evaluate(members[0]))
    rests = {
        "scale": "the mean image of the training set of the pictures (measured: its BN statistics agree)",
        "classes": "by position (the file has no names of classes)",
        "assumed": "residual net (said); pad=after (said); batch norm's epsilon 1e-05 (assumed); "
        "stride in the first layer of a stage (measured); its BN statistics agree with the pictures (distance 0.12)",
    }
    assert theirs == {**ours, "label": "theirs", "iteration": 0, **rests}
    _, said = call(monkeypatch, capsys, "evaluate", *both, *keys)
    assert said.out.count(f"{ours['error']:.2f}") == 2
    assert "digits, test: 50 images" in said.out
    assert "residual-A-8-w4-s0" in said.out
    names = [f"results/runs/{spec.run}" for spec in SPECS[:3]]
    _, said = call(monkeypatch, capsys, "ensemble", *names, "--json", "--split", "val")
    assert json.loads(said.out)[-1] == asdict(ensemble(members, split="val").together)
    _, said = call(monkeypatch, capsys, "ensemble", *names, "data=digits")
    assert "ensemble of 3" in said.out
    assert "digits, test: 360 images" in said.out


WRONG = {
    "which net": ["evaluate"],
    "two nets or more": ["ensemble", "residual-A-8-w4-s0"],
    "no run named 'nothing' in": ["ensemble", "residual-A-8-w4-s0", "nothing"],
    "no such file": ["evaluate", "--ckpt", "nothing.pt"],
    "lr=2: here only data=NAME and keys like data.root=... count": ["evaluate", "--ckpt", "residual-A-8-w4-s0", "lr=2"],
    "of which data": ["evaluate", "--ckpt", "residual-A-8-w4-s0", "data.validation=3"],
    "data=digits,cifar10: here only": ["ensemble", "residual-A-8-w4-s0", "plain", "data=digits,cifar10"],
    "data=dgits: unknown": ["evaluate", "--ckpt", "residual-A-8-w4-s0", "data=dgits"],
    "--split=dev": ["evaluate", "--ckpt", "residual-A-8-w4-s0", "--split", "dev"],
}


@pytest.mark.parametrize("said", WRONG)
def test_mistakes_are_one_line(root, said, capsys, monkeypatch):
    monkeypatch.chdir(root.parent)
    code, printed = call(monkeypatch, capsys, *WRONG[said])
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert printed.err.startswith("degrade: ")
    assert said in printed.err


def test_predictions_add_up_to_the_evaluation(root, tmp_path, monkeypatch, capsys):
    paths = [str(RunDir(root, spec.run).path) for spec in SPECS[:2]]
    out = tmp_path / "new" / "predictions.parquet"
    monkeypatch.setattr("sys.argv", ["degrade", "evaluate", *paths, "--predictions", str(out), "--by-class", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)
    rows = pd.read_parquet(out)
    for row in said["evaluations"]:
        own = rows[rows.net == row["label"]]
        assert list(own.image) == list(range(row["n"]))
        assert 100 * (own["class"] != own.prediction).mean() == pytest.approx(row["error"])
        assert own.loss.mean() == pytest.approx(row["loss"], rel=1e-5)
        assert own.probability.between(0.1, 1).all()
        classes = [each for each in said["by_class"] if each["label"] == row["label"]]
        assert sum(each["n"] for each in classes) == row["n"]
        for each in classes:
            of_class = own[own["class"] == each["name"]]
            wrong = of_class[of_class.prediction != each["name"]].prediction
            assert each["error"] == pytest.approx(100 * len(wrong) / len(of_class))
            assert each["times"] == (wrong.value_counts().iloc[0] if len(wrong) else 0)
            assert not len(wrong) or (wrong == each["taken_for"]).sum() == each["times"]


def test_predictions_do_not_replace_a_folder(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["degrade", "evaluate", str(RunDir(root, SPECS[0].run).path), "--predictions", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "is a folder; name a file" in capsys.readouterr().err
