"""degrade measures the degradation problem of deep plain nets, and its cure by residual learning.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (2015).
The names below load on first use, so that `import degrade` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from degrade.errors import DataError, DegradeError, RunError, SpecError
    from degrade.experiment import run
    from degrade.nets import build
    from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
    from degrade.store import load
    from degrade.train.fit import Fit
    from degrade.train.probe import probe

_HOME = {
    "DataError": "errors",
    "DataSpec": "spec",
    "DegradeError": "errors",
    "EngineSpec": "spec",
    "Fit": "train.fit",
    "NetSpec": "spec",
    "RecipeSpec": "spec",
    "RunError": "errors",
    "RunSpec": "spec",
    "SpecError": "errors",
    "build": "nets",
    "load": "store",
    "probe": "train.probe",
    "run": "experiment",
}

__all__ = [
    "DataError",
    "DataSpec",
    "DegradeError",
    "EngineSpec",
    "Fit",
    "NetSpec",
    "RecipeSpec",
    "RunError",
    "RunSpec",
    "SpecError",
    "build",
    "load",
    "probe",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'degrade' has no attribute {name!r}")
    return getattr(import_module(f"degrade.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
