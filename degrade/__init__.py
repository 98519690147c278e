"""degrade measures the degradation problem of deep plain nets, and its cure by residual learning.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (2015).
The names below load on first use, so that `import degrade` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__path__.append(f"{__path__[0]}/doors")  # paths that have moved since 0.1.0 and are documented

if TYPE_CHECKING:
    from degrade.analysis.compare import Comparison, compare
    from degrade.errors import DataError, DegradeError, RunError, SpecError
    from degrade.experiments.construct import construct
    from degrade.experiments.evaluate import Ensemble, Evaluation, ensemble, evaluate
    from degrade.experiments.identity.grid import identity
    from degrade.experiments.responses import responses
    from degrade.experiments.trained import Trained, open_net
    from degrade.figures.plot import plot
    from degrade.nets import build
    from degrade.spec import DataSpec, EngineSpec, NetSpec, RecipeSpec, RunSpec
    from degrade.store.results import load
    from degrade.train.fit import Fit
    from degrade.train.probe import probe
    from degrade.train.run import run
    from degrade.views.report.page import report

_HOME = {
    "Comparison": "analysis.compare",
    "DataError": "errors",
    "DataSpec": "spec",
    "DegradeError": "errors",
    "EngineSpec": "spec",
    "Ensemble": "experiments.evaluate",
    "Evaluation": "experiments.evaluate",
    "Fit": "train.fit",
    "NetSpec": "spec",
    "RecipeSpec": "spec",
    "RunError": "errors",
    "RunSpec": "spec",
    "SpecError": "errors",
    "Trained": "experiments.trained",
    "build": "nets",
    "compare": "analysis.compare",
    "construct": "experiments.construct",
    "ensemble": "experiments.evaluate",
    "evaluate": "experiments.evaluate",
    "identity": "experiments.identity.grid",
    "load": "store.results",
    "open_net": "experiments.trained",
    "plot": "figures.plot",
    "probe": "train.probe",
    "report": "views.report.page",
    "responses": "experiments.responses",
    "run": "train.run",
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
    "plot",
    "probe",
    "report",
    "responses",
    "run",
]


_DOORS = ("curves", "measures", "paper", "point", "trained", "trial", "verdicts")


def __getattr__(name: str) -> object:
    if name in _DOORS:
        return import_module(f"degrade.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'degrade' has no attribute {name!r}")
    return getattr(import_module(f"degrade.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
