"""Hosts that share a folder and no locks: host, pid and heartbeat decide. And several sweeps at once on one host."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import processes
import pytest
from processes import KEYS, PATIENCE, begin, children, results, states, until

SLOW = [*KEYS, "depth=8", "seed=0,1", "recipe.iterations=600", "recipe.eval_every=100"]
SLOW += ["engine.checkpoint_every=50"]
PROGRAM = Path(processes.__file__).with_name("elsewhere.py")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    assert begin(root, *SLOW).wait(PATIENCE) == 0
    return results(root)


def on(host: str, root: Path, stale: float = 60.0) -> processes.Sweep:
    there = {"HOST": host, "STALE": str(stale), "TRACE": str(root / "trace")}
    return begin(root, *SLOW, "jobs=1", program=PROGRAM, more=there)


def steps(root: Path) -> Counter[tuple[str, str]]:
    """(run, iteration) -> how often it was done."""
    lines = (line.split() for line in (root / "trace").read_text().splitlines())
    return Counter((run, iteration) for _, run, iteration in lines)


def hosts(root: Path) -> set[str]:
    return (
        {line.split()[0] for line in (root / "trace").read_text().splitlines()} if (root / "trace").exists() else set()
    )


def test_two_hosts_at_once_do_each_step_once(tmp_path, undisturbed):
    both = [on("a", tmp_path), on("b", tmp_path)]
    assert [sweep.wait(PATIENCE) for sweep in both] == [0, 0], (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed
    assert hosts(tmp_path) == {"a", "b"}
    assert set(steps(tmp_path).values()) == {1}


def test_what_a_dead_host_trained_is_taken_up_by_another_that_waited_for_it(tmp_path, undisturbed):
    first, second = on("a", tmp_path), on("b", tmp_path, stale=3.0)
    until(lambda: len(hosts(tmp_path)) == 2, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.wait(PATIENCE) == 0, (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed


def test_a_host_that_slept_leaves_its_run_to_the_one_that_took_it_up(tmp_path, undisturbed):
    """As a laptop whose lid was shut: what it did since is thrown away, and it writes nothing more."""
    first = on("a", tmp_path)
    until(lambda: hosts(tmp_path), first)
    os.killpg(first.pid, signal.SIGSTOP)
    (held,) = [run for run, state in states(tmp_path).items() if state["state"] == "running"]
    time.sleep(1.5)
    second = on("b", tmp_path, stale=1.0)
    until(lambda: states(tmp_path)[held]["host"] == "b", second)
    os.killpg(first.pid, signal.SIGCONT)
    assert [sweep.wait(PATIENCE) for sweep in (first, second)] == [0, 0], (tmp_path / "output").read_text()
    assert results(tmp_path) == undisturbed
    assert "left to another host" in (tmp_path / "runs" / held / "log.txt").read_text()


GRIDS = (["seed=0,1,2"], ["seed=1,2,3"], ["seed=2,3", "net=plain"], ["seed=0,3", "net=residual"])


def test_four_sweeps_on_overlapping_grids_of_which_one_is_killed(tmp_path):
    """Each run is trained once, and what the killed one had begun is taken up by those that want it too."""
    keys = [*KEYS, "depth=8", "recipe.iterations=300", "recipe.eval_every=50", "engine.checkpoint_every=20", "jobs=1"]
    sweeps = [begin(tmp_path, *keys, *grid) for grid in GRIDS]
    until(lambda: any(state.get("iteration", 0) > 60 for state in states(tmp_path).values()), sweeps[0])
    victim = next(s for s in sweeps if {state["pid"] for state in states(tmp_path).values()} & {*children(s.pid)})
    os.killpg(victim.pid, signal.SIGKILL)
    codes = {tuple(GRIDS[i]): sweep.wait(PATIENCE) for i, sweep in enumerate(sweeps)}
    assert sorted(codes.values()) == [-9, 0, 0, 0], (tmp_path / "output").read_text()
    wanted = {f"{net}-s{seed}" for grid, code in codes.items() if code == 0 for net, seed in of(grid)}
    found = states(tmp_path)
    assert all(state["state"] == "finished" for run, state in found.items() if short(run) in wanted)
    resumed = [run for run in found if (tmp_path / "runs" / run / "environment.json").read_text().count("started") > 1]
    assert len(resumed) <= 1  # the one that the killed sweep was at
    assert begin(tmp_path, *keys, "seed=0,1,2,3").wait(PATIENCE) == 0
    whole = tmp_path / "whole"
    whole.mkdir()
    assert begin(whole, *keys, "seed=0,1,2,3", "jobs=2").wait(PATIENCE) == 0
    assert results(tmp_path) == results(whole)


def of(grid: tuple[str, ...]) -> list[tuple[str, str]]:
    """The nets and seeds of a grid."""
    values = dict(part.split("=") for part in grid)
    nets = values.get("net", "plain,residual").split(",")
    return [(net, seed) for net in nets for seed in values["seed"].split(",")]


def short(run: str) -> str:
    """residual-A-8-w4-s0-1f09 -> residual-s0."""
    parts = run.split("-")
    return f"{parts[0]}-{parts[-2]}"
