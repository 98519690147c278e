from dataclasses import replace

import pytest
from conftest import tiny

from degrade.sweep.cost import Prices, Sample, average, interpolate, kind, makespan

EIGHT = Sample(load=2.0, begin=1.0, step=0.1, image=0.01, probe=0.5, memory=1e6, checkpoint=1e3)
TWENTY = replace(EIGHT, begin=1.5, step=0.4, memory=3e6, checkpoint=2e3)
SAMPLES = {8: EIGHT, 20: TWENTY, 56: replace(TWENTY, step=0.4 + 3 * 0.2, memory=9e6)}


def prices() -> Prices:
    return Prices({kind(tiny()): SAMPLES})


def test_what_is_measured_is_the_price_and_others_lie_on_lines():
    assert interpolate(SAMPLES, 20) == TWENTY
    assert interpolate(SAMPLES, 14).step == pytest.approx(0.25)
    assert interpolate(SAMPLES, 32).step == pytest.approx(0.6)
    assert interpolate(SAMPLES, 92).step == pytest.approx(1.6)
    assert interpolate({8: EIGHT, 20: TWENTY}, 56).memory == pytest.approx(9e6)
    assert interpolate({20: TWENTY}, 20) == TWENTY
    assert interpolate({8: TWENTY, 20: EIGHT}, 110).step == 0.4  # noise: a deeper net is never cheaper


def test_a_run_costs_its_steps_evaluations_and_probes():
    price = prices().of(tiny(recipe={"iterations": 10, "eval_every": 5}))
    images = 100 + 100 + 2 * 50  # clean at the first point, all at the last, test at both
    assert price.seconds == pytest.approx(1.0 + 10 * 0.1 + images * 0.01)
    assert price.epochs == 1.6
    averaging = prices().of(tiny(recipe={"iterations": 10, "eval_every": 5, "precise_bn": True}))
    assert averaging.seconds == pytest.approx(price.seconds + 100 * 0.01)
    spec = tiny(recipe={"iterations": 10, "eval_every": 5}, engine={"probe": 4})
    probed = Prices({kind(spec): SAMPLES}).of(spec)
    assert probed.seconds == pytest.approx(price.seconds + 3 * 0.5)


def test_kinds_differ_in_what_a_step_costs():
    same = (tiny(depth=20), tiny(seed=1), tiny(recipe={"lr": 0.5, "iterations": 9}))
    assert {kind(spec) for spec in same} == {kind(tiny())}
    for other in (tiny(width=8), tiny(net="plain"), tiny(recipe={"batch": 8}), tiny(engine={"recompute": True})):
        assert kind(other) != kind(tiny())


def test_of_what_is_measured_side_by_side_times_are_averaged_and_the_greatest_peak_counts():
    slow = replace(EIGHT, step=0.3, memory=2e6)
    (depth,), (sample,) = zip(*average([{8: EIGHT, 20: TWENTY}, {8: slow}]).items(), strict=True)
    assert (depth, sample.step, sample.memory) == (8, pytest.approx(0.2), 2e6)


def test_runs_are_placed_longest_first():
    assert makespan([1, 1, 2], 2) == 2
    assert makespan([3], 4) == 3
    assert makespan([1, 2, 3], 1) == 6
