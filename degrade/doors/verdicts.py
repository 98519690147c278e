"""degrade.verdicts of 0.1.0: now degrade.analysis.compare."""

from degrade.analysis.compare import COLUMNS, LAST, Comparison, compare

__all__ = ["COLUMNS", "LAST", "Comparison", "compare"]
