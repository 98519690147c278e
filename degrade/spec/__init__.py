"""What a run is, how its values are checked, and what its tables hold.

Others import the specs and `parse` from here. They also use `rows` (columns and rows of every table), `rules` (the
checks of a spec), `parts` (the values each key can have), `run` (origins and names) and `escape` (untrusted text).
"""

from degrade.spec.parts import DataSpec, EngineSpec, NetSpec, RecipeSpec
from degrade.spec.run import RunSpec, parse

__all__ = ["DataSpec", "EngineSpec", "NetSpec", "RecipeSpec", "RunSpec", "parse"]
