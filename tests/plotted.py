"""Curves of known shape, as figures are made of them, and the panels that come of them."""

import pandas as pd

from degrade import figures
from degrade.figures import FIGURES, View

CURVES = ("fig1", "fig4", "fig6", "options")  # of the paper; the others are in files of their own
SCHEDULE = 100  # iterations of every run here


def run(
    net="plain",
    shortcut="none",
    depth=8,
    seed=0,
    *,
    upto=SCHEDULE,
    state="",
    end=5.0,
    width=16,
    protocol="x-1",
    origin="",
):
    """The curve of one run, a point every 20 iterations: training error from 50 % to `end`, test error 2 % above."""
    name = f"{net}-{shortcut}-{depth}-w{width}-{protocol}{origin}"
    labels = {"run": f"{name}-s{seed}", "group": name, "protocol": protocol, "net": net, "shortcut": shortcut}
    labels |= {
        "depth": depth,
        "width": width,
        "seed": seed,
        "data": "digits",
        "recipe": "tiny",
        "precision": "fp32",
        "origin": origin,
    }
    labels |= {"state": state or ("finished" if upto == SCHEDULE else "running"), "iterations": SCHEDULE}
    rows = []
    for i in range(20, upto + 1, 20):
        error = end + (50 - end) * (SCHEDULE - i) / 80 + seed
        for split, extra in (("train", 0.0), ("train_clean", -0.5), ("test", 2.0)):
            at = {"iteration": i, "epoch": i / 10, "seconds": i * depth / 10.0 + seed}
            rows.append({**labels, **at, "split": split, "error": error + extra})
    return pd.DataFrame(rows)


def sweep(shortcuts="A", depths=(8, 20), seeds=(0,), net=("plain", "residual"), **rest):
    kinds = [("plain", "none"), *(("residual", shortcut) for shortcut in shortcuts)]
    runs = [(*kind, depth, seed) for kind in kinds if kind[0] in net for depth in depths for seed in seeds]
    return pd.concat([run(*one, **rest) for one in runs], ignore_index=True)


def whole():
    """Everything at once: options, three depths, two seeds of which some are behind or diverged, a narrow net."""
    parts = [sweep("AB", (8, 20, 32)), sweep("A", (8,), (1,)), run("plain", "none", 32, 1, upto=60, end=30.0)]
    parts += [run("residual", "B", 32, 1, upto=40, state="diverged"), run("residual", "A", 20, width=4)]
    return pd.concat(parts, ignore_index=True)


def save(curves, *words, **options):
    return figures.save({"curves": curves}, *words, **options)


def panels(name, curves=None, **view):
    return FIGURES[name].make(sweep() if curves is None else curves, View(**view))


def labels(panel):
    return [line.label for line in panel.lines if line.label]
