"""How often verdicts are right: a small part of `make calibrate`. What it simulates is the judge of the command."""

import calibrate
import numpy as np
import pytest
from calibrate import Law, Scenario, limit, simulate

STUDIES = 200


def scenario(*laws: Law, seeds: int) -> Scenario:
    return Scenario("a scenario", laws, (seeds,) * len(laws), "any")


@pytest.mark.parametrize(
    ("laws", "seeds"),
    [
        ([Law(std=1.0)] * 4, 3),  # nothing differs
        ([Law(std=1.0), *[Law(5.5, 1.0)] * 3], 3),  # three depths at the margin
        ([Law(0.2, 0.0), Law(0.7, 0.0)], 3),  # at the margin, with the binomial floor at work
        ([Law(fails=0.5)] * 4, 3),  # each seed fails half of the time
        ([Law(fails=0.5)] * 2, 2),
        ([Law(0.5, skew=1.5)] * 2, 5),
        ([Law(far=0.2)] * 2, 5),
    ],
)
def test_false_degrades_is_rare(laws, seeds):
    """If 5 % of studies have one, 999 times in 1,000 at most so many of 200."""
    found = simulate(scenario(*laws, seeds=seeds), STUDIES)
    assert found.verdict <= limit(STUDIES)
    if laws[-1].expected / laws[0].expected < 1.2:  # so the odds do not differ either
        assert found.odds <= limit(STUDIES)
    if laws[0] == laws[-1]:  # so there is no trend either
        assert found.any <= limit(STUDIES)


@pytest.mark.parametrize(
    ("depths", "seeds", "law"),
    [
        (8, (3,) * 8, Law(std=0.1, far=0.5, by=50.0)),  # without a variance in common: 29 %
        (2, (3, 20), Law(far=0.4)),  # 15 %
    ],
)
def test_groups_that_are_tight_by_accident_do_not_degrade(depths, seeds, law):
    found = simulate(Scenario("two kinds of seeds", (law,) * depths, seeds, "far out"), STUDIES)
    assert found.verdict <= limit(STUDIES)


def test_single_runs_are_never_said_to_degrade():
    for seeds in ((1, 1), (1, 5), (5, 1)):
        found = simulate(Scenario("single", (Law(), Law(50.0, 3.0)), seeds, "any"), STUDIES)
        assert (found.verdict, found.odds, found.never) == (0, 0, 0)


def test_a_rise_is_seen_with_any_number_of_depths():
    for depths in (2, 4, 8):
        laws = [Law(5 + 2.0 * i / (depths - 1)) for i in range(depths)]
        assert simulate(scenario(*laws, seeds=3), 60).primary >= 50


def test_what_is_simulated_has_the_truth_it_says():
    rng = np.random.default_rng(0)
    for law in (Law(5.0, 1.0), Law(0.5, skew=1.0), Law(fails=0.3), Law(far=0.3)):
        rates, failed = law.draw(rng, 200_000)
        assert rates.mean() == pytest.approx(law.expected, rel=0.02)
        assert failed.mean() == pytest.approx(law.fails, abs=0.01)


def test_every_scenario_without_a_rise_has_none():
    for each in calibrate.false_alarms():
        assert max(law.expected for law in each.laws) <= each.laws[0].expected + 0.5 + 1e-9, each.name
        assert len({law.fails for law in each.laws}) == 1, each.name
