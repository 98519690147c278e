"""Figures of the paper from the curves of any runs. A new one is a function frame -> panels and a line in FIGURES."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd

from degrade import files
from degrade.errors import DegradeError, RunError, pick
from degrade.figures import style
from degrade.figures.draw import draw
from degrade.figures.lines import fig1, fig4, fig6, options
from degrade.figures.panels import AXES, TRAIN, NothingToDraw, Panel, View

__all__ = ["AXES", "FIGURES", "FORMATS", "TRAIN", "Drawn", "NothingToDraw", "Panel", "View", "draw", "save", "style"]

# frame of degrade.curves.standing, view -> panels; NothingToDraw where the runs do not allow the figure
FIGURES: dict[str, Callable[[pd.DataFrame, View], list[Panel]]] = {
    "fig1": fig1,
    "fig4": fig4,
    "fig6": fig6,
    "options": options,
}
FORMATS = ("png", "svg", "pdf")
MIXED = "mixed"  # folder of figures that show several protocols


class Drawn(NamedTuple):
    """A figure of one protocol: its files, or in one line why there are none."""

    figure: str
    files: tuple[Path, ...]
    failed: str = ""


def save(
    curves: pd.DataFrame,
    names: Sequence[str] | None,
    folder: Path,
    view: View | None = None,
    *,
    mix: bool = False,
    command: str = "",
) -> Iterator[Drawn]:
    """Draws the named figures (default: all that the runs allow) of each protocol into folder/<protocol>/.

    A figure shows one protocol, or with `mix` all of them, and then says so. One that fails stops no other.
    Raises SpecError for an unknown name; RunError, after the others, for a named figure that the runs do not allow, and
    where there is nothing to draw at all.
    """
    makers = {name: pick(FIGURES, name, "--figure") for name in names or FIGURES}
    if curves.empty:
        raise RunError(f"{folder.parent}: no run there has a point yet; train with `degrade sweep` first")
    refused: dict[str, str] = {}
    done: set[str] = set()
    for place, rows in by_protocol(curves, mix):
        for name, maker in makers.items():
            try:
                panels = maker(rows, view or View())
                made = write(panels, name, title_of(rows), folder / place, command)
            except NothingToDraw as reason:
                refused.setdefault(name, str(reason))
                continue
            except Exception as error:  # a figure that fails stops no other
                kind = "" if isinstance(error, DegradeError) else f"{type(error).__name__}: "
                yield Drawn(name, (), f"{name} of {place}: not drawn; {kind}{' '.join(str(error).split())}")
            else:
                yield Drawn(name, made)
            done.add(name)
    if reasons := [reason for name, reason in refused.items() if name not in done and (names or not done)]:
        raise RunError("; ".join(reasons))


def by_protocol(curves: pd.DataFrame, mix: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    """(folder, rows) of what is drawn in one figure."""
    if mix and curves.protocol.nunique() > 1:
        yield MIXED, curves
    else:
        yield from ((str(protocol), rows) for protocol, rows in curves.groupby("protocol"))


def write(panels: Sequence[Panel], name: str, title: str, folder: Path, command: str) -> tuple[Path, ...]:
    """The figure in all formats: all files or, if one cannot be made, none. Raises RunError if it may not write."""
    figure, runs = draw(panels, title), sorted({run for panel in panels for line in panel.lines for run in line.runs})
    made: dict[Path, bytes] = {}
    for kind in FORMATS:
        sink = io.BytesIO()
        with mpl.rc_context(style.RC):
            figure.savefig(sink, format=kind, dpi=200, metadata=metadata(kind, name, runs, command))
        made[folder / f"{name}.{kind}"] = sink.getvalue()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in made.items():
            files.write(path, content)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from None
    return tuple(made)


def title_of(curves: pd.DataFrame) -> str:
    """What all runs in the figure share, or that they do not."""
    said = {name: ", ".join(sorted(curves[name].unique())) for name in ("data", "recipe", "precision", "protocol")}
    mixed = "mixes protocols" if curves.protocol.nunique() > 1 else "protocol"
    return f"{said['data']}; recipe {said['recipe']}; {said['precision']}; {mixed} {said['protocol']}"


def metadata(kind: str, name: str, runs: Sequence[str], command: str) -> dict[str, str | None]:
    """Which runs it shows and how it was made, in the words of each format; no date: the same figure, the same file."""
    about = f"{command or f'degrade plot --figure {name}'}; runs: {', '.join(runs)}"
    words: dict[str, dict[str, str | None]] = {
        "png": {"Title": name, "Description": about},
        "svg": {"Title": name, "Description": about, "Date": None},
        "pdf": {"Title": name, "Subject": about, "CreationDate": None},
    }
    return words[kind]
