from dataclasses import replace

import pytest

from degrade.spec import NetSpec, RecipeSpec
from degrade.train.schedule import Warmup, judge, look_due, lr_at, point_due

PAPER = RecipeSpec()


def trace(recipe: RecipeSpec, warmup: Warmup) -> list[float]:
    return [lr_at(recipe, i, warmup) for i in range(recipe.iterations)]


def test_the_papers_rate_over_all_64k_iterations():
    assert trace(PAPER, Warmup()) == [0.1] * 32_000 + [0.01] * 16_000 + [0.001] * 16_000


def test_the_papers_rate_with_a_warm_up_that_ends_after_391():
    """Other versions stay at 0.01 for good, or never return to 0.1."""
    wanted = [0.01] * 391 + [0.1] * 31_609 + [0.01] * 16_000 + [0.001] * 16_000
    assert trace(PAPER, Warmup(391, "error")) == wanted


def test_a_warm_up_that_never_ends_is_never_above_the_schedule():
    rates = trace(PAPER, Warmup(None))
    assert rates == [0.01] * 48_000 + [0.001] * 16_000
    assert all(warm <= plain for warm, plain in zip(rates, trace(PAPER, Warmup()), strict=True))


def test_milestones_scale_with_the_iterations():
    short = RecipeSpec(iterations=1800)
    rates = [lr_at(short, i, Warmup()) for i in (0, 899, 900, 1349, 1350, 1799)]
    assert rates == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_the_condition_is_looked_at_once_a_window_and_at_the_cap():
    recipe = RecipeSpec(warmup_window=391, warmup_cap=1000)
    assert [i for i in range(1001) if look_due(recipe, i, Warmup(None))] == [391, 782, 1000]
    assert not any(look_due(recipe, i, Warmup(391, "error")) for i in range(1001))


def test_a_window_and_a_cap_in_fractions_scale_with_the_iterations():
    recipe = RecipeSpec(iterations=1800, warmup_window=0.025, warmup_cap=0.1)
    assert [i for i in range(1801) if look_due(recipe, i, Warmup(None))] == [*range(45, 1801, 45)]
    assert judge(recipe, 179, 85.0) == Warmup(None)
    assert judge(recipe, 180, 85.0) == Warmup(180, "cap")
    tenth = replace(recipe, iterations=180, warmup_cap=0.11)  # as --time-limit does
    assert [i for i in range(24) if look_due(tenth, i, Warmup(None))] == [5, 10, 15, 20]
    assert judge(tenth, 20, 85.0) == Warmup(20, "cap")


@pytest.mark.parametrize(
    ("share", "iterations", "count"),
    [(1, 100, 1), (391, 100, 391), (0.333, 10, 4), (0.07, 100, 7), (0.28, 25, 7), (1e-300, 100, 1), (0.999, 1, 1)],
)
def test_a_fraction_of_the_iterations_is_rounded_up_and_a_whole_number_is_kept(share, iterations, count):
    """0.07 * 100 is above 7 in floating point."""
    recipe = RecipeSpec(iterations=iterations, warmup_window=share, warmup_cap=share)
    assert (recipe.window_iterations, recipe.cap_iterations) == (count, count)


def test_the_warm_up_ends_below_80_percent_and_at_its_cap():
    assert judge(PAPER, 391, 79.9) == Warmup(391, "error")
    assert judge(PAPER, 391, 80.0) == Warmup(None)
    assert judge(PAPER, PAPER.warmup_cap, 85.0) == Warmup(PAPER.warmup_cap, "cap")


def test_by_default_only_deep_residual_nets_warm_up():
    kinds = [("plain", 110), ("residual", 56), ("residual", 110), ("residual", 1202), ("highway", 110)]
    assert [PAPER.warms_up(NetSpec(net=net, depth=depth)) for net, depth in kinds] == [False, False, True, True, True]
    assert RecipeSpec(warmup="on").warms_up(NetSpec(net="plain", depth=20))
    assert not RecipeSpec(warmup="off").warms_up(NetSpec(depth=110))


def test_points_fall_at_the_interval_and_at_the_end():
    recipe = RecipeSpec(iterations=25, eval_every=10)
    assert [i for i in range(26) if point_due(recipe, i)] == [10, 20, 25]
