"""The guards of all promises, one or more each. A mutant is named after the row of docs/guarantees.md."""

from promises.mutants.holders import HOLDERS
from promises.mutants.inputs import INPUTS
from promises.mutants.losses import LOSSES
from promises.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*LOSSES, *HOLDERS, *INPUTS)
