"""A run says what computed it. A run that goes on elsewhere says so, and is refused where that was asked for."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import Degrade, tiny, with_kernels

from degrade.errors import RunError, SpecError
from degrade.store.folder import RunDir
from degrade.train import run
from degrade.train.backends.native import build
from degrade.train.checkpoint import pack, unpack
from degrade.train.processor import Stretch, count_machines, join

CPU = torch.device("cpu")
ELSEWHERE = {
    "processor": {"processor": "Another Processor"},
    "features": {"features": "AVX2 12345678"},
    "torch": {"version": "2.0.0"},
    "kernels": {"kernels": "0123456789abcdef"},
}


def train_half(root, **changes) -> RunDir:
    """Trains a run and stops it half-way."""
    spec = tiny(engine={"backend": "eager", "checkpoint_every": 1, **changes})
    asked = iter([False] * 12 + [True] * 100)
    assert run.run([spec], root, stop=lambda: next(asked)) == {spec.run: "interrupted"}
    return RunDir(root, spec.run)


def move(monkeypatch, **changes) -> None:
    """Lets this machine be another from now on."""
    here = Stretch.observe
    monkeypatch.setattr(Stretch, "observe", lambda *given: replace(here(*given), **changes))


def go_on(folder: RunDir, **engine) -> str:
    spec = folder.read_spec()
    return run.run([replace(spec, engine=replace(spec.engine, **engine))], folder.root)[folder.run]


@with_kernels()
def test_checkpoint_environment_and_state_name_processor_and_kernels(tmp_path):
    spec = tiny(engine={"backend": "native"})
    run.run([spec], tmp_path)
    folder, here = RunDir(tmp_path, spec.run), build.load("fp32").fingerprint
    said = folder.read(folder.environment)
    assert said["kernels"] == here
    assert said["processor"]
    assert "features" in said
    (row,) = unpack(folder.checkpoint.read_bytes())["machines"]
    assert row == [0, said["processor"], Stretch.observe(CPU, "").features, torch.__version__, here]
    state = folder.read_state()
    assert state.machine == "one"
    assert here in (state.computed_by or "")
    assert said["processor"] in (state.computed_by or "")


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_run_that_goes_on_elsewhere_is_mixed_and_says_so(tmp_path, monkeypatch, capsys, here: Degrade, what):
    folder = train_half(tmp_path / "results")
    at = folder.read_state().iteration
    assert "another machine" not in capsys.readouterr().out
    move(monkeypatch, **ELSEWHERE[what])
    assert go_on(folder) == "finished"
    new = str(next(iter(ELSEWHERE[what].values())))
    log = capsys.readouterr().out
    assert f"{folder.run}: goes on from iteration {at} on another machine: " in log
    assert new in log
    state = folder.read_state()
    assert state.machine == "mixed"
    assert new in str(state.computed_by)
    assert f"from iteration {at}" in str(state.computed_by)
    told = here("recipe-diff", folder.run)
    assert "computed by (mixed)" in told.stdout
    assert new in told.stdout
    assert "mixed" in here("status").stdout


def test_tables_for_people_and_programs_name_the_runs_of_several_machines(tmp_path, monkeypatch, here: Degrade):
    folder = train_half(tmp_path / "results")
    move(monkeypatch, processor="Another Processor")
    go_on(folder)
    (row,) = [each for each in json.loads(here("recipe-diff", folder.run, "--json").stdout) if each["key"] == "machine"]
    assert row["run"] == "mixed"
    assert "not all steps on one known machine" in here("compare").stdout
    (row,) = json.loads(here("compare", "--json", "--table", "summary").stdout)["machines"]
    assert (row["run"], row["machine"]) == (folder.run, "mixed")
    assert "Another Processor" in row["computed_by"]


def test_a_run_that_goes_on_here_is_of_one_machine(tmp_path, here: Degrade):
    folder = train_half(tmp_path / "results")
    assert go_on(folder, same_machine=True) == "finished"
    assert folder.read_state().machine == "one"
    assert "computed by (one)" in here("recipe-diff", folder.run).stdout
    assert "mixed" not in here("status").stdout
    assert "machine" not in here("compare").stdout


def test_same_machine_refuses_another_and_leaves_the_run_as_it_is(tmp_path, monkeypatch):
    folder = train_half(tmp_path)
    before = folder.checkpoint.read_bytes()
    move(monkeypatch, processor="Another Processor")
    with pytest.raises(SpecError, match=r"engine\.same_machine=true: .* Another Processor .*; go on there, or leave"):
        go_on(folder, same_machine=True)
    assert folder.checkpoint.read_bytes() == before
    assert "Another Processor" in str(folder.read_state().reason)
    assert go_on(folder) == "finished"


def without_machines(folder: RunDir) -> None:
    """Makes of a run one of 0.1.0, which did not note what computed it."""
    for path in filter(lambda path: path.exists(), folder.checkpoints):
        path.write_bytes(pack({k: v for k, v in unpack(path.read_bytes()).items() if k != "machines"}))


def test_a_run_of_an_older_degrade_goes_on_and_is_unknown(tmp_path, capsys, here: Degrade):
    folder = train_half(tmp_path / "results")
    without_machines(folder)
    with pytest.raises(SpecError, match="what an older degrade did not note; go on there"):
        go_on(folder, same_machine=True)
    assert go_on(folder) == "finished"
    assert "what an older degrade did not note" in capsys.readouterr().out
    assert folder.read_state().machine == "unknown"
    assert "computed by (unknown)" in here("recipe-diff", folder.run).stdout


def test_the_option_reaches_the_runs_of_a_sweep_and_no_name_or_stored_spec(tmp_path, here: Degrade, monkeypatch):
    seen = []
    monkeypatch.setattr("degrade.sweep.workers.train", lambda specs, *_, **__: seen.extend(specs))
    here("train", "data=digits", "net=plain", "depth=8", "--same-machine")
    here("sweep", "data=digits", "net=plain", "depth=8", "--same-machine")
    here("sweep", "data=digits", "net=plain", "depth=8")
    assert [spec.engine.same_machine for spec in seen] == [True, True, False]
    assert len({spec.run for spec in seen}) == 1
    assert "same_machine" not in json.dumps(seen[-1].tree())


def test_what_did_no_step_did_not_compute_a_run():
    a, b = Stretch(0, "A"), Stretch(0, "B")
    assert join([a], b) == [b]
    assert join([a], b.at(5)) == [a, b.at(5)]
    assert join([a, b.at(5)], a.at(5)) == [a]  # from a checkpoint that was written before b did a step
    assert join([a, b.at(5)], b.at(9)) == [a, b.at(5)]


def test_a_run_is_mixed_as_soon_as_two_are_known():
    a, b, nobody = Stretch(0, "A"), Stretch(5, "B"), Stretch()
    said = [
        count_machines(each) for each in ([a], [a, b], [nobody], [nobody, b], [nobody, a.at(3), b], [a, b, a.at(9)])
    ]
    assert said == ["one", "mixed", "unknown", "unknown", "mixed", "mixed"]


@pytest.mark.parametrize("rows", [None, [[0, "A"]], [["0", "A", "", "", ""]], "text"])
def test_a_checkpoint_with_other_machines_than_a_run_can_have_is_refused(tmp_path, rows):
    folder = train_half(tmp_path)
    for path in filter(lambda path: path.exists(), folder.checkpoints):
        path.write_bytes(pack({**unpack(path.read_bytes()), "machines": rows}))
    with pytest.raises(RunError, match="machines"):
        go_on(folder)
