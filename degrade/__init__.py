"""degrade measures the degradation problem of deep plain nets, and its cure by residual learning.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (2015).
The names below load on first use, so that `import degrade` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from degrade.anatomy import responses
    from degrade.errors import DataError, DegradeError, RunError, SpecError
    from degrade.evaluation import Ensemble, Evaluation, ensemble, evaluate
    from degrade.experiment import run
    from degrade.nets import build
    from degrade.solution import construct
    from degrade.solvers import identity
    from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
    from degrade.store import load
    from degrade.train.fit import Fit
    from degrade.train.probe import probe
    from degrade.trained import Trained, open_net
    from degrade.verdicts import Comparison, compare

_HOME = {
    "Comparison": "verdicts",
    "DataError": "errors",
    "DataSpec": "spec",
    "DegradeError": "errors",
    "EngineSpec": "spec",
    "Ensemble": "evaluation",
    "Evaluation": "evaluation",
    "Fit": "train.fit",
    "NetSpec": "spec",
    "RecipeSpec": "spec",
    "RunError": "errors",
    "RunSpec": "spec",
    "SpecError": "errors",
    "Trained": "trained",
    "build": "nets",
    "compare": "verdicts",
    "construct": "solution",
    "ensemble": "evaluation",
    "evaluate": "evaluation",
    "identity": "solvers",
    "load": "store",
    "open_net": "trained",
    "probe": "train.probe",
    "responses": "anatomy",
    "run": "experiment",
}

__all__ = [
    "Comparison",
    "DataError",
    "DataSpec",
    "DegradeError",
    "EngineSpec",
    "Ensemble",
    "Evaluation",
    "Fit",
    "NetSpec",
    "RecipeSpec",
    "RunError",
    "RunSpec",
    "SpecError",
    "Trained",
    "build",
    "compare",
    "construct",
    "ensemble",
    "evaluate",
    "identity",
    "load",
    "open_net",
    "probe",
    "responses",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'degrade' has no attribute {name!r}")
    return getattr(import_module(f"degrade.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
