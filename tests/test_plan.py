import time

import pytest
from conftest import tiny

from degrade import data
from degrade.plan import Prices, makespan, measure
from degrade.train.fit import Fit


def test_deeper_nets_cost_more_in_proportion():
    prices = Prices()
    eight, twenty, deep = (prices.of(tiny(depth=depth)) for depth in (8, 20, 110))
    assert eight.memory < twenty.memory < deep.memory
    assert (deep.memory - eight.memory) / (twenty.memory - eight.memory) == pytest.approx(102 / 12, rel=0.01)


def test_twice_the_iterations_twice_the_time_and_passes():
    prices = Prices()
    short, long = (prices.of(tiny(recipe={"iterations": n, "eval_every": n})) for n in (1000, 2000))
    assert long.seconds / short.seconds == pytest.approx(2, rel=0.1)
    assert (short.epochs, long.epochs) == (160, 320)


def test_what_backward_keeps_grows_with_the_batch():
    small, large = measure(tiny(recipe={"batch": 8})), measure(tiny(recipe={"batch": 16}))
    assert 1.5 < large.saved / small.saved <= 2


def test_a_measurement_is_about_what_training_takes():
    spec = tiny(width=16, recipe={"iterations": 60, "eval_every": 60})
    price = Prices().of(spec)
    begun = time.perf_counter()
    Fit(spec, data.load(spec.data)).advance(60)
    assert 0.2 < price.seconds / (time.perf_counter() - begun) < 5  # a guard against a wrong unit, not a timing


def test_a_probe_is_part_of_the_price():
    """At every step it would be the better part of it."""
    without, probed = (Prices().of(tiny(engine={"probe": n}, recipe={"iterations": 1000})) for n in (0, 1))
    assert probed.seconds > 1.5 * without.seconds
    assert measure(tiny()).probe == 0


def test_runs_are_placed_longest_first():
    assert makespan([1, 1, 2], 2) == 2
    assert makespan([3], 4) == 3
    assert makespan([1, 2, 3], 1) == 6
