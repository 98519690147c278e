"""A copy of results to pass on: the runs that are over, without what they say of a machine and its user.

Nothing of a run's result changes: its name, its curve and its tables stay, and every file is sealed anew. Left out are
places, the names of host and user, process numbers, logs, and checkpoints, which hold the same spec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.store import files, parquet
from degrade.store.belonging import seal_files
from degrade.store.folder import RunDir, write_json
from degrade.store.parquet import CURVES, TABLES
from degrade.store.private import shorten_command
from degrade.store.results import pick_furthest, run_dirs
from degrade.store.state import State

# of environment.json; a key that is not here may say anything
_ENVIRONMENT = (
    *("degrade", "commit", "python", "torch", "cuda", "cudnn", "numpy", "platform", "device", "cpus"),
    *("processor", "features", "kernels", "command", "started", "measured"),
)


class Shared(NamedTuple):
    """What a copy holds, and what it does not."""

    runs: list[RunDir]  # in the copy
    left_out: dict[str, State]  # runs that are not over


def share(roots: Sequence[Path], out: Path) -> Shared:
    """Copies the runs under `roots` that are over to `out`, a results folder for others.

    Raises RunError if no run is over, a file is damaged, or `out` holds results of its own.
    """
    places = pick_furthest((folder, folder.standing()) for root in roots for folder in run_dirs(root))
    over = {run: folder for run, (folder, state) in places.items() if state.over}
    if not over:
        raise RunError(f"{', '.join(map(str, roots))}: no run there is over, so there is nothing to share yet")
    copies = {run: RunDir(out, run) for run in over}
    for copy in copies.values():
        _refuse_original(copy)
    for run, folder in over.items():
        _copy(folder, copies[run])
    return Shared([*copies.values()], {run: state for run, (_, state) in places.items() if not state.over})


def _refuse_original(copy: RunDir) -> None:
    """Raises RunError if a run lies there that is no copy: it would lose what it needs to go on."""
    files.inside(copy.root, "runs", copy.run)
    if copy.path.exists() and (copy.log.exists() or any(path.exists() for path in copy.checkpoints) or _is_live(copy)):
        raise RunError(f"{copy.path}: is a run that was trained here, and no copy; name another folder with --out")


def _is_live(copy: RunDir) -> bool:
    return copy.try_read_state().pid is not None


def _copy(folder: RunDir, copy: RunDir) -> None:
    """Copies the files of a run that say what came of it. Reading them checks their checksums."""
    spec = folder.read_spec()
    copy.path.mkdir(parents=True, exist_ok=True)
    for path, schema, there in (
        (folder.curve, CURVES, copy.curve),
        *((folder.tables[name], schema, copy.tables[name]) for name, schema in TABLES.items()),
    ):
        if path.exists():
            parquet.save(there, parquet.read(path, schema), label=spec.data.label)
    write_json(copy.environment, share_environment(folder.read(folder.environment)))
    write_json(copy.spec, {"spec": share_spec(spec).tree()})
    state = replace(folder.read_state(), host=None, pid=None, holder=None, format=None, seals=seal_files(copy), more={})
    write_json(copy.state, state.tree())


def share_spec(spec: RunSpec) -> RunSpec:
    """The same run, without where its pictures lie."""
    return replace(spec, data=replace(spec.data, root=None, url=None))


def share_environment(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was trained on, without places and names; so for each time that it was taken up again."""
    known = {key: said[key] for key in _ENVIRONMENT if isinstance(said.get(key), str | int | None) and key in said}
    known |= {"platform": str(known["platform"]).partition("-")[0]} if known.get("platform") else {}
    known |= {"command": shorten_command(str(known["command"]))} if "command" in known else {}
    classes = said.get("classes")
    known |= {"classes": list(map(str, classes))} if isinstance(classes, list) else {}
    again = said.get("resumed")
    resumed = [share_environment(each) for each in again if isinstance(each, dict)] if isinstance(again, list) else []
    return {**known, **({"resumed": resumed} if resumed else {})}
