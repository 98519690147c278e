"""How the 5 % risk of a false verdict is shared out among the comparisons of one line.

The **primary comparison** is the deepest net against the shallowest. It has most of the risk, so its power does not
fall with the number of depths. The other pairs share a small part of their own (Holm 1979), and inherit what the
primary comparison no longer needs once it is decided (Bretz, Maurer, Brannath and Posch 2009, Statistics in Medicine
28). Over all pairs of a line and both ways to a verdict the risk of any false one is 5 % at most.
"""

from collections.abc import Sequence
from itertools import product

from degrade.analysis.stats import holm

# Shares of the risk. Means: half, so that the test of the primary comparison agrees with its 95 % interval.
BY_MEANS, BY_FAILURES, FOR_OTHERS = 0.5, 0.4, 0.1


def correct(primary: tuple[float, float] | None, others: Sequence[tuple[float, float]]) -> tuple[float, list[float]]:
    """Corrects the one-sided p of the primary pair and of the other pairs of one line, to compare with 0.05.

    Each pair comes with two p: by means and by failures. Without a primary pair its p is 1, and its share is not used.
    """
    by_means, by_failures = primary or (1.0, 1.0)
    first = min(1.0, by_means / BY_MEANS, by_failures / BY_FAILURES)
    family = holm([min(1.0, 2 * min(pair)) for pair in others])
    return first, [_inherit(p, by_means / BY_MEANS, by_failures / BY_FAILURES) for p in family]


def _inherit(p: float, by_means: float, by_failures: float) -> float:
    """The least risk at which a pair with Holm's p is decided, given at which risks the two primary tests are."""
    found = 1.0
    for means, failures in product((False, True), repeat=2):
        share = FOR_OTHERS + BY_MEANS * means + BY_FAILURES * failures
        found = min(found, max(p / share, by_means if means else 0.0, by_failures if failures else 0.0))
    return found
