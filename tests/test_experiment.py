import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import tiny

from degrade.errors import RunError
from degrade.experiment import run, unpack
from degrade.point import TIMINGS
from degrade.store import RunDir, load


def curve(root, spec):
    return pd.read_parquet(RunDir(root, spec.run).curve).drop(columns=list(TIMINGS))


def weights(root, spec):
    return {name: value.numpy().tobytes() for name, value in unpack(RunDir(root, spec.run).checkpoint)["net"].items()}


def test_a_run_leaves_what_it_is_how_it_went_and_on_what(tmp_path):
    spec = tiny()
    assert run([spec], tmp_path, command="degrade sweep x") == {spec.run: "finished"}
    folder = RunDir(tmp_path, spec.run)
    assert json.loads(folder.spec.read_text())["spec"] == spec.tree()
    environment = json.loads(folder.environment.read_text())
    assert environment["command"] == "degrade sweep x"
    assert environment["torch"] == torch.__version__
    state = folder.read_state()
    assert (state["state"], state["iteration"], state["iterations"]) == ("finished", 12, 12)
    assert len(curve(tmp_path, spec)) == 9


def test_a_spec_without_fingerprint_is_the_same_run(tmp_path):
    bare = replace(tiny(), data=replace(tiny().data, content=""))
    assert run([bare], tmp_path) == {tiny().run: "finished"}


def test_a_finished_run_is_not_trained_again(tmp_path):
    run([tiny()], tmp_path)
    folder = RunDir(tmp_path, tiny().run)
    before = folder.curve.stat().st_mtime_ns, folder.checkpoint.stat().st_mtime_ns
    assert run([tiny()], tmp_path) == {tiny().run: "finished"}
    assert before == (folder.curve.stat().st_mtime_ns, folder.checkpoint.stat().st_mtime_ns)


@pytest.mark.parametrize("polls", [1, 4, 9, 14])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(tmp_path, polls):
    spec, left = tiny(), iter(range(polls))
    assert run([spec], tmp_path / "cut", stop=lambda: next(left, None) is None) == {spec.run: "interrupted"}
    assert RunDir(tmp_path / "cut", spec.run).read_state()["state"] == "interrupted"
    assert run([spec], tmp_path / "cut") == run([spec], tmp_path / "whole") == {spec.run: "finished"}
    pd.testing.assert_frame_equal(curve(tmp_path / "cut", spec), curve(tmp_path / "whole", spec), check_exact=True)
    assert weights(tmp_path / "cut", spec) == weights(tmp_path / "whole", spec)


def test_a_diverged_run_is_a_result(tmp_path):
    spec = tiny(net="plain", recipe={"lr": 1e9, "iterations": 60})
    assert run([spec], tmp_path) == {spec.run: "diverged"}
    assert run([spec], tmp_path) == {spec.run: "diverged"}
    tables = load(tmp_path)
    assert tables.runs.outcome.tolist() == ["diverged"]
    assert len(tables.curves) == 3


def test_a_run_that_another_process_holds_is_left_alone(tmp_path):
    with RunDir(tmp_path, tiny().run).claimed():
        assert run([tiny()], tmp_path) == {tiny().run: "elsewhere"}


def test_a_damaged_checkpoint_fails_the_run_with_the_reason(tmp_path):
    spec, left = tiny(), iter(range(9))
    run([spec], tmp_path, stop=lambda: next(left, None) is None)
    folder = RunDir(tmp_path, spec.run)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-300])
    with pytest.raises(RunError, match=r"checkpoint\.pt: cannot be read"):
        run([spec], tmp_path)
    state = folder.read_state()
    assert state["state"] == "failed"
    assert "checkpoint.pt" in state["reason"]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"net": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(RunError, match="cannot be read"):
        unpack(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "ran").exists()
