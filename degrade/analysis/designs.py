"""The lines of a sweep before it is trained: their depths, and how many seeds of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from degrade.analysis.outcomes import add_labels
from degrade.errors import SpecError
from degrade.spec import DataSpec, RunSpec
from degrade.spec.parts import TRAINING_IMAGES
from degrade.spec.run import PARTS


@dataclass(frozen=True)
class Design:
    """One line, as it will be judged."""

    line: str  # nets that differ in nothing but depth: residual-A
    data: str
    recipe: str
    setting: str  # what tells its protocol from the others of the sweep: recipe.lr=0.1; "" where there is one
    seeds: tuple[tuple[int, int], ...]  # (depth, number of seeds), shallow to deep
    images: int | None  # that its last clean training errors are measured on; None: not known before the data is there

    @property
    def several(self) -> tuple[tuple[int, int], ...]:
        """The depths with several seeds. Only these are judged."""
        return tuple(each for each in self.seeds if each[1] > 1)

    @property
    def judged(self) -> bool:
        """Whether the line can have a verdict."""
        return len(self.several) > 1


def list_designs(specs: Sequence[RunSpec]) -> list[Design]:
    """The lines that these runs make. Nobody looks at pictures, so folders of images of one setting count as one.

    Raises SpecError if data.validation leaves no training images.
    """
    by = {spec.run: spec for spec in specs}
    labelled = add_labels(pd.DataFrame({"run": list(by)}), by)
    lines: dict[tuple[str, str], list[RunSpec]] = {}
    for run, line in zip(labelled.run, labelled.line, strict=True):
        lines.setdefault((by[run].protocol, line), []).append(by[run])
    settings = _name_settings(specs)
    found: list[Design] = []
    for (protocol, line), runs in lines.items():
        data, recipe = runs[0].data, runs[0].recipe
        seeds = tuple(sorted(Counter(spec.net.depth for spec in runs).items()))
        found.append(Design(line, data.name, recipe.name, settings[protocol], seeds, _count_images(data)))
    return sorted(found, key=lambda each: (each.data, each.recipe, each.setting, each.line))


def _name_settings(specs: Sequence[RunSpec]) -> dict[str, str]:
    """Protocol -> the values that tell it from the other protocols of its dataset and recipe: recipe.lr=0.1."""
    protocols = {spec.protocol: spec for spec in specs}
    named: dict[str, str] = {}
    for protocol, spec in protocols.items():
        names = (spec.data.name, spec.recipe.name)
        others = [each for each in protocols.values() if (each.data.name, each.recipe.name) == names]
        keys = dict.fromkeys((part, key) for each in others for part in PARTS for key in each.identity[part])
        values = {(part, key): {getattr(getattr(each, part), key) for each in others} for part, key in keys}
        differ = [pair for pair, several in values.items() if len(several) > 1]
        named[protocol] = ", ".join(f"{part}.{key}={getattr(getattr(spec, part), key)}" for part, key in differ)
    return named


def _count_images(data: DataSpec) -> int | None:
    """Counts the training images without looking at them. Raises SpecError if data.validation leaves none."""
    known = TRAINING_IMAGES.get(data.name)
    if known is None:
        return data.train_limit
    if data.validation >= known:
        raise SpecError(f"data.validation={data.validation}: must leave training images; there are {known:,}")
    return min(known - data.validation, data.train_limit or known)
