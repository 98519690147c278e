"""What a run is, and how its values are checked."""

from degrade.spec.parts import DataSpec, EngineSpec, NetSpec, RecipeSpec
from degrade.spec.run import RunSpec, parse

__all__ = ["DataSpec", "EngineSpec", "NetSpec", "RecipeSpec", "RunSpec", "parse"]
