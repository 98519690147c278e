"""Sweeps in processes of their own: crashes, signals, resuming. The runs are tiny; the tests ask what survives."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import processes
import pytest
from conftest import tiny
from processes import DEGRADE, KEYS, PATIENCE, Result, begin, children, results, states, until

from degrade.store.folder import RunDir, write_json
from degrade.store.state import State
from degrade.sweep import workers
from degrade.sweep.worker import Report
from degrade.train.checkpoint import unpack
from degrade.train.processes import cause, default_jobs

LONG = [*KEYS, "depth=8", "recipe.iterations=600", "recipe.eval_every=50", "engine.checkpoint_every=20", "jobs=2"]


def both_under_way(root: Path):
    return lambda: sum(state.get("iteration", 0) > 60 for state in states(root).values()) == 2  # type: ignore[operator]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, Result]:
    root = tmp_path_factory.mktemp("undisturbed")
    finish(root)
    return results(root)


def finish(root: Path) -> None:
    assert begin(root, *LONG).wait(PATIENCE) == 0, (root / "output").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_checkpoints_in_seconds_and_the_sweep_goes_on_from_them(tmp_path, undisturbed, number, code):
    sweep = begin(tmp_path, *LONG)
    until(both_under_way(tmp_path), sweep)
    begun = time.monotonic()
    os.killpg(sweep.pid, number) if number == signal.SIGINT else sweep.send_signal(number)  # Ctrl-C reaches the group
    assert sweep.wait(PATIENCE) == code
    assert time.monotonic() - begun < 10
    left = states(tmp_path)
    assert {state["state"] for state in left.values()} == {"interrupted"}
    assert all(
        unpack((tmp_path / "runs" / run / "checkpoint.pt").read_bytes())["iteration"] == s["iteration"]
        for run, s in left.items()
    )
    finish(tmp_path)
    assert results(tmp_path) == undisturbed


def test_a_killed_worker_harms_one_run_and_the_next_sweep_takes_it_up(tmp_path, undisturbed):
    sweep = begin(tmp_path, *LONG)
    until(both_under_way(tmp_path), sweep)
    victim, state = next(iter(states(tmp_path).items()))
    os.kill(state["pid"], signal.SIGKILL)  # type: ignore[arg-type]
    assert sweep.wait(PATIENCE) == 1
    assert f"failed: {victim}: worker died (SIGKILL)" in (tmp_path / "output").read_text()
    assert sorted(state["state"] for state in states(tmp_path).values()) == ["failed", "finished"]
    finish(tmp_path)
    assert results(tmp_path) == undisturbed


def test_a_worker_told_to_leave_is_replaced(tmp_path, undisturbed):
    """The sweep gave it the same run for ever."""
    sweep = begin(tmp_path, *LONG)
    until(both_under_way(tmp_path), sweep)
    os.kill(next(iter(states(tmp_path).values()))["pid"], signal.SIGTERM)
    assert sweep.wait(PATIENCE) == 0, (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed


def test_what_was_ignored_when_it_began_stays_ignored(tmp_path, undisturbed):
    """As with `nohup`, and in the background of a script: the sweep stopped when its terminal was closed."""
    sweep = begin(tmp_path, *LONG, program=Path(processes.__file__).with_name("ignoring.py"))
    until(both_under_way(tmp_path), sweep)
    for number in (signal.SIGHUP, signal.SIGINT):
        os.killpg(sweep.pid, number)
    assert sweep.wait(PATIENCE) == 0
    assert results(tmp_path) == undisturbed


def age_heartbeat(folder: RunDir, ago: float = 10_000) -> None:
    """Makes the last sign of life of a run so many seconds old."""
    write_json(folder.state, {**folder.read_state().tree(), "heartbeat": time.time() - ago})


def test_of_a_run_that_others_train_is_said_who_and_a_stopped_holder_is_asked_ever_less(tmp_path, monkeypatch, capsys):
    """The sweep waited without a word, and the log grew by a line a second."""
    spec, now, tries = tiny(), 0.0, list[float]()
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    folder.write_state(State("running"))
    age_heartbeat(folder)  # the holder was stopped, and lives
    monkeypatch.setattr(workers.time, "monotonic", lambda: now)
    held = workers.Held(tmp_path)
    held.add([spec])
    while now < 300:
        now += 0.25
        for found in held.take_freed():
            tries.append(now)
            held.add([found])
    assert tries[:4] == [1.0, 3.0, 7.0, 15.0]
    assert tries[-1] - tries[-2] == 60
    age_heartbeat(folder, -60)  # the holder goes on, and stops again
    now += 2
    assert held.take_freed() == []
    age_heartbeat(folder)
    now += 2
    assert held.take_freed() == [spec]
    held.add([spec])
    said = capsys.readouterr().out
    assert said.startswith(f"{spec.run}: process {os.getpid()} on ")
    assert said.count("waiting") == 1
    folder.write_state(State("failed", reason="of its own"))
    now += 2
    assert held.take_freed() == []
    assert held.specs == []


def test_a_run_that_failed_here_after_another_host_took_it_over_is_waited_for(tmp_path):
    """The sweep ended with an error, though the run was under way elsewhere."""
    spec = tiny()
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    write_json(folder.state, {"state": "running", "host": "another", "pid": 1, "heartbeat": time.time()})
    worker = workers.Worker(tmp_path, 0)
    try:
        end = worker._describe_end([spec], Report(fit=True, reason="the disk of this host went away"))
    finally:
        worker.dismiss()
    assert (list(end.held), list(end.unsaid), list(end.again)) == ([spec], [], [])


def test_a_sweep_whose_output_nobody_reads_goes_on(tmp_path, undisturbed):
    """As in `degrade sweep | head -1`: the sweep ended, and its workers were killed without checkpoints."""
    command = [*DEGRADE, "sweep", *LONG, f"results={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sweep:
        assert sweep.stdout is not None
        sweep.stdout.readline()
        sweep.stdout.close()
        assert sweep.wait(PATIENCE) == 0
    assert results(tmp_path) == undisturbed


def test_the_whole_sweep_killed_at_once_goes_on(tmp_path, undisturbed):
    sweep = begin(tmp_path, *LONG)
    until(both_under_way(tmp_path), sweep)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    finish(tmp_path)
    assert results(tmp_path) == undisturbed
    assert not list((tmp_path / "runs").glob("*/.*.tmp"))


def test_workers_of_a_killed_parent_leave_checkpoints_behind(tmp_path, undisturbed):
    sweep = begin(tmp_path, *LONG)
    until(both_under_way(tmp_path), sweep)
    sweep.kill()
    sweep.wait()
    end = time.monotonic() + PATIENCE
    while any(state["state"] == "running" for state in states(tmp_path).values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert {state["state"] for state in states(tmp_path).values()} == {"interrupted"}
    finish(tmp_path)
    assert results(tmp_path) == undisturbed


def test_two_sweeps_at_once_on_one_folder_train_each_run_once(tmp_path, undisturbed):
    first, second = begin(tmp_path, *LONG), begin(tmp_path, *LONG)
    assert (first.wait(PATIENCE), second.wait(PATIENCE)) == (0, 0)
    assert results(tmp_path) == undisturbed
    for folder in (tmp_path / "runs").iterdir():  # one worker began it, and no other took it up
        assert "resumed" not in json.loads((folder / "environment.json").read_text())


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_ctrl_c_while_workers_are_starting_is_an_orderly_end(tmp_path, delay):
    sweep = begin(tmp_path, *LONG)
    until(lambda: children(sweep.pid), sweep)
    time.sleep(delay)
    os.killpg(sweep.pid, signal.SIGINT)
    assert sweep.wait(PATIENCE) == 130
    assert "Traceback" not in (tmp_path / "output").read_text()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
def test_a_worker_killed_before_it_began_harms_one_run(tmp_path):
    sweep = begin(tmp_path, *LONG)
    until(lambda: len(children(sweep.pid)) >= 2, sweep)
    os.kill(children(sweep.pid)[-1], signal.SIGKILL)
    assert sweep.wait(PATIENCE) == 1
    assert sorted(state["state"] for state in states(tmp_path).values()) == ["failed", "finished"]


def test_a_run_that_fails_does_not_stop_the_others(tmp_path):
    keys = [*KEYS, "depth=8", "jobs=1"]
    assert begin(tmp_path, *keys).wait(PATIENCE) == 0
    spoilt, kept = sorted((tmp_path / "runs").iterdir())
    for folder in (spoilt, kept):
        RunDir(tmp_path, folder.name).write_state(State("interrupted"))
    (spoilt / "checkpoint.pt").write_bytes(b"nonsense")
    assert begin(tmp_path, *keys).wait(PATIENCE) == 1
    output = (tmp_path / "output").read_text()
    assert f"failed: {spoilt.name}: " in output
    assert "Traceback" not in output
    assert "Traceback" in (spoilt / "log.txt").read_text()
    assert states(tmp_path)[kept.name]["state"] == "finished"


def test_more_runs_than_workers_are_all_trained(tmp_path):
    assert begin(tmp_path, *KEYS, "depth=8,14", "seed=0,1", "jobs=2").wait(PATIENCE) == 0
    assert [state["state"] for state in states(tmp_path).values()] == ["finished"] * 8
    assert len({state["pid"] for state in states(tmp_path).values()}) == 2  # workers go on to the next run


PACKED = [*LONG[:-1], "jobs=1", "engine.runs_per_gpu=2"]


def test_a_pack_computes_what_its_runs_do_alone(tmp_path, undisturbed):
    assert begin(tmp_path, *PACKED).wait(PATIENCE) == 0, (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed
    first, second = sorted(tmp_path.glob("runs/*/log.txt"), key=lambda log: "advanced beside" in log.read_text())
    assert f"advanced beside {first.parent.name}: see its log" in second.read_text()


def test_a_signal_to_a_pack_leaves_every_checkpoint(tmp_path, undisturbed):
    sweep = begin(tmp_path, *PACKED)
    until(both_under_way(tmp_path), sweep)
    assert len({state["pid"] for state in states(tmp_path).values()}) == 1
    sweep.send_signal(signal.SIGTERM)
    assert sweep.wait(PATIENCE) == 143
    for run, state in states(tmp_path).items():
        assert state["state"] == "interrupted"
        checkpoint = unpack((tmp_path / "runs" / run / "checkpoint.pt").read_bytes())
        assert checkpoint["iteration"] == state["iteration"]
    assert begin(tmp_path, *PACKED).wait(PATIENCE) == 0
    assert results(tmp_path) == undisturbed


def test_the_runs_of_a_killed_pack_are_tried_one_by_one(tmp_path, undisturbed):
    sweep = begin(tmp_path, *PACKED)
    until(both_under_way(tmp_path), sweep)
    os.kill(next(iter(states(tmp_path).values()))["pid"], signal.SIGKILL)  # type: ignore[arg-type]
    assert sweep.wait(PATIENCE) == 0, (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed
    output = (tmp_path / "output").read_text()
    assert output.count(" finished iteration 600/600") == 2


def test_one_worker_a_core_where_only_the_cpu_is_used():
    assert default_jobs(on_cpu=True) == len(os.sched_getaffinity(0))


def test_a_death_is_named():
    assert (cause(-11), cause(3)) == ("SIGSEGV", "exit code 3")


def test_a_results_folder_that_is_renamed_is_not_made_again(tmp_path):
    root = tmp_path / "r"
    root.mkdir()
    keys = [*(key for key in KEYS if not key.startswith("jobs=")), "jobs=1", "seed=0,1,2", "net=plain", "depth=8"]
    sweep = begin(root, *keys, "recipe.iterations=400", "recipe.eval_every=50")
    until(lambda: any(state.get("iteration", 0) > 0 for state in states(root).values()), sweep)
    root.rename(tmp_path / "moved")
    assert sweep.wait(PATIENCE) != 0
    assert not root.exists()
    assert "bring it back" in (tmp_path / "moved" / "output").read_text()
