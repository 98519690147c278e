"""What lies under results folders: the runs, where they stand, and their tables together."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.spec.differences import tell_differences
from degrade.store import files, parquet
from degrade.store.belonging import check_curve
from degrade.store.files import at_home
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES, TABLES, Schema
from degrade.store.state import Board, State

if TYPE_CHECKING:
    import pandas as pd

_NAMES_SHOWN = 4  # of the runs that a short name matches


def board(specs: Iterable[RunSpec], root: Path) -> Board:
    """Where each run of a sweep stands. A command reads it once."""
    return {spec.run: RunDir(root, spec.run).standing() for spec in specs}


class Tables(NamedTuple):
    """Everything under one or more results folders."""

    runs: "pd.DataFrame"  # one row a run: its labels and state.json
    curves: "pd.DataFrame"  # degrade.spec.rows.CURVE
    responses: "pd.DataFrame"  # degrade.spec.rows.RESPONSES, with the labels of the run; likewise the next two
    blocks: "pd.DataFrame"
    probe: "pd.DataFrame"
    specs: dict[str, RunSpec]  # by the name of the run

    def labels(self) -> dict[str, str]:
        """protocol -> what people call its data, where they do."""
        return list_labels(self.specs.values())

    def __repr__(self) -> str:
        """Tables(8 runs, 480 points; responses: 96 rows): a notebook shows the frames themselves."""
        measured = "".join(f"; {name}: {len(rows):,} rows" for name, rows in self.measurements().items() if len(rows))
        return f"Tables({len(self.runs)} runs, {len(self.curves):,} points{measured})"

    def measurements(self) -> "dict[str, pd.DataFrame]":
        """The tables besides the curves, by their names in degrade.store.parquet.TABLES."""
        return {name: getattr(self, name) for name in TABLES}


def list_labels(specs: Iterable[RunSpec]) -> dict[str, str]:
    """protocol -> what people call its data, where they do. Runs of one protocol may be called differently."""
    found: dict[str, set[str]] = {}
    for spec in specs:
        found.setdefault(spec.protocol, set()).update({spec.data.label} - {""})
    return {protocol: " / ".join(sorted(labels)) for protocol, labels in found.items() if labels}


def make_root(root: Path) -> None:
    """Makes the results folder before anything is trained. Raises RunError if it cannot be made or takes no files."""
    runs = files.inside(root, "runs")
    try:
        files.make_folder(runs)
        TemporaryFile(dir=runs).close()
    except OSError as error:
        raise RunError(f"results={root}: cannot be written ({error.strerror}); name another folder") from None


def run_dirs(root: Path) -> list[RunDir]:
    """The runs under a results folder, by name. Raises RunError if there is no such folder."""
    if not root.is_dir():
        raise RunError(_describe_absence(root))
    folders = (RunDir(root, path.name) for path in sorted((root / "runs").glob("*")) if path.is_dir())
    return [folder for folder in folders if folder.holds_run]


def _describe_absence(root: Path) -> str:
    """What to say where there is no results folder: a study that takes a minute, rather than days of CIFAR-10."""
    if root == Path("results"):
        return "No results here yet. Try: degrade sweep study=quickstart"
    there = "is a file, and no results folder" if root.exists() else "no such results folder"
    return f"{root}: {there}; name another, or try: degrade sweep study=quickstart {shlex.quote(f'results={root}')}"


def find(run: str, root: Path) -> tuple[RunDir, Path]:
    """A run, found by its folder, its name or the beginning of its name; and its results folder.

    Raises RunError if there is no such run, or more than one.
    """
    try:
        path = at_home(run).resolve()
    except (OSError, RuntimeError):  # a loop of links
        path = at_home(run)
    if (path / "spec.json").exists():
        return RunDir(path.parent.parent, path.name), path.parent.parent
    folders = [folder for folder in run_dirs(root) if folder.run.startswith(run)]
    if not folders:
        raise RunError(f"no run named {run!r} in {root}/; {_name_others(run, root)}")
    if len(folders) > 1:
        differs = tell_differences(read_specs(folders))
        names = [f"{each.run} {differs.get(each.run, '')}".rstrip() for each in folders[:_NAMES_SHOWN]]
        more = ", ..." if len(folders) > _NAMES_SHOWN else ""
        said = f"matches {len(folders)} runs in {root}/ ({', '.join(names)}{more})"
        raise RunError(f"{run!r} {said}; type more of the name")
    return folders[0], root


def _name_others(run: str, root: Path) -> str:
    """The run that was most likely meant, else how to list all."""
    names = [folder.run for folder in run_dirs(root)]
    if close := get_close_matches(run, [*names, *(name.rpartition("-")[0] for name in names)], n=1, cutoff=0.75):
        return f"did you mean {close[0]!r}?"
    listing = "degrade status" if root == Path("results") else shlex.join(["degrade", "status", str(root)])
    return f"`{listing}` lists them" if names else "it holds no runs; try: degrade sweep study=quickstart"


def read_specs(folders: Iterable[RunDir]) -> list[RunSpec]:
    """The specs of those runs whose specs can be read."""
    found: list[RunSpec] = []
    for folder in folders:
        with suppress(RunError):
            found.append(folder.read_spec())
    return found


def pick_furthest(places: Iterable[tuple[RunDir, State]]) -> dict[str, tuple[RunDir, State]]:
    """run -> folder and state. Of a run in several places, picks the furthest; of two as far, the one that is over."""
    found: dict[str, tuple[RunDir, State]] = {}
    for folder, state in places:
        if folder.run not in found or state.progress > found[folder.run][1].progress:
            found[folder.run] = (folder, state)
    return found


def load(*roots: Path | str, runs: Collection[str] | None = None, measured: Collection[str] = tuple(TABLES)) -> Tables:
    """The tables of all runs under `roots`, or of those in `runs`. A run found twice counts once, where it is further.

    Besides the curves, reads only the tables in `measured`; the others are empty.
    Raises RunError for a folder that is not there or a file that cannot be read.
    """
    asked = [folder for root in roots for folder in run_dirs(at_home(root)) if runs is None or folder.run in runs]
    return read_tables(pick_furthest((folder, folder.read_standing()) for folder in asked), measured)


def read_tables(places: Mapping[str, tuple[RunDir, State]], measured: Collection[str] = ()) -> Tables:
    """As `load`, of runs whose states were read already. Raises RunError for a file that cannot be read."""
    specs = {run: folder.read_spec() for run, (folder, _) in places.items()}
    rows = [{"outcome": "", **state.known_tree(), **specs[run].labels()} for run, (_, state) in places.items()]
    folders = [folder for folder, _ in places.values()]
    paths = {name: [folder.tables[name] for folder in folders if name in measured] for name in TABLES}
    frames = {name: _read_frame(paths[name], schema) for name, schema in TABLES.items()}
    import pandas as pd  # here, since processes that only write need no frames

    curves = _read_frame([folder.curve for folder in folders], CURVES)
    for folder, state in places.values():  # after the values, which have errors of their own
        if folder.curve.exists():
            check_curve(folder, state if state.over else State())
    return Tables(pd.DataFrame(rows), curves, **frames, specs=specs)


def _read_frame(paths: Sequence[Path], schema: Schema) -> "pd.DataFrame":
    """The rows of all files in `paths` that exist."""
    return parquet.read_all([path for path in paths if path.exists()], schema).to_pandas()
