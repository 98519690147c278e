"""Measures layer responses of trained nets (Fig. 7) once, keeps them beside the run, and returns frames."""

import copy
import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from degrade import figures
from degrade.data.batches import EVALUATION_BATCH, Resident
from degrade.errors import RunError, SpecError
from degrade.experiments.pictures import choose_scaling
from degrade.experiments.trained import Trained, as_trained, choose_measuring, pictures, tell_apart
from degrade.nets.norms import split_batch
from degrade.nets.responses import measure
from degrade.spec import DataSpec
from degrade.spec.rows import FOREIGN
from degrade.store import parquet
from degrade.store.folder import RunDir
from degrade.store.parquet import TABLES
from degrade.train.fit import pick_device
from degrade.train.precision import settle_as_trained

if TYPE_CHECKING:
    import pandas as pd

TABLE_NAMES = ("responses", "blocks")  # of degrade.store.parquet.TABLES
_SAME = ("run", "iteration", "split", "bn", "n")  # columns that identify a measurement


class Responses(NamedTuple):
    """The responses of some nets, with the labels of their runs."""

    layers: "pd.DataFrame"  # degrade.spec.rows.RESPONSES
    blocks: "pd.DataFrame"  # degrade.spec.rows.BLOCKS


@dataclass(frozen=True, kw_only=True)
class Under:
    """The conditions of a measurement. Raises SpecError for a bad value."""

    split: str = "test"  # train | test
    bn: str = "running"  # running: evaluation mode; batch: BN normalises each batch by itself
    batch: int | None = None  # images at once; None: the run's own batch under bn=batch, else EVALUATION_BATCH

    def __post_init__(self) -> None:
        for name, known in (("split", ("train", "test")), ("bn", ("running", "batch"))):
            if getattr(self, name) not in known:
                raise SpecError(f"--{name}={getattr(self, name)}: unknown; known: {', '.join(known)}")
        if self.batch is not None and self.batch < 2:
            raise SpecError(f"--batch={self.batch}: must be at least 2 images")

    def images(self, trained: Trained) -> int:
        """Images at once for this net."""
        own = trained.run.recipe.batch if trained.run else 128  # Sec. 4.2
        return self.batch or (own if self.bn == "batch" else EVALUATION_BATCH)


def responses(
    nets: Sequence[Trained | Path | str],
    under: Under | None = None,
    asked: DataSpec | None = None,
    *,
    given_scale: bool = False,
) -> Responses:
    """Measures every 3x3 layer and block of `nets` (Fig. 7), on their own data or on the data `asked` for.

    `nets`: opened, or as the paths and names that `open_net` takes.

    Responses on a run's own data are kept in its folder, and taken from there where iteration, split and statistics are
    the same. A net that is named twice counts once; a run at several iterations counts as several nets, called
    run@iteration. Raises as `open_net` and `pictures` of degrade.experiments.trained do.
    """
    measuring = choose_measuring(asked, given_scale)
    opened = tell_apart([as_trained(net, measuring) for net in nets])
    distinct = {(net.run.run if net.run else net.label, net.iteration, net.weights): net for net in opened}
    found = [_measure(net, under or Under(), asked, given_scale) for net in distinct.values()]
    layers, blocks = (
        parquet.concatenate([each[name] for each in found], TABLES[name]).to_pandas() for name in TABLE_NAMES
    )
    return Responses(_name_iterations(layers), _name_iterations(blocks))


def explain(nets: Sequence[Trained], asked: DataSpec | None = None, *, given_scale: bool = False) -> dict[str, str]:
    """group -> what its numbers rest on: the scale of the pictures, and what is assumed of a net of others."""
    return {
        str(_label(net, "", elsewhere=False)["group"]): "; ".join(
            (f"scale: {choose_scaling(net, asked, given_scale=given_scale).said}", *net.assumed)
        )
        for net in nets
    }


def _name_iterations(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Renames runs that are there at several iterations to run@iteration."""
    several = rows.groupby("run").iteration.transform("nunique") > 1
    at = "@" + rows.iteration.astype(str)
    return rows.assign(**{name: rows[name].where(~several, rows[name] + at) for name in ("run", "group")})


def _measure(trained: Trained, under: Under, asked: DataSpec | None, given_scale: bool) -> dict[str, Any]:
    """Measures one net, or reads its earlier measurement: the tables by the names in TABLE_NAMES."""
    own = trained.folder if asked is None and under.batch is None and trained.hints.normalize is None else None
    at, split, bn = trained.iteration, under.split, under.bn
    before = {name: _relabel(trained, _read_rows(own, name)) for name in TABLE_NAMES} if own else {}
    known = {name: parquet.split(rows, iteration=at, split=split, bn=bn)[0] for name, rows in before.items()}
    if known and all(len(rows) for rows in known.values()):
        return known
    shown, device = pictures(trained, asked, given_scale=given_scale), pick_device("auto")
    settle_as_trained(trained.run.engine if trained.run else None, device)
    images, net = shown.resident(split, device), copy.deepcopy(trained.net).to(device)
    made = measure(
        net, _split_images(images, under.images(trained)), iteration=at, split=split, bn=bn, pad=trained.spec.pad
    )
    tables = {
        name: parquet.table(_label(trained, shown.spec.name, elsewhere=asked is not None), rows, TABLES[name])
        for name, rows in zip(TABLE_NAMES, made, strict=True)
    }
    for name, rows in before.items():
        assert own is not None
        with suppress(OSError):  # from a read-only folder; the next call measures again
            others = parquet.split(rows, iteration=at, split=split, bn=bn)[1]
            parquet.save(own.tables[name], parquet.concatenate([others, tables[name]], TABLES[name]))
    return tables


def _read_rows(folder: RunDir, name: str) -> Any:
    """Reads a table of a run; an empty one where there is no file."""
    path = folder.tables[name]
    return parquet.read(path, TABLES[name]) if path.exists() else TABLES[name].empty()


def _relabel(trained: Trained, rows: Any) -> Any:
    """Gives rows from the folder of a run the labels of that run: labels in the file prove nothing."""
    told = _label(trained, "", elsewhere=False)
    for place, field in enumerate(rows.schema):
        if field.name in told:
            rows = rows.set_column(place, field, parquet.make_column([told[field.name]] * len(rows), field.type))
    return rows


def _split_images(images: Resident, size: int) -> Iterator[Tensor]:
    """Yields all images without augmentation, x (N, C, H, W). No batch has a single image: BN needs a variance."""
    for index in split_batch(torch.arange(len(images), device=images.labels.device), size):
        yield images.clean(index)[0]


def _label(trained: Trained, data: str, *, elsewhere: bool) -> dict[str, str | int]:
    """The label columns of a net. For a net that is not a run of ours, they hold what is known.

    `elsewhere`: measured on other data than the net was trained on, which gets a protocol of its own.
    """
    if trained.run is not None:
        own = trained.run.labels()
        return {**own, "data": data, "protocol": f"{own['protocol']}-on-{data}"} if elsewhere else own
    net, name = trained.spec, f"{trained.label}-{trained.weights[:8]}"
    shape = {"net": net.net, "family": net.family, "shortcut": net.shortcut, "depth": net.depth, "width": net.width}
    rest = {"seed": 0, "data": data, "recipe": "unknown", "precision": "fp32", "origin": ""}
    return {"run": name, "group": name, "protocol": FOREIGN, **shape, **rest}


def keep(measured: Responses, folder: Path) -> list[Path]:
    """Writes measurements of nets that are not runs of ours, or on other data, to files beside their figures.

    Earlier measurements stay there, unless they are of the same net under the same conditions. Raises RunError for a
    bad name of a protocol, before it writes anything, and where the folder cannot be written or is a link.
    """
    found = [
        (folder / figures.check_protocol(str(protocol)) / f"{name}.parquet", name, rows)
        for name, frame in zip(TABLE_NAMES, measured, strict=True)
        for protocol, rows in frame.groupby("protocol")
        if protocol == FOREIGN or "-on-" in str(protocol)
    ]
    for path, name, rows in found:
        _add(path, name, parquet.of_frame(rows, TABLES[name]))
    return [path for path, _, _ in found]


def _add(path: Path, name: str, rows: Any) -> None:
    """Adds rows to a file. They replace rows of the same net, iteration, split, statistics and number of images."""
    new = {tuple(row[key] for key in _SAME) for row in rows.to_pylist()}
    try:
        if path.parent.is_symlink():
            raise OSError(errno.EMLINK, "is a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        before = parquet.read(path, TABLES[name]) if path.exists() else TABLES[name].empty()
        kept = [tuple(row[key] for key in _SAME) not in new for row in before.to_pylist()]
        parquet.save(path, parquet.concatenate([parquet.keep_rows(before, kept), rows], TABLES[name]))
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); choose another folder with --out") from None
