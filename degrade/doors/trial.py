"""degrade.trial of 0.1.0: now degrade.experiments.identity.trial."""

from degrade.experiments.identity.trial import IDENTITY as COLUMNS
from degrade.experiments.identity.trial import Copied, Trial

IDENTITY = {name: (column.kind, column.meaning) for name, column in COLUMNS.items()}

__all__ = ["IDENTITY", "Copied", "Trial"]
