"""The learning rate, a pure function of iteration and warm-up: it has nothing to save and nothing to lose on resume."""

from dataclasses import dataclass

from degrade.spec import RecipeSpec

# divides the base rate: "0.01 to warm up the training until the training error is below 80%", Sec. 4.2
_WARM_DIVISOR = 10


@dataclass(frozen=True)
class Warmup:
    """Where the warm-up stands: `until` is the iteration at which it ended (None: it has not), `why` its reason."""

    until: int | None = 0
    why: str = "none"  # none: there was none | error: the net has started | cap: it took too long


def lr_at(recipe: RecipeSpec, iteration: int, warmup: Warmup) -> float:
    """The rate of step `iteration` (from 0): divided by 10 from each milestone on (Sec. 4.2: 32k and 48k of 64k).

    While the warm-up lasts, a tenth of the base rate at most.
    """
    passed = sum(iteration >= m * recipe.iterations for m in recipe.milestones)
    scheduled = recipe.lr / 10**passed
    warm = warmup.until is None or iteration < warmup.until
    return min(recipe.lr / _WARM_DIVISOR, scheduled) if warm else scheduled


def look_due(recipe: RecipeSpec, iteration: int, warmup: Warmup) -> bool:
    """Whether the warm-up's condition is checked after `iteration` steps."""
    window_over = iteration % recipe.window_iterations == 0 or iteration == recipe.cap_iterations
    return warmup.until is None and iteration > 0 and window_over


def judge(recipe: RecipeSpec, iteration: int, error: float) -> Warmup:
    """Judges whether the warm-up ends: `error` (%) is the running training error since the last look."""
    if error < recipe.warmup_error:
        return Warmup(iteration, "error")
    return Warmup(iteration, "cap") if iteration >= recipe.cap_iterations else Warmup(None)


def point_due(recipe: RecipeSpec, iteration: int) -> bool:
    """Whether a point of the curves falls after `iteration` steps: every `eval_every`, and at the end."""
    return iteration > 0 and (iteration % recipe.eval_every == 0 or iteration == recipe.iterations)
