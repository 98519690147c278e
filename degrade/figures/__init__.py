"""Figures of the paper from the curves of any runs. A new figure is a function frame -> panels and a line in FIGURES.

Other rooms use the names in __all__, `write` (one drawn figure), `check_protocol`, and the modules `identity` and
`responses`. `panels` is a figure as data, `draw` renders it, `style` says how it looks.
"""

import errno
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure as MplFigure

from degrade.errors import DegradeError, RunError, pick
from degrade.figures import marks, style
from degrade.figures.canvas import Canvas
from degrade.figures.constructed import constructed
from degrade.figures.depth import NO_ENDS, difference, ladder, reached
from degrade.figures.draw import draw
from degrade.figures.gradients import NO_PROBE, abreast, gradients
from degrade.figures.lines import fig1, fig4, fig6, name_of, options
from degrade.figures.panels import AXES, STD_COLUMNS, TRAIN, Line, NothingToDraw, Panel, Picture, View
from degrade.figures.responses import blocks, fig7, gates
from degrade.spec.escape import controls
from degrade.spec.rows import FOREIGN
from degrade.store import files

__all__ = [
    "AXES",
    "FIGURES",
    "FORMATS",
    "STD_COLUMNS",
    "TRAIN",
    "Canvas",
    "Drawn",
    "Figure",
    "Line",
    "NothingToDraw",
    "Panel",
    "Picture",
    "View",
    "draw",
    "picture",
    "save",
    "style",
]


class Figure(NamedTuple):
    """How a figure is made: rows of a table of degrade.store -> panels. Curves come from analysis.curves.add_standing.

    `make` gets at least one row. It raises NothingToDraw if the runs do not allow the figure.
    """

    make: Callable[[pd.DataFrame, View], list[Panel]]
    table: str = "curves"
    abreast: int | Callable[[list[Panel]], int] = 3  # panels in a row
    missing: str = "no run has a point yet; train with `degrade sweep` first"  # the message if the table has no rows

    def across(self, panels: list[Panel]) -> int:
        return self.abreast if isinstance(self.abreast, int) else self.abreast(panels)


_NO_RESPONSES = (
    "no responses are measured yet; run `degrade responses` on the results folder, or on one run with --ckpt RUN"
)
FIGURES: dict[str, Figure] = {
    "fig1": Figure(fig1),
    "fig4": Figure(fig4),
    "fig6": Figure(fig6),
    "options": Figure(options),
    "fig7": Figure(fig7, "responses", 1, _NO_RESPONSES),
    "blocks": Figure(blocks, "blocks", 2, _NO_RESPONSES),
    "gates": Figure(gates, "blocks", 1, _NO_RESPONSES),
    "constructed": Figure(constructed, abreast=2),
    "gradients": Figure(gradients, "probe", abreast, NO_PROBE),
    "ladder": Figure(ladder, "summary", 2, NO_ENDS),
    "reached": Figure(reached, "reached", 2, NO_ENDS),
    "difference": Figure(
        difference, "verdicts", 3, "needs a net of two depths whose runs are over; train another depth"
    ),
}
FORMATS = ("png", "svg", "pdf")
_DPI = 200  # of PNG
_FOLDER_NAME = re.compile(r"\w[\w.@+-]*")  # one part of a path, never ..
_MIXED = "mixed"  # folder for figures of several protocols


class Drawn(NamedTuple):
    """A figure of one protocol: its files, or one line that says why it has none."""

    figure: str
    files: tuple[Path, ...]
    failed: str = ""


def save(
    tables: Mapping[str, pd.DataFrame],
    names: Sequence[str] | None,
    folder: Path,
    view: View | None = None,
    *,
    mix: bool = False,
    command: str = "",
    labels: Mapping[str, str] | None = None,
    of: str = "",
    canvas: Canvas | None = None,
) -> Iterator[Drawn]:
    """Draws the named figures (default: all that the runs allow) of each protocol into folder/<protocol>/.

    `of`: which nets of a folder they show, for the names of their files: fig7-OF.png. Without it they show all of them.

    `tables` maps names in degrade.store.results.Tables to the frames that the figures draw. A figure shows one
    protocol. With `mix` it shows all protocols and says so. A figure that fails stops no other figure. `labels`: what
    people call the data of a protocol.

    Raises SpecError for an unknown name. Raises RunError if the folder cannot be written or there is nothing to draw.
    A named figure that the runs do not allow raises RunError after the other figures are drawn.
    """
    drawable = [name for name, figure in FIGURES.items() if figure.table in tables]
    makers = {name: pick(FIGURES, name, "--figure") for name in names or drawable}
    if all(rows.empty for rows in tables.values()):
        raise RunError(f"{folder.parent}: no run there has a point yet; train with `degrade sweep` first")
    refused: dict[str, str] = {}
    done: set[str] = set()
    for place, parts in _split_by_protocol(tables, mix):
        for name, figure in makers.items():
            rows = parts.get(figure.table)
            try:
                if rows is None or rows.empty:
                    raise NothingToDraw(f"{name}: {figure.missing}")
                shown = picture(name, rows, view, labels)
                drawn = draw(shown.panels, shown.title, shown.across, canvas)
                about = describe(shown, command)
                made = _render(drawn, f"{name}-{of}" if of else name, about, canvas)
            except NothingToDraw as reason:
                refused.setdefault(name, str(reason))
                continue
            except Exception as error:  # a figure that fails stops no other
                kind = "" if isinstance(error, DegradeError) else f"{type(error).__name__}: "
                yield Drawn(name, (), f"{name} of {place}: not drawn; {kind}{' '.join(str(error).split())}")
            else:
                yield Drawn(name, _write_files(made, folder / place))
            done.add(name)
    if reasons := [reason for name, reason in refused.items() if name not in done and (names or not done)]:
        raise RunError("; ".join(reasons))


def picture(
    name: str, rows: pd.DataFrame, view: View | None = None, labels: Mapping[str, str] | None = None
) -> Picture:
    """A figure of FIGURES as data, from at least one row of its table: what every renderer draws.

    Raises NothingToDraw if the runs do not allow the figure.
    """
    figure = FIGURES[name]
    panels = marks.assign(figure.make(rows, view or View()))
    return Picture(
        name=name,
        title=_title_of(rows, labels or {}),
        panels=tuple(panels),
        across=figure.across(panels),
        protocols=tuple(sorted({str(protocol) for protocol in rows.protocol})),
    )


def _split_by_protocol(tables: Mapping[str, pd.DataFrame], mix: bool) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Yields (folder, rows of each table) for each set of figures: one protocol, or all protocols together."""
    protocols = sorted({str(protocol) for rows in tables.values() for protocol in rows.protocol.unique()})
    if mix and len(protocols) > 1:
        yield _MIXED, dict(tables)
    else:
        for protocol in protocols:
            yield check_protocol(protocol), {name: rows[rows.protocol == protocol] for name, rows in tables.items()}


def check_protocol(protocol: str) -> str:
    """Returns the protocol as a folder name. Raises RunError if it is not one: a stranger may have written the file."""
    if not _FOLDER_NAME.fullmatch(protocol):
        raise RunError(
            f"{protocol!r}: is not the name of a protocol, so no folder is named after it; find out who wrote the file"
        )
    return protocol


def describe(shown: Picture, command: str = "") -> str:
    """The command, the protocols and the runs of a figure: the metadata of its files."""
    said = [command or f"degrade plot --figure {shown.name}"]
    if shown.protocols:
        said.append(f"protocols: {', '.join(shown.protocols)}")
    return controls("; ".join([*said, f"runs: {', '.join(shown.runs)}"]))


def write(shown: Picture, folder: Path, command: str, canvas: Canvas | None = None) -> tuple[Path, ...]:
    """Writes the figure in all formats, or none if a format fails. Raises RunError if the folder cannot be written."""
    drawn = draw(shown.panels, shown.title, shown.across, canvas)
    return _write_files(_render(drawn, shown.name, describe(shown, command), canvas), folder)


def _render(figure: MplFigure, name: str, about: str, canvas: Canvas | None = None) -> dict[str, bytes]:
    """Renders the figure in each format: file name -> content. `about` goes into the metadata."""
    made: dict[str, bytes] = {}
    with style.settings(canvas):
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine(None)  # the layout is done: otherwise each format would repeat it, and draw twice
        for kind in FORMATS:
            sink = io.BytesIO()
            figure.savefig(sink, format=kind, dpi=_DPI, metadata=_metadata(kind, name, about))
            made[f"{name}.{kind}"] = sink.getvalue()
    return made


def _write_files(made: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Writes the files, returns their paths. Raises RunError if the folder cannot be written or is a symbolic link."""
    try:
        if folder.is_symlink():
            raise OSError(errno.EMLINK, "is a link")
        folder.mkdir(parents=True, exist_ok=True)
        files.clear_drafts(folder)
        for name, content in made.items():
            files.write(folder / name, content)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from None
    return tuple(folder / name for name in made)


def _title_of(curves: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """Names the data, recipe and precision of the runs, and says if they mix protocols. Metadata has the protocols.

    Nets from files of others have no recipe and protocol: they are named.
    """
    theirs = curves.protocol == FOREIGN
    pairs = curves[["protocol", "data"]].drop_duplicates().itertuples(index=False)
    data = ", ".join(sorted({labels.get(str(protocol), str(data)) for protocol, data in pairs}))
    if theirs.all():
        return f"{data}; {_list_foreign(curves)}"
    said = {name: ", ".join(sorted(curves[~theirs][name].unique())) for name in ("recipe", "precision")}
    many = curves.protocol[~theirs].nunique()
    mixed = f"; mixes {many} protocols" if many > 1 else ""
    files = f" and {_list_foreign(curves[theirs])}" if theirs.any() else ""
    return f"{data}; recipe {said['recipe']}; {said['precision']}{mixed}{files}"


def _list_foreign(rows: pd.DataFrame) -> str:
    """residual-A-20 (resnet20), and how many more there are."""
    names = list(dict.fromkeys(name_of(row, {}) for _, row in rows.drop_duplicates("group").iterrows()))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _metadata(kind: str, name: str, about: str) -> dict[str, str | None]:
    """What a figure is about, under the keys of each format. No date, so the same figure is the same file."""
    words: dict[str, dict[str, str | None]] = {
        "png": {"Title": name, "Description": about},
        "svg": {"Title": name, "Description": about, "Date": None},
        "pdf": {"Title": name, "Subject": about, "CreationDate": None},
    }
    return words[kind]
