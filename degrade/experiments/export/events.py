"""Curves for TensorBoard: a folder a run, with its hyper-parameters and all its curves as one run.

A chart of TensorBoard shows one tag of many runs. So that training and test error share a chart without becoming runs
of their own, each folder also says a layout for the page "Custom scalars".
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.store import files
from degrade.store.results import Tables
from degrade.store.share import share_spec

if TYPE_CHECKING:
    import pandas as pd

FILE = "events.out.tfevents.0.degrade"  # TensorBoard's own writer puts the name of the host there
_BY_SPLIT = ("error", "loss")  # a tag a split: error/test
_CHARTS = {"error, %": "error", "loss, nats": "loss"}
_OF_TRAINING = ("lr", "grad_norm", "images_per_second", "epoch", "seconds")  # once an iteration, from the split train


def write_events(tables: Tables, out: Path) -> list[Path]:
    """Writes a folder a run under `out`, for `tensorboard --logdir`, and returns the folders.

    Tags are error/SPLIT (%), loss/SPLIT (nats), lr, grad_norm, images_per_second, epoch and seconds; steps are SGD
    steps; TensorBoard keeps float32. The same results give the same bytes. Hyper-parameters are the values of the spec,
    without places. Raises RunError where nothing was measured yet or the package tensorboard is not installed, OSError
    where a file cannot be written.
    """
    try:
        _load("compat.proto.event_pb2")
    except ImportError:
        raise RunError(
            "export: --to tensorboard needs the package tensorboard; install degrade[tensorboard], or use --to csv"
        ) from None
    if tables.curves.empty:
        raise RunError("export: no run has a measured point; train one, or wait for its first evaluation")
    states = dict(zip(tables.runs.run, tables.runs.state, strict=True))
    folders: list[Path] = []
    for (run,), rows in tables.curves.sort_values("iteration", kind="stable").groupby(["run"]):
        folder = files.inside(out, str(run))
        files.make_folder(folder)
        files.write(folder / FILE, _render(tables.specs[str(run)], rows, str(states[run])))
        folders.append(folder)
    return folders


def _render(spec: RunSpec, rows: "pd.DataFrame", state: str) -> bytes:
    """The records of one run."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    events, sink = _load("compat.proto.event_pb2"), _Sink()
    writer = RecordWriter(sink)
    tags = sorted({f"{name}/{split}" for split in rows.split.unique() for name in _BY_SPLIT})
    head = [
        events.Event(file_version="brain.Event:2"),
        *(events.Event(summary=each) for each in _summaries(spec, tags, state)),
    ]
    for event in [*head, *_points(rows)]:
        writer.write(event.SerializeToString())
    return sink.getvalue()


def _load(module: str) -> Any:
    """A module of tensorboard that is generated, so no checker knows what is in it."""
    return import_module(f"tensorboard.{module}")


class _Sink(io.BytesIO):
    """Keeps its content: RecordWriter closes the file it writes."""

    def close(self) -> None:
        pass


def _points(rows: "pd.DataFrame") -> Iterator[Any]:
    """An event for each measured point. Its time is the run's own, in seconds from its first step."""
    events, summaries = _load("compat.proto.event_pb2"), _load("compat.proto.summary_pb2")
    for row in rows.to_dict("records"):
        values = {f"{name}/{row['split']}": row[name] for name in _BY_SPLIT}
        values |= {name: row[name] for name in _OF_TRAINING if row["split"] == "train"}
        points = [summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        summary = summaries.Summary(value=points)
        yield events.Event(wall_time=row["seconds"], step=int(row["iteration"]), summary=summary)


def _summaries(spec: RunSpec, tags: list[str], state: str) -> Iterator[Any]:
    """Hyper-parameters, the metrics that stand beside them, how the run ended, and the charts."""
    from tensorboard.plugins.custom_scalar import metadata as custom
    from tensorboard.plugins.hparams import metadata, summary_v2
    from tensorboard.util.tensor_util import make_tensor_proto

    summaries, ends = _load("compat.proto.summary_pb2"), _load("plugins.hparams.api_pb2").Status
    hparams, layouts = _load("plugins.hparams.plugin_data_pb2"), _load("plugins.custom_scalar.layout_pb2")
    values = dict(_flatten(share_spec(spec).tree()))
    metrics = [summary_v2.Metric(tag, display_name=tag) for tag in tags]
    yield summary_v2.hparams_config_pb([summary_v2.HParam(name) for name in values], metrics)
    yield summary_v2.hparams_pb(values, trial_id=spec.run, start_time_secs=0)
    status = {"finished": ends.STATUS_SUCCESS, "diverged": ends.STATUS_FAILURE, "failed": ends.STATUS_FAILURE}
    if state in status:
        ended = hparams.SessionEndInfo(status=status[state])
        content = metadata.create_summary_metadata(hparams.HParamsPluginData(session_end_info=ended))
        yield summaries.Summary(value=[summaries.Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content)])
    charts = [
        layouts.Chart(title=title, multiline=layouts.MultilineChartContent(tag=[rf"^{name}/"]))
        for title, name in _CHARTS.items()
    ]
    layout = layouts.Layout(category=[layouts.Category(title="training and test", chart=charts)])
    content = make_tensor_proto(layout.SerializeToString(), dtype="string")
    laid = summaries.Summary.Value(
        tag=custom.CONFIG_SUMMARY_TAG, tensor=content, metadata=custom.create_summary_metadata()
    )
    yield summaries.Summary(value=[laid])


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, bool | int | float | str]]:
    """(recipe.lr, 0.1), ...: what TensorBoard takes for a hyper-parameter. Lists become text, and null is left out."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{key}", value
        elif value is not None:
            yield f"{prefix}{key}", str(value)
