"""Figures in words: what each line of a panel does, for readers who do not see it."""

import re
from collections.abc import Iterator

import numpy as np

from degrade.figures import Panel
from degrade.figures.panels import Line
from degrade.spec.escape import controls

_SPLITS = {"train": "training", "train_clean": "clean training", "val": "validation"}
_PLAIN = ("solid", "medium")  # dash and weight that say nothing


def name_lines(panel: Panel) -> list[str]:
    """A name for each line: its label, or that of the labelled line of its key, and what its dash or weight means."""
    labels: dict[str, str] = {}
    for line in panel.lines:
        if line.label:
            labels.setdefault(line.key, line.label)
    names: list[str] = []
    for line in panel.lines:
        name = line.label or re.split(r", \d| \(", labels.get(line.key, line.key))[0]
        meaning = meaning_of(panel, line)
        names.append(controls(f"{name}, {meaning}" if meaning else name))
    return names


def meaning_of(panel: Panel, line: Line) -> str:
    """What a line is measured on: training, test. Else what the notes of its panel say of its dash or weight."""
    if len({each.split for each in panel.lines}) > 1:
        return _SPLITS.get(line.split, line.split)
    said = dict(note.split(": ", 1) for note in panel.notes if ": " in note)
    return next((said[word] for word in (line.dash, line.weight) if word in said and word not in _PLAIN), "")


def describe(panel: Panel) -> list[str]:
    """A sentence a line: where it starts, where it ends, and where it runs above the first line of its kind."""
    names, unit = name_lines(panel), " %" if "%" in panel.ylabel else ""
    first: dict[str, tuple[str, Line]] = {}
    told: list[str] = []
    for name, line in zip(names, panel.lines, strict=True):
        known = np.isfinite(line.y)
        if not known.any():
            continue
        x, y = line.x[known], line.y[known]
        if len(x) == 1:
            told.append(f"{name}: {y[0]:.3g}{unit} at {_at(panel, x[0])}.")
            continue
        said = f"{name}: starts at {y[0]:.3g}{unit}, ends at {y[-1]:.3g}{unit}"
        kind = meaning_of(panel, line)
        if kind in first and panel.lines[0].label != line.label:
            base, other = first[kind]
            said += "".join(f", {part}" for part in _beside(panel, line, other, base))
        first.setdefault(kind, (name, line))
        told.append(f"{said}.")
    return told


def _beside(panel: Panel, line: Line, other: Line, name: str) -> Iterator[str]:
    """Where a line ends beside another, and from where on: above plain-20 from 400 iterations on."""
    _, own, their = np.intersect1d(line.x, other.x, return_indices=True)
    gap = line.y[own] - other.y[their]
    known = np.isfinite(gap)
    gap, places = gap[known], line.x[own][known]
    if not len(gap) or gap[-1] == 0:
        return
    side = np.sign(gap[-1])
    turned = np.flatnonzero(np.sign(gap) != side)
    where = "above" if side > 0 else "below"
    if not len(turned):
        yield f"{where} {name} throughout"
    else:
        yield f"{where} {name} from {_at(panel, float(places[turned[-1] + 1]))} on"


def _at(panel: Panel, x: float) -> str:
    """A place on the x axis in words: iteration 400, 56 layers."""
    unit = re.sub(r"\s*\(.*\)", "", panel.xlabel)
    return f"iteration {x:,.0f}" if unit == "iterations" else f"{unit} {x:,.4g}"
