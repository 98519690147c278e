"""degrade.measures of 0.1.0: now degrade.spec.rows."""

from degrade.spec import rows
from degrade.spec.rows import BlockResponse, LayerGradient, LayerResponse

RESPONSES = {name: (column.kind, column.meaning) for name, column in rows.RESPONSES.items()}
BLOCKS = {name: (column.kind, column.meaning) for name, column in rows.BLOCKS.items()}
PROBE = {name: (column.kind, column.meaning) for name, column in rows.PROBE.items()}

__all__ = ["BLOCKS", "PROBE", "RESPONSES", "BlockResponse", "LayerGradient", "LayerResponse"]
