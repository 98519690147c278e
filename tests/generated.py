"""Studies with a known truth: the tables that degrade.load would give, without a training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pandas as pd

from degrade.spec import RunSpec
from degrade.spec.rows import CURVE, Point
from degrade.store.folder import RunDir
from degrade.store.results import Tables
from degrade.store.state import State

IMAGES = {"train": 50_000, "train_clean": 20_000, "test": 10_000, "val": 100}
EVERY = 10  # iterations between two points, and seconds


@dataclass
class Run:
    """One run and its errors (%) by split, from first point to last."""

    spec: RunSpec
    errors: Mapping[str, Sequence[float]]
    state: str = "finished"
    outcome: str = ""
    images: Mapping[str, int] = field(default_factory=lambda: IMAGES)

    def rows(self) -> list[dict[str, object]]:
        labels = {**dict.fromkeys(CURVE, 0.0), **self.spec.labels()}
        return [
            labels | {"iteration": EVERY * i, "seconds": float(EVERY * i), "split": s, "error": e, "n": self.images[s]}
            for s, errors in self.errors.items()
            for i, e in enumerate(errors, 1)
        ]


def tables(runs: Iterable[Run]) -> Tables:
    """As of finished runs under one root; other states as they are given."""
    runs = list(runs)
    curves = pd.DataFrame([row for run in runs for row in run.rows()], columns=list(CURVE))
    known = [{**r.spec.labels(), "state": r.state, "outcome": r.outcome, "reason": ""} for r in runs]
    none = pd.DataFrame()
    return Tables(pd.DataFrame(known), curves, none, none, none, specs={run.spec.run: run.spec for run in runs})


def ended(spec: RunSpec, clean: float, test: float, **more: str) -> Run:
    """A run of which only the end matters."""
    return Run(spec, {"train_clean": (clean,), "test": (test,), "train": (clean + 0.1,)}, **more)


def lay(runs: Iterable[Run], root: Path) -> None:
    """The same as run folders."""
    for run in runs:
        folder = RunDir(root, run.spec.run)
        folder.path.mkdir(parents=True)
        folder.begin(run.spec, {})
        folder.write_curve(run.spec, [Point(**{f.name: row[f.name] for f in fields(Point)}) for row in run.rows()])
        folder.write_state(State(run.state, outcome=run.outcome, reason="", iteration=EVERY, iterations=EVERY))
