from degrade.spec import RecipeSpec
from degrade.train.schedule import due, lr_at


def test_the_papers_rate_over_all_64k_iterations():
    paper = RecipeSpec()
    trace = [lr_at(paper, i) for i in range(64_000)]
    assert trace == [0.1] * 32_000 + [0.01] * 16_000 + [0.001] * 16_000


def test_milestones_scale_with_the_iterations():
    short = RecipeSpec(iterations=1800)
    assert [lr_at(short, i) for i in (0, 899, 900, 1349, 1350, 1799)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_points_fall_at_the_interval_and_at_the_end():
    recipe = RecipeSpec(iterations=25, eval_every=10)
    assert [i for i in range(26) if due(recipe, i)] == [10, 20, 25]
