"""What a sweep is said to show is what the judge then shows."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from degrade.analysis import power
from degrade.analysis.judge import DEGRADES, NEVER, judge
from degrade.analysis.pairs import Group
from degrade.analysis.power import CHANCES, SPREADS, find_power

MARGIN = 0.5
STUDIES = 1_000


def share_of(verdict: str, seeds: Sequence[int], errors: Sequence[float], spread: float, images: int) -> float:
    """How often the judge gives a line this verdict, with so many seeds of each depth and these true errors (%)."""
    rng = np.random.default_rng([*seeds, images])
    found = 0
    for _ in range(STUDIES):
        groups = [
            Group(8 + 12 * i, *(error + spread * rng.standard_normal((2, n))), images, images, np.zeros(n, bool))
            for i, (n, error) in enumerate(zip(seeds, errors, strict=True))
        ]
        found += judge(groups, MARGIN, "points").verdict == verdict
    return found / STUDIES


def near(chance: float) -> object:
    """Within four standard errors of both simulations: the judge's, and that of 10,000 studies behind the claim."""
    return pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) * (1 / STUDIES + 1 / 10_000)))


@pytest.mark.parametrize(
    ("seeds", "spread", "images", "error"),
    [
        ((3, 3), 0.3, 50_000, 5.0),
        ((5, 5), 1.0, 50_000, 5.0),
        ((2, 5), 0.3, 50_000, 5.0),
        ((10, 10), 0.3, 50_000, 5.0),  # the judge looks at trimmed means too
        ((3, 3), 0.16, 1_437, 2.0),  # the floor counts for more than the spread
    ],
)
def test_the_judge_sees_a_rise_as_often_as_is_said(seeds, spread, images, error):
    seen = find_power(seeds, images, error, MARGIN).rises[SPREADS.index(spread)].seen
    for rise, chance in zip(seen, CHANCES, strict=True):
        assert share_of(DEGRADES, seeds, (error, error + rise), spread, images) == near(chance)


@pytest.mark.parametrize(
    ("seeds", "images", "error"),
    [((5, 5, 5, 5), 50_000, 5.0), ((2, 2, 2), 50_000, 5.0), ((2, 5), 50_000, 5.0)],
)
def test_the_judge_finds_that_a_line_does_not_degrade_as_often_as_is_said(seeds, images, error):
    spread = find_power(seeds, images, error, MARGIN).spread  # against the shallowest net and the best shallower one
    assert share_of(NEVER, seeds, [error] * len(seeds), spread, images) == near(CHANCES[0])


def test_few_images_hide_what_many_show():
    few, many, unknown = (find_power((3, 3), images, 5.0, MARGIN) for images in (1_437, 50_000, None))
    assert few.rises[0].seen[0] > 1.5 * many.rises[0].seen[0]
    assert many.rises[0].seen == pytest.approx(unknown.rises[0].seen, rel=0.03)
    assert math.isnan(few.spread)  # so the line can never be said not to degrade
    assert many.spread > 0
    assert share_of(NEVER, (3, 3), (5.0, 5.0), 1e-6, 1_437) == 0


def test_a_rise_that_no_error_below_100_allows_is_never_seen():
    assert all(math.isnan(rise) for rise in find_power((2, 2), 50_000, 80.0, MARGIN).rises[-1].seen)


def test_more_seeds_show_smaller_rises_and_a_wider_margin_asks_for_larger_ones():
    by_seeds = [find_power((n, n), 50_000, 5.0, MARGIN).rises[2].seen[0] for n in (2, 3, 5, 10)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    narrow, wide = (find_power((3, 3), None, 5.0, margin).rises[1].seen[0] for margin in (0.5, 2.0))
    assert wide - narrow == pytest.approx(1.5)


@pytest.mark.parametrize(("deep", "shallow"), [(2, 2), (3, 3), (5, 5), (10, 10), (3, 2), (5, 10)])
def test_the_failures_that_are_needed_are_those_that_the_judge_needs(deep, shallow):
    needed = find_power((shallow, deep), 50_000, 5.0, MARGIN).failures.needed
    rng = np.random.default_rng(0)

    def verdict(failed: int) -> str:
        marks = np.arange(deep) < failed
        low, high = 5 + 0.1 * rng.standard_normal(shallow), 5 + 0.1 * rng.standard_normal(deep)
        errors = (low, np.where(marks, 90.0, high))
        none = np.zeros(shallow, bool)
        groups = [Group(8, low, low, 50_000, 50_000, none), Group(20, errors[1], errors[1], 50_000, 50_000, marks)]
        return judge(groups, MARGIN, "points").verdict

    assert [verdict(failed) == DEGRADES for failed in range(1, deep + 1)] == [
        needed is not None and failed >= needed for failed in range(1, deep + 1)
    ]


def test_three_seeds_say_little_about_failures():
    found = find_power((3, 3), 50_000, 5.0, MARGIN).failures
    assert found.needed == 3
    assert found.seen == pytest.approx(1 - 0.8**3)
    assert found.limit == pytest.approx(100 * (1 - 0.025 ** (1 / 3)))  # Clopper and Pearson for 0 of 3
    assert find_power((2, 2), 50_000, 5.0, MARGIN).failures.needed is None


def test_trimmed_means_cost_some_power(monkeypatch):
    with_them = find_power((10, 10), None, 5.0, MARGIN)
    monkeypatch.setattr(power, "ROBUST_RUNS", 100)
    find_power.cache_clear()
    without = find_power((10, 10), None, 5.0, MARGIN)
    find_power.cache_clear()
    assert with_them.rises[1].seen > without.rises[1].seen
    assert with_them.spread < without.spread
