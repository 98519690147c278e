"""A results folder of 0.1.0 (tests/golden/results-0.1.0): read, gone on with, and nothing in it trained again."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import Degrade
from places import GOLDEN

import degrade as package
from degrade.experiments.identity import grid
from degrade.store import parquet
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES
from degrade.store.results import board, run_dirs
from degrade.sweep import expand, rerun
from degrade.train import run
from degrade.train.checkpoint import unpack

OLD = GOLDEN / "results-0.1.0"
KEYS = (
    *("data=digits", "recipe=quickstart", "recipe.iterations=30", "recipe.batch=16", "recipe.eval_every=10"),
    *("data.train_limit=100", "data.test_limit=50", "width=2", "shortcut=A"),
)
ENDED = {
    "plain-14-w2-from8-s0-e3254127": "constructed",
    "plain-14-w2-s0-e19459f1": "finished",
    "plain-8-w2-s0-9aa12872": "finished",
    "plain-8-w2-s0-bdb002dc": "finished",
    "plain-8-w2-s1-537c72ed": "finished",
    "residual-A-14-w2-s0-406622ca": "interrupted",
    "residual-A-8-w2-s0-4b8d2e9f": "diverged",
    "residual-A-8-w2-s0-5ee0a0a2": "finished",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder, to be written to; its pictures lie beside it, with dates of today."""
    shutil.copytree(OLD / "results", tmp_path / "results")
    shutil.copytree(OLD / "photos", tmp_path / "photos")
    return tmp_path / "results"


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_names_and_states_are_those_it_had(old):
    assert {folder.run: folder.standing().name for folder in run_dirs(old)} == ENDED
    for folder in run_dirs(old):
        assert folder.read_spec().run == folder.run  # the hash is made of the same values as then
        assert folder.read_spec().protocol in parquet.read(folder.curve, CURVES)["protocol"].to_pylist()


def test_what_a_state_says_is_what_status_json_says(old, degrade: Degrade):
    done = degrade("status", str(old), "--json")
    assert done.returncode == 0
    said = json.loads(done.stdout)
    for name, state in said.items():
        stored = json.loads((old / "runs" / name / "state.json").read_text())
        del stored["sha256"]
        assert state == {**stored, "path": str(old / "runs" / name)}


@pytest.mark.parametrize("words", [("net=plain", "depth=8", "seed=0,1"), ("net=residual", "depth=8")])
def test_finished_runs_are_not_trained_again(old, here: Degrade, words):
    before = content(old)
    done = here("sweep", *KEYS, *words, f"results={old}")
    assert done.returncode == 0, done.stderr
    assert "0 to do" in done.stdout
    assert content(old) == before


def test_pictures_are_known_by_what_they_are(old, here: Degrade, user):
    """Their dates are others, their cache came with them; the run is the same one."""
    words = (
        "data=image_folder",
        f"data.root={old.parent / 'photos'}",
        "data.size=8",
        "net=plain",
        "depth=8",
        "width=2",
    )
    rates = ("recipe.iterations=12", "recipe.batch=8", "recipe.eval_every=6")
    done = here("train", *words, *rates, f"results={old}")
    assert done.returncode == 0, done.stderr
    assert "1 finished, 0 to do" in done.stdout


def test_an_interrupted_run_goes_on_from_its_checkpoint(old):
    folder = RunDir(old, "residual-A-14-w2-s0-406622ca")
    before, probed = (pd.read_parquet(path) for path in (folder.curve, folder.tables["probe"]))
    assert folder.read_state().iteration == 18
    assert run.run([folder.read_spec()], old) == {folder.run: "finished"}
    after = pd.read_parquet(folder.curve)
    assert after.iloc[: len(before)].equals(before)  # what was measured stands, to the bit
    assert sorted(after.iteration.unique()) == [10, 20, 30]
    assert pd.read_parquet(folder.tables["probe"]).iloc[: len(probed)].equals(probed)
    assert folder.read_state().backend == "eager"
    layouts = unpack(folder.checkpoint.read_bytes())["layout"], folder.read_state().layout
    assert layouts == (
        "channels_last",
        "channels_last",
    )  # as 0.1.0 began it, so with the bits that 0.1.0 had gone on with


def test_a_constructed_net_is_trained_on_from_where_it_began(old):
    folder = RunDir(old, "plain-14-w2-from8-s0-e3254127")
    start = pd.read_parquet(folder.curve)
    assert run.run([folder.read_spec()], old) == {folder.run: "finished"}
    after = pd.read_parquet(folder.curve)
    assert after[after.iteration == 0].reset_index(drop=True).equals(start)


def test_all_tables_are_read(old):
    tables = package.load(old)
    assert set(tables.runs.run) == set(ENDED)
    assert list(tables.curves) == list(CURVES.columns)
    assert set(tables.probe.run) == {"plain-14-w2-s0-e19459f1", "residual-A-14-w2-s0-406622ca"}
    assert len(tables.responses)
    assert len(tables.blocks)
    assert package.compare(tables).left_out.run.tolist() == ["residual-A-14-w2-s0-406622ca"]


def test_nets_open_and_have_the_errors_they_had(old):
    """To the bit on the machine and backend that made them; elsewhere but for an image or two of fifty."""
    for name in ("plain-14-w2-s0-e19459f1", "plain-8-w2-s0-9aa12872"):
        found = package.evaluate(package.open_net(old / "runs" / name))
        curve = pd.read_parquet(RunDir(old, name).curve).query("iteration == 30 and split == 'test'")
        assert abs(found.error - curve.error.item()) <= 4
        assert found.loss == pytest.approx(curve.loss.item(), rel=1e-3)


def test_a_rerun_of_then_is_seen(old):
    again = RunDir(old / "reruns" / "1", "plain-8-w2-s1-537c72ed")
    assert again.over
    assert rerun.same_curve(RunDir(old, again.run).curve, again.curve)


def test_a_trial_of_then_is_not_done_again(old):
    asked = grid.trials(net=["plain"], blocks=[1], seeds=[0], lr=[3.0], steps=20, width=2)
    before = content(old / "identity")
    frame = grid.measure_trials(asked, old)
    after = content(old / "identity")
    assert len(frame) == 10
    assert {name: after[name] for name in before if "trials" in name} == {
        n: b for n, b in before.items() if "trials" in n
    }


def test_a_board_is_what_the_folders_say(old):
    with expand.hydra():
        specs = expand.expand([*KEYS, "net=plain,residual", "depth=8", f"results={old}"]).specs
    assert {run: state.name for run, state in board(specs, old).items()} == {s.run: ENDED[s.run] for s in specs}
