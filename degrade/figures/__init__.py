"""Figures of the paper from the curves of any runs. A new one is a function frame -> panels and a line in FIGURES."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from degrade.errors import RunError, pick
from degrade.figures import style
from degrade.figures.draw import draw
from degrade.figures.lines import Panel, fig6

FIGURES: dict[str, Callable[[pd.DataFrame], list[Panel]]] = {"fig6": fig6}
FORMATS = ("png", "svg", "pdf")


def save(curves: pd.DataFrame, names: Sequence[str] | None, folder: Path) -> Iterator[Path]:
    """Draws the named figures (default: all) of each protocol into folder/<protocol>/; yields the files.

    A figure never mixes protocols. Raises SpecError for an unknown name, RunError where there is nothing to draw.
    """
    makers = {name: pick(FIGURES, name, "--figure") for name in names or FIGURES}
    if curves.empty:
        raise RunError(f"{folder.parent}: no run there has a point yet; train with `degrade sweep` first")
    for protocol, rows in curves.groupby("protocol"):
        for name, maker in makers.items():
            figure = draw(maker(rows), title_of(rows))
            path = folder / str(protocol)
            path.mkdir(parents=True, exist_ok=True)
            for kind in FORMATS:
                with mpl.rc_context(style.RC):
                    figure.savefig(path / f"{name}.{kind}", dpi=200, metadata=metadata(kind, name, rows))
                yield path / f"{name}.{kind}"


def title_of(curves: pd.DataFrame) -> str:
    """What all runs of a protocol share."""
    first = curves.iloc[0]
    return f"{first.data}, recipe {first.recipe}, {first.precision}; protocol {first.protocol}"


def metadata(kind: str, name: str, curves: pd.DataFrame) -> dict[str, str | None]:
    """Which runs it shows, in the words of each format; no date, so that the same figure is the same file."""
    about = f"degrade plot --figure {name}; runs: {', '.join(sorted(curves.run.unique()))}"
    words: dict[str, dict[str, str | None]] = {
        "png": {"Title": name, "Description": about},
        "svg": {"Title": name, "Description": about, "Date": None},
        "pdf": {"Title": name, "Subject": about, "CreationDate": None},
    }
    return words[kind]
