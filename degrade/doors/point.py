"""degrade.point of 0.1.0: now degrade.spec.rows."""

from degrade.spec.rows import CURVE, SPLITS, TIMINGS, Point
from degrade.spec.rows import LABELS as COLUMNS

LABELS = {name: (column.kind, column.meaning) for name, column in COLUMNS.items()}
MEANING = {name: (column.kind, column.meaning) for name, column in CURVE.items()}

__all__ = ["LABELS", "MEANING", "SPLITS", "TIMINGS", "Point"]
