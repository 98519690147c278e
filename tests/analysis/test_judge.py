"""Every rule of a verdict, on groups of known errors."""

import numpy as np
import pytest
from scipy import stats

from degrade.analysis.failures import fails_more, share
from degrade.analysis.gate import BY_FAILURES, BY_MEANS, FOR_OTHERS, correct
from degrade.analysis.judge import (
    ALIKE,
    DEGRADES,
    DIFFERS,
    FAILS,
    GAINS,
    OPEN,
    PARTLY,
    SAME,
    SLIGHTLY,
    UNJUDGED,
    Line,
    judge,
)
from degrade.analysis.pairs import Group

IMAGES = 50_000


def group(depth: int, errors: list[float], failed: int = 0) -> Group:
    """The last `failed` runs failed to train. Test errors are 3 points higher."""
    clean = np.array(errors, dtype=float)
    marks = np.arange(len(errors)) >= len(errors) - failed
    return Group(depth, clean, (clean + 3).clip(0, 100), IMAGES, 10_000, marks, tuple(range(len(errors))))


def line(*groups: Group, margin: float = 0.5, scale: str = "points") -> Line:
    return judge(groups, margin, scale)


def near(error: float, seeds: int = 3) -> list[float]:
    """Seeds about 0.1 points from one another."""
    return [error + 0.1 * (i - (seeds - 1) / 2) for i in range(seeds)]


def verdict_of(found: Line) -> dict[tuple[int, int], str]:
    return {(each.pair.deep.depth, each.pair.shallow.depth): each.verdict for each in found.pairs}


def test_single_runs_have_no_verdict_however_far_apart():
    found = line(group(20, [5.0]), group(56, [90.0]))
    (pair,) = found.pairs
    assert (pair.verdict, found.verdict) == (DIFFERS, DIFFERS)
    assert np.isnan([pair.p, pair.test_p]).all()
    assert pair.pair.train["points"].basis == "images"
    assert line(group(20, [5.0]), group(56, [5.4])).verdict == ALIKE
    assert line(group(20, [5.0]), group(56, [90.0], failed=1)).verdict == FAILS


def test_a_single_run_is_set_against_the_prediction_of_the_others():
    found = line(group(20, [3.0, 4.0, 5.0, 6.0, 7.0]), group(56, [7.0]))
    (pair,) = found.pairs
    train = pair.pair.train["points"]
    half = stats.t.ppf(0.975, 4) * np.sqrt(2.5 * (1 + 1 / 5))
    assert (pair.verdict, train.basis) == (DIFFERS, "prediction")
    assert [train.low, train.high] == pytest.approx([2.0 - half, 2.0 + half])


def test_single_runs_enter_no_family_of_the_others():
    two = [group(20, near(5)), group(56, near(6))]
    alone = line(*two).primary
    beside = line(*two, group(32, [50.0]), group(110, [0.0])).primary
    assert alone is not None
    assert beside is not None
    assert (beside.p, beside.verdict) == (alone.p, alone.verdict)


@pytest.mark.parametrize("seeds", [2, 3])
def test_nothing_is_judged_against_a_net_that_failed_to_train(seeds):
    chance, fine = [90.0] * seeds, near(5, seeds)
    at_chance = line(group(20, chance, seeds), group(56, chance, seeds), group(110, chance, seeds))
    assert (at_chance.verdict, {*verdict_of(at_chance).values()}) == (UNJUDGED, {UNJUDGED})
    lost = line(group(20, chance, seeds), group(56, fine))
    assert (lost.verdict, *verdict_of(lost).values()) == (UNJUDGED, UNJUDGED)
    single = line(group(20, [90.0], 1), group(56, [5.0]))
    assert single.verdict == UNJUDGED


def test_a_deeper_net_that_fails_to_train_degrades():
    found = line(group(20, near(5)), group(56, [90.0] * 3, 3))
    assert (found.verdict, found.pairs[0].verdict) == (DEGRADES, DEGRADES)


def test_the_next_net_that_trained_is_judged_where_the_shallowest_failed():
    found = line(group(20, [90.0] * 3, 3), group(56, near(5)), group(110, near(30)))
    assert verdict_of(found) == {(56, 20): UNJUDGED, (110, 20): UNJUDGED, (110, 56): DEGRADES}
    assert found.primary is not None
    assert found.primary.pair.shallow.depth == 56
    assert found.verdict == DEGRADES


def test_two_runs_of_each_that_fall_apart_by_failing_are_undecided():
    """Two that fail against two that train happen once in 16 to nets that fail half of the time."""
    assert line(group(20, near(5, 2)), group(56, [90.0] * 2, 2)).verdict == OPEN


def test_failures_decide_where_means_cannot():
    found = line(group(20, near(5, 10)), group(56, [*near(5, 4), *[90.0] * 6], 6))
    (pair,) = found.pairs
    assert float(pair.pair.robust["points"].low) < 0.5
    assert pair.pair.fails == pytest.approx(0.0017582777598872472)
    assert pair.p == pytest.approx(pair.pair.fails / BY_FAILURES)
    assert pair.verdict == DEGRADES


def test_three_of_five_failures_are_undecided_and_counted():
    found = line(group(20, near(5, 5)), group(56, [5.0, 5.1, 90.0, 90.0, 90.0], 3))
    (pair,) = found.pairs
    assert (pair.verdict, found.verdict) == (OPEN, OPEN)
    assert (pair.pair.deep.failures, pair.pair.shallow.failures) == (3, 0)
    assert 0.03 < pair.pair.fails < 0.04


def test_a_net_that_fails_less_often_does_not_degrade_by_it():
    found = line(group(20, [5.0, 5.1, 90.0, 90.0, 90.0], 3), group(56, near(5, 5)))
    assert found.verdict != DEGRADES
    assert found.pairs[0].pair.fails == 1.0


def test_small_rises_that_the_margin_cuts_are_undecided_and_the_trend_is_seen():
    rises = [group(d, near(e, 10)) for d, e in ((20, 5), (32, 5.15), (44, 5.3), (56, 5.45))]
    found = line(*rises)
    assert found.verdict == OPEN
    assert found.trend is not None
    assert found.trend.low > 0
    assert found.trending == (20, 32, 44, 56)


def test_the_trend_is_the_slope_over_log_depth():
    depths, means = (20, 32, 56), (5.0, 5.5, 7.0)
    found = line(*(group(d, near(m)) for d, m in zip(depths, means, strict=True)))
    assert found.trend is not None
    slope = stats.linregress(np.log2(depths), means).slope
    assert float(found.trend.difference) == pytest.approx(slope)
    assert line(group(20, near(5)), group(56, near(6))).trend is None


def test_the_whole_line_is_judged_and_not_its_ends_alone():
    found = line(group(20, near(7)), group(32, near(10)), group(44, near(5)), group(56, near(4)))
    assert found.verdict == PARTLY
    assert verdict_of(found)[32, 20] == DEGRADES
    assert [verdict_of(found)[deep, 20] for deep in (44, 56)] == [GAINS, GAINS]


def test_power_of_the_primary_comparison_does_not_fall_with_the_number_of_depths():
    ends = [group(20, near(5)), group(110, near(6))]
    between = [group(depth, near(5.5)) for depth in (32, 44, 56, 68, 80, 92)]
    alone, many = line(*ends).primary, line(*ends, *between).primary
    assert alone is not None
    assert many is not None
    assert many.p == alone.p


def test_others_inherit_once_the_primary_comparison_is_decided():
    _, [closed] = correct((0.5, 1.0), [(0.001, 1.0)])
    _, [opened] = correct((0.0001, 1.0), [(0.001, 1.0)])
    assert closed == pytest.approx(0.002 / FOR_OTHERS)
    assert opened == pytest.approx(0.002 / (FOR_OTHERS + BY_MEANS))
    first, [last] = correct((0.02, 1.0), [(1e-9, 1.0)])
    assert first == pytest.approx(0.02 / BY_MEANS)
    assert last < first  # its own share is enough
    assert correct(None, []) == (1.0, [])
    assert pytest.approx(1.0) == BY_MEANS + BY_FAILURES + FOR_OTHERS


def test_an_outlier_leaves_a_pair_of_eight_runs_undecided():
    """Means alone lie `within the margin`; without the two least and greatest runs the rest does differ."""
    same, odd = [5 + 0.02 * i for i in range(8)], [*(5.8 + 0.02 * i for i in range(7)), 0.0]
    found = line(group(20, same), group(56, odd))
    (pair,) = found.pairs
    welch, robust = pair.pair.train["points"], pair.pair.robust["points"]
    assert float(robust.low) > 0.5
    assert float(welch.low) < 0.5
    assert pair.verdict == OPEN
    assert pair.pair.deep.far(0.5).tolist() == [False] * 7 + [True]


def test_trimmed_means_that_disagree_leave_a_decided_pair_open():
    shallow, deep = near(5.0, 20), [*near(5.0, 16), *near(12, 4)]
    found = line(group(20, shallow), group(56, deep))
    (pair,) = found.pairs
    assert float(pair.pair.train["points"].low) > 0  # by means the deeper net is worse
    assert float(pair.pair.robust["points"].low) < 0.5
    assert pair.verdict == OPEN


def test_yuens_interval_is_scipys():
    a, b = (
        np.array([5.0, 5.3, 4.8, 5.1, 9.0, 5.2, 4.9, 5.05]),
        np.array([6.0, 6.2, 5.9, 6.4, 6.1, 2.0, 6.3, 5.95, 6.05]),
    )
    found = line(group(20, a.tolist()), group(56, b.tolist())).pairs[0].pair.robust["points"]
    expected = stats.ttest_ind(b, a, equal_var=False, trim=0.2)
    assert float(found.difference / found.error) == pytest.approx(expected.statistic)


def test_odds_decide_if_asked_to():
    few, more = [0.02, 0.018, 0.022], [0.40, 0.38, 0.42]
    points = line(group(20, few), group(56, more))
    odds = line(group(20, few), group(56, more), margin=1.25, scale="odds")
    assert (points.verdict, odds.verdict) == (SLIGHTLY, DEGRADES)
    assert points.pairs[0].verdict == SAME
    assert np.exp(float(points.pairs[0].pair.train["odds"].difference)) == pytest.approx(19.2, abs=0.2)


def test_boschloos_p_is_scipys_and_one_for_no_more_failures():
    for counts in ((3, 5, 0, 5), (2, 7, 1, 9), (5, 5, 2, 4)):
        failed, runs, failed_than, runs_than = counts
        table = [[failed, failed_than], [runs - failed, runs_than - failed_than]]
        assert fails_more(*counts) == pytest.approx(stats.boschloo_exact(table, alternative="greater").pvalue)
    assert fails_more(1, 5, 1, 5) == fails_more(0, 5, 3, 5) == 1.0
    assert share(0, 3) == pytest.approx((0.0, 100 * (1 - 0.025 ** (1 / 3))))
