"""Claiming, signing, leaving and taking up runs on simulated hosts; and that the simulation sees what breaks them."""

import pytest
from promises.simulation.guards import GUARDS
from promises.simulation.schedules import KINDS, play

SEEDS = 6  # of each kind; `python -m promises.simulation 10000` plays many


@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_keeps_the_promises(kind):
    for seed in range(SEEDS):
        assert play(seed, kind) == [], f"seed {seed}"


@pytest.mark.parametrize("name", GUARDS)
def test_without_a_guard_a_schedule_breaks_them(name):
    guard = GUARDS[name]
    said = play(guard.seed, guard.kind, guard.out)
    assert any(guard.said in each for each in said), said
    assert play(guard.seed, guard.kind) == []


def test_a_schedule_is_the_same_each_time():
    guard = GUARDS["a lock"]
    assert play(guard.seed, guard.kind, guard.out) == play(guard.seed, guard.kind, guard.out)
