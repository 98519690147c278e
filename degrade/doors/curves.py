"""degrade.curves of 0.1.0: now degrade.analysis.curves."""

from degrade.analysis.curves import beyond_seeds, chosen, final_errors, last_points, over_seeds, standing

__all__ = ["beyond_seeds", "chosen", "final_errors", "last_points", "over_seeds", "standing"]
