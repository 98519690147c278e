import os

import pytest
from conftest import tiny

from degrade import plan
from degrade.errors import RunError
from degrade.prices import kind

QUICK = {"iterations": 1000, "eval_every": 1000}


def test_every_kind_is_measured_in_a_process_of_its_own():
    specs = [tiny(recipe=QUICK), tiny(depth=14, recipe=QUICK), tiny(net="plain", recipe=QUICK)]
    prices = plan.measured(specs, 2)
    assert set(prices.samples) == {kind(specs[0]), kind(specs[2])}
    assert sorted(prices.samples[kind(specs[0])]) == [8, 14]
    assert prices.load > 0.3  # torch
    shallow, deep, _ = (prices.of(spec) for spec in specs)
    assert shallow.memory <= deep.memory < 2e9


def test_workers_are_imitated_and_each_gpu_has_one():
    a, b, c = tiny(), tiny(net="plain"), tiny(width=8)
    assert plan.grouped([a, b, c], 2, gpus=0) == [[a], [b], [c]]
    assert plan.grouped([a], 4, gpus=0) == [[a]] * 4
    assert plan.grouped([a, b, c], 2, gpus=2) == [[a, c], [b]]
    assert plan.grouped([a], 4, gpus=4) == [[a]]


def test_a_measurement_that_dies_is_one_line(monkeypatch):
    monkeypatch.setattr(plan, "sample", die)
    with pytest.raises(RunError, match="a process died over a few steps of residual-A-8-w4; is there memory"):
        plan.apart(0, [tiny()])


def die(slot, specs, begun):
    """As one does that the system kills for its memory."""
    os._exit(9)
