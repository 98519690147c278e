"""Hosts, clocks, numbers of processes and locks, simulated around the real claiming code: see promises/simulation."""

import pytest
from promises.simulation.guards import SHOWN, without
from promises.simulation.schedule import KINDS, draw, play

# a process that is killed leaves its files open, as it should: nobody runs on to close them
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
EACH = 8  # schedules of each kind of hosts; `python -m promises.simulation 10000` plays many


@pytest.mark.parametrize("kind", KINDS)
def test_no_schedule_trains_a_run_twice_loses_one_or_waits_for_the_dead(kind):
    broken = {seed: faults for seed in range(EACH) if (faults := play(draw(seed, kind)))}
    assert not broken, f"replay by: play(draw(SEED, {kind!r})) of promises.simulation.schedule; by seed: {broken}"


@pytest.mark.parametrize("name", without)
def test_without_a_guard_a_schedule_breaks_a_promise_and_with_it_none(name):
    shown = SHOWN[name]
    with without[name]():
        faults = play(shown.plan)
    assert any(shown.said in fault for fault in faults), faults
    assert play(shown.plan) == []


def test_a_seed_tells_all_of_a_schedule():
    shown = SHOWN["leaving where another has signed"]
    with without["leaving where another has signed"]():
        first, second = play(shown.plan), play(shown.plan)
    assert first == second
    assert first
