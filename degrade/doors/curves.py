"""degrade.curves of 0.1.0: now degrade.analysis.curves."""

from degrade.analysis.curves import add_standing as standing
from degrade.analysis.curves import beyond_seeds, final_errors, last_points, over_seeds
from degrade.analysis.curves import choose as chosen

__all__ = ["beyond_seeds", "chosen", "final_errors", "last_points", "over_seeds", "standing"]
