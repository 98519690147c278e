import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import tiny
from processes import PATIENCE, children, cmdline, until

from degrade.errors import RunError
from degrade.sweep import estimate
from degrade.sweep.cost import kind
from degrade.train import processes

QUICK = {"iterations": 1000, "eval_every": 1000}


def test_every_kind_is_measured_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(processes, "SPAWN", multiprocessing.get_context("spawn"))  # as for a user: they load torch
    specs = [tiny(recipe=QUICK), tiny(depth=14, recipe=QUICK), tiny(net="plain", recipe=QUICK)]
    prices = estimate.measure_kinds(specs, 2)
    assert set(prices.samples) == {kind(specs[0]), kind(specs[2])}
    assert sorted(prices.samples[kind(specs[0])]) == [8, 14]
    assert prices.load > 0.3  # torch
    shallow, deep, _ = (prices.of(spec) for spec in specs)
    assert shallow.memory <= deep.memory < 2e9


def test_workers_are_imitated_and_each_gpu_has_one():
    a, b, c = tiny(), tiny(net="plain"), tiny(width=8)
    assert estimate.group_specs([a, b, c], 2, gpus=0) == [[a], [b], [c]]
    assert estimate.group_specs([a], 4, gpus=0) == [[a]] * 4
    assert estimate.group_specs([a, b, c], 2, gpus=2) == [[a, c], [b]]
    assert estimate.group_specs([a], 4, gpus=4) == [[a]]


def test_a_measurement_that_dies_is_one_line(monkeypatch):
    monkeypatch.setattr(estimate, "answer", die)
    with pytest.raises(RunError, match="a process died over a few steps of residual-A-8-w4; is there memory"):
        estimate.measure_apart(estimate.Children(), 0, [tiny()])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind_of", [signal.SIGINT, signal.SIGTERM])
def test_whatever_ends_it_no_process_is_left(tmp_path, kind_of):
    arguments = ["plan", "data=digits", "recipe.batch=512", "width=128", "depth=602", "net=residual", "shortcut=A"]
    command = [sys.executable, "-m", "degrade", *arguments, "jobs=1", f"results={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        until(lambda: children(process.pid), process)
        found = children(process.pid)
        assert found
        process.send_signal(kind_of)
        until(lambda: process.poll() is not None)
    until(lambda: not any(map(cmdline, found)))


def test_ctrl_c_while_a_process_starts_ends_that_process_too(monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    start = processes.start

    def start_slowly(*arguments):
        child = start(*arguments)
        started.set()
        assert go_on.wait(PATIENCE)  # the process lives, and nobody has noted it yet
        return child

    def interrupt(self, work, *rest):
        for each in zip(*rest, strict=True):
            self.submit(work, *each)
        assert started.wait(PATIENCE)
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(estimate, "answer", sleep_long)
    monkeypatch.setattr(processes, "start", start_slowly)
    monkeypatch.setattr(estimate.ThreadPoolExecutor, "map", interrupt)
    begun = time.monotonic()
    with pytest.raises((KeyboardInterrupt, RunError)):
        estimate.measure_kinds([tiny()], 1)
    assert time.monotonic() - begun < PATIENCE


def sleep_long(pipe, slot, specs, begun):
    """Measures for longer than anybody waits."""
    time.sleep(2 * PATIENCE)


def die(pipe, slot, specs, begun):
    """Dies like a process that the system kills for its memory."""
    os._exit(9)
