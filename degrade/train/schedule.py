"""The learning rate as a pure function of the iteration: nothing to save, nothing to lose on resume."""

from degrade.spec import RecipeSpec


def lr_at(recipe: RecipeSpec, iteration: int) -> float:
    """The rate of step `iteration` (from 0): divided by 10 from each milestone on (Sec. 4.2: 32k and 48k of 64k)."""
    passed = sum(iteration >= m * recipe.iterations for m in recipe.milestones)
    return recipe.lr / 10**passed


def due(recipe: RecipeSpec, iteration: int) -> bool:
    """Whether a point of the curves falls after `iteration` steps: every `eval_every`, and at the end."""
    return iteration > 0 and (iteration % recipe.eval_every == 0 or iteration == recipe.iterations)
