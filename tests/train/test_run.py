import json
import shutil
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import gpu, tiny

from degrade.errors import RunError
from degrade.spec.rows import TIMINGS
from degrade.store import state as states_
from degrade.store.folder import RunDir, write_json
from degrade.store.results import load, make_root
from degrade.store.state import State
from degrade.train import run as running
from degrade.train.checkpoint import unpack
from degrade.train.run import run


def curve(root, spec):
    return pd.read_parquet(RunDir(root, spec.run).curve).drop(columns=list(TIMINGS))


def weights(root, spec):
    return {
        name: value.numpy().tobytes()
        for name, value in unpack(RunDir(root, spec.run).checkpoint.read_bytes())["net"].items()
    }


def test_a_run_leaves_what_it_is_how_it_went_and_on_what(tmp_path):
    spec = tiny()
    assert run([spec], tmp_path, command="degrade sweep x") == {spec.run: "finished"}
    folder = RunDir(tmp_path, spec.run)
    assert json.loads(folder.spec.read_text())["spec"] == spec.tree()
    environment = json.loads(folder.environment.read_text())
    assert environment["command"] == "degrade sweep x"
    assert environment["torch"] == torch.__version__
    assert environment["commit"] is None or len(environment["commit"].rstrip("+")) == 40
    state = folder.read_state()
    assert (state.name, state.iteration, state.iterations) == ("finished", 12, 12)
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
    assert RunDir(tmp_path / "cut", spec.run).read_state().name == "interrupted"
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
    make_root(tmp_path)
    with RunDir(tmp_path, tiny().run).claimed():
        assert run([tiny()], tmp_path) == {tiny().run: "elsewhere"}


def cut_short(root, spec, polls):
    """A run that was told to stop after so many looks at the clock."""
    left = iter(range(polls))
    assert run([spec], root, stop=lambda: next(left, None) is None) == {spec.run: "interrupted"}
    return RunDir(root, spec.run)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path):
    spec = tiny(engine={"checkpoint_every": 2})
    folder = cut_short(tmp_path / "cut", spec, 9)
    assert unpack(folder.previous.read_bytes())["iteration"] < unpack(folder.checkpoint.read_bytes())["iteration"]
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-300])
    assert run([spec], tmp_path / "cut") == run([spec], tmp_path / "whole") == {spec.run: "finished"}
    pd.testing.assert_frame_equal(curve(tmp_path / "cut", spec), curve(tmp_path / "whole", spec), check_exact=True)
    assert weights(tmp_path / "cut", spec) == weights(tmp_path / "whole", spec)


def test_with_no_good_checkpoint_the_run_fails_with_the_reason_and_keeps_what_there_is(tmp_path):
    spec = tiny(engine={"checkpoint_every": 2})
    folder = cut_short(tmp_path, spec, 9)
    for path in (folder.checkpoint, folder.previous):
        path.write_bytes(b"nonsense")
    with pytest.raises(
        RunError, match=r"checkpoint\.pt: its checksum is wrong.*checkpoint-previous\.pt.*; remove what"
    ):
        run([spec], tmp_path)
    state = folder.read_state()
    assert state.name == "failed"
    assert "checkpoint.pt" in state.reason
    assert folder.previous.read_bytes() == b"nonsense"


def test_chosen_checkpoints_stay(tmp_path):
    spec = tiny(engine={"keep_checkpoints": [3, 12], "checkpoint_every": 4})
    run([spec], tmp_path)
    folder = RunDir(tmp_path, spec.run)
    assert [unpack(folder.kept(i).read_bytes())["iteration"] for i in (3, 12)] == [3, 12]


def test_a_curve_ahead_of_its_checkpoint_is_cut_back(tmp_path):
    """A kill between a point and the next checkpoint leaves this."""
    spec = tiny()
    folder = cut_short(tmp_path, spec, 4)
    run([spec], tmp_path / "whole")
    folder.curve.write_bytes(RunDir(tmp_path / "whole", spec.run).curve.read_bytes())
    with pytest.raises(ZeroDivisionError):  # before any step: the next point would write the curve anew
        run([spec], tmp_path, stop=lambda: bool(1 / 0))
    assert len(curve(tmp_path, spec)) < 9


def test_a_long_evaluation_still_gives_signs_of_life(tmp_path, monkeypatch):
    make_root(tmp_path)
    folder = RunDir(tmp_path, tiny().run)
    with folder.claimed():
        pulse = running.Pulse(lambda: False)
        with pulse.of(folder):
            assert (pulse(), folder.state.exists()) == (False, False)
            monkeypatch.setattr(states_, "LIFE", 0.0)
            assert not pulse()
            assert folder.read_state().name == "running"
        folder.write_state(State("finished"))
        assert not pulse()
        assert folder.read_state().name == "finished"


@pytest.mark.parametrize(("seconds", "state"), [(5, "elsewhere"), (1000, "finished")])
def test_a_fresh_heartbeat_of_another_host_keeps_us_out(tmp_path, seconds, state):
    folder = cut_short(tmp_path, tiny(), 4)
    beat = {"format": 1, "state": "running", "host": "another", "pid": 1, "heartbeat": time.time() - seconds}
    write_json(folder.state, beat)
    assert run([tiny()], tmp_path) == {tiny().run: state}


def beat_of_another(folder, heartbeat):
    write_json(folder.state, {"state": "running", "host": "another", "pid": 1, "heartbeat": heartbeat})


def test_a_heartbeat_of_the_future_is_of_a_clock_that_was_wrong(tmp_path):
    """It would hold the run until that future has come."""
    folder = cut_short(tmp_path, tiny(), 4)
    beat_of_another(folder, time.time() + 3600)
    assert folder.standing().name == "interrupted"
    assert run([tiny()], tmp_path) == {tiny().run: "finished"}


def test_a_run_is_signed_before_its_pictures_are_loaded(tmp_path, monkeypatch):
    """So a host that does not share our locks sees it early: loading may take minutes."""
    folder, load = RunDir(tmp_path, tiny().run), running.data.load
    seen = []

    def look(spec):
        seen.append(folder.read_state().name)
        return load(spec)

    monkeypatch.setattr(running.data, "load", look)
    run([tiny()], tmp_path)
    assert seen == ["running"]


def test_an_error_after_another_host_took_the_run_over_is_not_written_into_it(tmp_path, monkeypatch):
    folder = RunDir(tmp_path, tiny().run)

    def broken(fit, steps):
        beat_of_another(folder, time.time())
        raise RunError("the disk of this host went away")

    monkeypatch.setattr(running.Fit, "advance", broken)
    with pytest.raises(RunError, match="went away"):
        run([tiny()], tmp_path)
    state = folder.read_state()
    assert (state.name, state.host) == ("running", "another")


def test_a_folder_that_is_removed_is_not_made_again_by_a_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(states_, "BEAT", 0.0)
    monkeypatch.setattr(states_, "LIFE", 0.0)
    spec = tiny(recipe={"eval_every": 6})
    folder, advance, steps_done = RunDir(tmp_path, spec.run), running.Fit.advance, []

    def removed(fit, steps):
        shutil.rmtree(folder.path)
        found = advance(fit, 1)
        steps_done.append(fit.iteration)
        return found

    monkeypatch.setattr(running.Fit, "advance", removed)
    with pytest.raises(RunError, match=r"state\.json: No such file or directory; bring it back"):
        run([spec], tmp_path)
    assert steps_done == [1]
    assert not folder.path.exists()


def test_the_iteration_at_which_the_warm_up_ended_is_recorded(tmp_path):
    spec = tiny(recipe={"warmup": "on", "warmup_window": 2, "warmup_error": 0.1, "warmup_cap": 7})
    run([spec], tmp_path)
    state = RunDir(tmp_path, spec.run).read_state()
    assert (state.warmup, state.warmup_until) == ("cap", 7)


PACK = [tiny(), tiny(net="plain"), tiny(seed=1, recipe={"iterations": 20}), tiny(depth=14, shortcut="B")]


@pytest.mark.parametrize("together", [2, 4])
def test_runs_advanced_in_turn_compute_what_they_do_alone(tmp_path, monkeypatch, together):
    monkeypatch.setattr(running, "TURN", 1e-3)
    packed, alone = tmp_path / "packed", tmp_path / "alone"
    assert run(PACK, packed, together=together) == run(PACK, alone) == {spec.run: "finished" for spec in PACK}
    for spec in PACK:
        pd.testing.assert_frame_equal(curve(packed, spec), curve(alone, spec), check_exact=True)
        assert weights(packed, spec) == weights(alone, spec)


@pytest.mark.parametrize("polls", [3, 10, 40])
def test_a_pack_told_to_stop_leaves_checkpoints_and_goes_on(tmp_path, monkeypatch, polls):
    monkeypatch.setattr(running, "TURN", 1e-3)
    left = iter(range(polls))
    states = run(PACK, tmp_path / "cut", stop=lambda: next(left, None) is None, together=4)
    assert set(states.values()) == {"interrupted"}
    begun = [folder for folder in (RunDir(tmp_path / "cut", spec.run) for spec in PACK) if folder.path.exists()]
    assert begun  # those that waited for their place were not
    for folder in begun:
        assert unpack(folder.checkpoint.read_bytes())["iteration"] == folder.read_state().iteration
    assert run(PACK, tmp_path / "cut", together=3) == run(PACK, tmp_path / "alone")
    for spec in PACK:
        pd.testing.assert_frame_equal(curve(tmp_path / "cut", spec), curve(tmp_path / "alone", spec), check_exact=True)
        assert weights(tmp_path / "cut", spec) == weights(tmp_path / "alone", spec)


def broken_at(monkeypatch, victim, iteration, error):
    """From now on this run raises `error` from that iteration on."""
    advance = running.Fit.advance

    def spoilt(fit, steps):
        if fit.spec.run == victim.run and fit.iteration >= iteration:
            raise error
        return advance(fit, 1)

    monkeypatch.setattr(running.Fit, "advance", spoilt)


def test_an_error_of_a_gpu_ends_a_pack_and_blames_nobody(tmp_path, monkeypatch):
    broken_at(monkeypatch, PACK[1], 5, RuntimeError("CUDA error: an illegal memory access\nand more"))
    with pytest.raises(RuntimeError, match="illegal memory"):
        run(PACK[:3], tmp_path, together=3)
    states = [RunDir(tmp_path, spec.run).read_state() for spec in PACK[:3]]
    assert [state.name for state in states] == ["interrupted"] * 3
    assert states[1].reason == "RuntimeError: CUDA error: an illegal memory access"
    assert states[0].reason == states[2].reason == "a run beside it failed"
    with pytest.raises(RuntimeError, match="illegal memory"):
        run([PACK[1]], tmp_path)  # by itself it is to blame
    assert RunDir(tmp_path, PACK[1].run).read_state().name == "failed"
    assert run([PACK[0], PACK[2]], tmp_path) == {PACK[0].run: "finished", PACK[2].run: "finished"}


def test_an_error_of_a_runs_own_harms_no_run_beside_it(tmp_path, monkeypatch):
    broken_at(monkeypatch, PACK[1], 5, RunError("damaged"))
    with pytest.raises(RunError, match="damaged"):
        run(PACK[:3], tmp_path, together=3)
    states = [RunDir(tmp_path, spec.run).read_state().name for spec in PACK[:3]]
    assert states == ["finished", "failed", "finished"]


def test_a_run_of_a_pack_that_is_over_is_free_and_stays_over(tmp_path, monkeypatch):
    monkeypatch.setattr(states_, "LIFE", 0.0)  # signs of life at every look
    monkeypatch.setattr(running, "TURN", 1e-3)
    seen = []

    def look():
        folder = RunDir(tmp_path, PACK[0].run)
        if folder.read_state().name == "finished":
            with folder.claimed() as free:
                seen.append(free)
        return False

    run([PACK[0], PACK[2]], tmp_path, stop=look, together=2)
    assert seen
    assert all(seen)
    assert RunDir(tmp_path, PACK[0].run).read_state().name == "finished"


def test_time_in_which_others_are_advanced_counts(tmp_path):
    make_root(tmp_path)
    turns = running.run_one(tiny(), tmp_path, running.Pulse(lambda: False), "", alone=False)
    next(turns)
    time.sleep(0.3)
    assert list(turns)[-1:] in ([None], [])
    assert RunDir(tmp_path, tiny().run).read_state().seconds > 0.3


@gpu
def test_on_a_gpu_streams_do_not_change_what_runs_compute(tmp_path):
    long = {"iterations": 600, "eval_every": 200}  # short runs hardly overlap
    specs = [
        replace(spec, engine=replace(spec.engine, backend="graph"), recipe=replace(spec.recipe, **long))
        for spec in PACK
    ]
    assert run(specs, tmp_path / "packed", together=4) == run(specs, tmp_path / "alone")
    for spec in specs:
        pd.testing.assert_frame_equal(
            curve(tmp_path / "packed", spec), curve(tmp_path / "alone", spec), check_exact=True
        )
        assert weights(tmp_path / "packed", spec) == weights(tmp_path / "alone", spec)
