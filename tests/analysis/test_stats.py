import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from degrade.analysis.stats import (
    ALPHA,
    SCALES,
    Sample,
    above,
    below,
    contrast,
    far_out,
    holm,
    interval,
    predict,
    sample,
    sample_odds,
    seeds_needed,
    trimmed,
)

MANY = 10_000_000  # images, for a floor that does not matter


def test_two_groups_are_welchs_t_test():
    a, b = [7.1, 8.3, 6.9, 7.7], [5.0, 5.9, 4.1]
    found = contrast([sample(a, MANY), sample(b, MANY)], [1, -1])
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert found.difference == pytest.approx(2.5)  # 7.5 - 5.0
    assert found.error**2 == pytest.approx((1.20 / 3) / 4 + (1.62 / 2) / 3, rel=1e-3)  # sums of squares by hand
    assert found.freedom == pytest.approx(welch.df)
    assert [found.low, found.high] == pytest.approx(list(welch.confidence_interval(0.95)))
    assert above(found, 0) == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue)
    assert below(found, 0) == pytest.approx(stats.ttest_ind(a, b, equal_var=False, alternative="less").pvalue)
    assert found.basis == "seeds"


def test_the_interaction_of_four_equal_variances_is_the_pooled_one():
    """With equal n and variances Welch's freedom is 4 (n - 1), and se² is four times v / n."""
    four = [sample([m - 1, m, m + 1], MANY) for m in (9.0, 5.0, 4.0, 3.0)]
    found = contrast(four, [1, -1, -1, 1])
    assert (found.difference, found.freedom) == (pytest.approx(3.0), pytest.approx(8.0))
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 8) * (4 / 3) ** 0.5)


def test_runs_without_a_mistake_keep_a_variance():
    zeros = sample([0.0, 0.0, 0.0], 1_437)
    p = 2 / 1_441
    assert zeros.variance == zeros.floor == pytest.approx(1e4 * p * (1 - p) / 1_437)
    found = contrast([zeros, zeros], [1, -1])
    assert above(found, 0.0) == pytest.approx(0.5)
    assert -0.5 < found.low < -0.1
    assert sample([100.0, 100.0], 50).floor > 0


def test_the_floor_is_only_a_floor():
    assert sample([10.0, 20.0, 30.0], 1_000).variance == pytest.approx(100.0)
    assert sample([10.0, 10.1], 1_000).variance == sample([10.05], 1_000).floor > 0.5


def test_single_runs_have_an_interval_over_images():
    """Near that of statsmodels (Newcombe's)."""
    for few, many, n in ((3, 40, 500), (0, 1, 1_437), (120, 100, 360)):
        one, other = sample([100 * many / n], n), sample([100 * few / n], n)
        found = contrast([one, other], [1, -1])
        low, high = confint_proportions_2indep(many, n, few, n, method="newcomb", compare="diff")
        assert found.basis == "images"
        assert math.isinf(found.freedom)
        assert [found.low, found.high] == pytest.approx([100 * low, 100 * high], abs=0.4)
        four = contrast([one, other, sample([5.0, 6.0, 7.0], n), other], [1, -1, -1, 1])
        assert four.basis == "images"


def test_a_single_run_has_the_prediction_interval_of_the_other_group():
    several, one = sample([3.0, 4.0, 5.0, 6.0, 7.0], MANY), sample([7.0], MANY)
    half = stats.t.ppf(0.975, 4) * (2.5 * (1 + 1 / 5)) ** 0.5
    for pair, sign in (([one, several], 1), ([several, one], -1)):
        found = contrast(pair, [1, -1])
        assert (found.basis, found.freedom) == ("prediction", 4)
        assert [found.low, found.high] == pytest.approx([sign * 2 - half, sign * 2 + half])
    assert predict(several) == pytest.approx((5 - half, 5 + half))


def test_two_runs_against_many_have_the_freedom_of_two_against_two():
    """Satterthwaite's freedom alone gives twice as many false alarms as asked for."""
    two, many = sample([5.0, 7.0], MANY), sample([5.0 + i for i in range(10)], MANY)
    assert stats.ttest_ind([5.0, 7.0], [5.0 + i for i in range(10)], equal_var=False).df > 2
    assert contrast([two, many], [1, -1]).freedom == 2


def test_odds_are_those_of_mistakes_with_half_counts():
    found = sample_odds([10.0, 20.0], 1_000)
    logs = [math.log(100.5 / 900.5), math.log(200.5 / 800.5)]
    assert found.mean == pytest.approx(np.mean(logs))
    assert found.variance == pytest.approx(np.var(logs, ddof=1))
    none = sample_odds([0.0, 0.0], 1_000)
    assert none.mean == pytest.approx(math.log(0.5 / 1000.5))
    assert none.variance == none.floor == pytest.approx(1 / 0.5 + 1 / 1000.5)


def test_runs_far_out_are_found_in_groups_of_three_or_more():
    assert far_out([5.0, 5.1, 5.2, 4.9, 12.0], 50_000, 0.5).tolist() == [False] * 4 + [True]
    assert far_out([5.0, 5.1, 20.0], 50_000, 0.5).tolist() == [False, False, True]
    assert not far_out([5.0, 20.0], 50_000, 0.5).any()
    assert not far_out([5.0, 5.0, 5.0, 5.0, 5.4], 50_000, 0.5).any()  # too near to matter
    groups = np.random.default_rng(0).normal(50, 5, (2_000, 5))
    share = np.mean([far_out(each, 10**9, 0.0).any() for each in groups])
    assert 0.03 < share < 0.07


def test_the_mean_of_one_group_is_students_or_wilsons():
    low, high = interval(sample([4.0, 5.0, 6.0], MANY))
    assert [low, high] == pytest.approx(list(stats.ttest_1samp([4, 5, 6], 0).confidence_interval(0.95)))
    low, high = interval(sample([1.0], 1_000))
    assert [low, high] == pytest.approx([100 * end for end in proportion_confint(10, 1_000, method="wilson")])
    assert interval(sample([0.0, 0.0], 100))[0] == 0.0


def test_holm_as_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([]) == []


def test_holm_as_statsmodels_has_it():
    """Families of up to 20, with ties, zeros, ones, and tests that have no answer."""
    rng = np.random.default_rng(1)
    for size in range(1, 21):
        p = rng.choice([0.0, 1.0, 0.01, *rng.random(size) ** 3], size)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.04, math.nan, 0.01]) == pytest.approx([0.08, math.nan, 0.03], nan_ok=True)


def test_the_seeds_needed_are_the_fewest_that_do():
    pair = [sample([4.0, 5.0, 6.0], MANY), sample([1.0, 1.5, 2.0], MANY)]
    needed = seeds_needed(pair, [1, -1], 0.5)

    def half(runs: int) -> float:
        found = contrast([one._replace(runs=runs) for one in pair], [1, -1])
        return (found.high - found.low) / 2

    assert needed is not None
    assert half(needed) <= 0.5 < half(needed - 1)
    assert seeds_needed(pair, [1, -1], 1e-4) is None
    assert seeds_needed([pair[0], sample([1.0], 100)], [1, -1], 0.5) is None


def replicates(rng, truth: float, seed_std: float, runs: int, images: int, count: int) -> Sample:
    """Errors of `count` studies: a rate for each seed, then mistakes on so many images."""
    rates = np.clip(truth + seed_std * rng.standard_normal((count, runs)), 0, 100) / 100
    return sample(100 * rng.binomial(images, rates) / images, images)


@pytest.mark.parametrize(
    ("low", "stds"),
    [(5.0, (0.3, 0.3)), (5.0, (0.1, 1.0)), (5.0, (2.0, 0.1)), (0.0, (0.0, 0.0)), (1.0, (0.0, 0.0)), (30.0, (0.0, 4.0))],
)
@pytest.mark.parametrize("runs", [2, 3, 5])
def test_an_interval_lies_above_the_margin_in_at_most_one_of_forty(low, stds, runs):
    """Truth at the margin, the worst case; with floors (seeds that do not differ) and with unequal spreads.

    20,000 studies: a true rate of 2.5 % gives at most 2.9 % by chance (3.5 standard errors). Errors near zero are
    skewed, which a t interval does not know: those may reach the 5 % that is promised.
    """
    rng, count, margin = np.random.default_rng(7), 20_000, 0.5
    shallow = replicates(rng, low, stds[0], runs, 1_437, count)
    deep = replicates(rng, low + margin, stds[1], runs, 1_437, count)
    found = contrast([deep, shallow], [1, -1])
    assert np.mean(found.low > margin) <= 0.029
    assert np.mean(found.high < margin) <= (0.05 if low < 2 else 0.029)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_holm_keeps_the_chance_of_any_false_rejection_below_one_in_twenty(runs):
    """A line of four depths whose deeper three lie at the margin; 1,500 studies: up to 6.9 % by chance (3.5 errors)."""
    rng, count = np.random.default_rng(3), 1_500
    nets = [replicates(rng, 2.0 + 0.5 * (i > 0), 0.4, runs, 1_437, count) for i in range(4)]
    pairs = [contrast([nets[deep], nets[shallow]], [1, -1]) for deep in range(4) for shallow in range(deep)]
    p = np.array([above(pair, 0.5) for pair in pairs])
    false = np.mean([min(holm(column)) < ALPHA for column in p.T])
    assert false <= 0.069


def test_power_grows_with_seeds():
    """A rise of 2 points where seeds spread by 0.5: three seeds see it more often than not, five nearly always."""
    rng = np.random.default_rng(5)
    seen = []
    for runs in (2, 3, 5):
        pair = [replicates(rng, truth, 0.5, runs, 50_000, 5_000) for truth in (3.0, 1.0)]
        seen.append(np.mean(contrast(pair, [1, -1]).low > 0.5))
    assert seen[0] < seen[1] < seen[2]
    assert seen[1] > 0.5
    assert seen[2] > 0.9


def test_many_groups_are_trimmed_as_one_is():
    errors = 5 + np.random.default_rng(0).standard_normal((4, 11))
    for scale in SCALES.values():
        found = trimmed(scale, errors, 1_437)
        for i, own in enumerate(errors):
            one = trimmed(scale, own, 1_437)
            assert (found.mean[i], found.variance[i], found.runs) == pytest.approx((one.mean, one.variance, one.runs))


@pytest.mark.parametrize("weights", [[1, -1], [1, -1, -1, 1], [-1, 0, 1]])
def test_a_small_group_that_is_tight_by_accident_does_not_decide(weights):
    """Of unequal numbers of runs the error is at least that of a common variance."""
    tight, wide = sample([5.0, 5.01, 5.02], MANY), sample([5.0 + i % 2 * 10 for i in range(20)], MANY)
    samples = [tight, wide, wide, wide][: len(weights)]
    found = contrast(samples, weights)
    common = (tight.variance * 2 + wide.variance * 19 * (len(samples) - 1)) / (2 + 19 * (len(samples) - 1))
    inverse = sum(w**2 / each.runs for w, each in zip(weights, samples, strict=True))
    assert found.error == pytest.approx((common * inverse) ** 0.5)
