"""Writes rows of dataclasses as parquet and reads them back. Each file explains its own columns."""

from array import array
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from degrade.errors import NewerError, RunError
from degrade.spec.rows import BLOCKS, CURVE, LABELS, PROBE, RESPONSES, Column, Columns, bounds_of, find_impossible
from degrade.store import seal
from degrade.store.files import read as read_file
from degrade.store.files import write

AGAIN = "the same sweep writes it anew from the checkpoint, or says why it cannot"
_CODEC = "snappy"  # a curve is read in a third of the time of zstd, which sets up anew for each column
FORMAT_KEY = b"degrade.format"  # in the metadata of a file; so is the next one
LABEL_KEY = b"degrade.data.label"  # the name of the data for people, where it has one
# bytes of a file for each row that it declares: 100,000 equal rows take 4.6 each, and rows of real curves 50 and more
_LEAST = 1
_MOST = 1 << 26  # bytes that a file of any size may declare; a larger file may declare _RATIO times its bytes
_RATIO = 50
_DEFAULTS: dict[str, Any] = {"string": ""}  # type -> value of a column that files of an older degrade lack


class Schema:
    """The columns of a file, with their meanings and possible values, for us and for arrow."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.arrow: Any = pa.schema(
            [pa.field(name, c.kind, nullable=False, metadata={"meaning": c.meaning}) for name, c in columns.items()]
        )

    def empty(self) -> Any:
        """A table without rows."""
        return self.arrow.empty_table()


CURVES = Schema(CURVE)
TABLES = {
    "responses": Schema(LABELS | RESPONSES),
    "blocks": Schema(LABELS | BLOCKS),
    "probe": Schema(LABELS | PROBE),
}


def write_rows(path: Path, labels: Mapping[str, Any], rows: Sequence[Any], schema: Schema, label: str = "") -> None:
    """Writes dataclass rows, each with the labels of its run, in one atomic step. `label`: as `save` takes it."""
    save(path, table(labels, rows, schema), label)


def table(labels: Mapping[str, Any], rows: Sequence[Any], schema: Schema) -> Any:
    """A table of dataclass rows, each with the labels of its run."""
    given = {
        name: [labels[name]] * len(rows) for name in labels
    }  # by column, since a probe of a deep net has many rows
    measured = {name: [getattr(row, name) for row in rows] for name in schema.columns if name not in given}
    arrays = [make_column((given | measured)[field.name], field.type) for field in schema.arrow]
    return pa.Table.from_arrays(arrays, schema=schema.arrow)


def make_column(values: Sequence[Any], kind: Any) -> Any:
    """An arrow array of type string, int64 or float64 from values without gaps.

    pa.array does the same, but loads pandas first: 1 s and 60 MB in every worker.
    """
    if kind == pa.float64():
        numbers = np.array(values, np.float64)
        numbers[np.isnan(numbers)] = np.nan  # there are many, and which one it was depends on the processor
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(numbers)])
    if kind != pa.string():
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(array("q", values))])
    words = [value.encode() for value in values]
    offsets = array("i", accumulate(map(len, words), initial=0))
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(words))])


def of_frame(frame: Any, schema: Schema) -> Any:
    """A pandas frame as a table."""
    return pa.Table.from_pandas(frame, schema=schema.arrow, preserve_index=False)


def save(path: Path, rows: Any, label: str = "") -> None:
    """Writes a table in one atomic step, with a checksum, a format, and what people call its data, if they do."""
    sink = pa.BufferOutputStream()
    words = [field.name for field in rows.schema if field.type == pa.string()]
    how: dict[str, Any] = {"use_dictionary": words, "write_statistics": False}  # small, and quick to read
    about = {FORMAT_KEY: str(seal.FILE_FORMAT), **({LABEL_KEY: label} if label else {})}
    pq.write_table(rows.replace_schema_metadata(about), sink, compression=_CODEC, **how)
    write(path, seal.into_parquet(sink.getvalue().to_pybytes()))


def read(path: Path, schema: Schema, known: Mapping[str, Any] | None = None) -> Any:
    """The columns of `schema`. `known` has values of columns that files of an older degrade may lack.

    Raises RunError if the file cannot be read, lacks a column that has no default, or holds a value that no run has.
    """
    with _report_errors(path):
        rows = _read_columns(path, schema, known or {})
        check_values(rows, schema)
        return rows


def read_all(paths: Sequence[Path], schema: Schema) -> Any:
    """As `read`, for many files. Their rows are checked together, which takes a fifth less time."""
    tables: list[Any] = []
    for path in paths:
        with _report_errors(path):
            tables.append(_read_columns(path, schema, {}))
    rows = concatenate(tables, schema)
    try:
        check_values(rows, schema)
    except pa.ArrowInvalid:
        rows = concatenate([read(path, schema) for path in paths], schema)  # its error names the file
    return rows


def _read_columns(path: Path, schema: Schema, known: Mapping[str, Any]) -> Any:
    """The columns of `schema`, with unchecked values."""
    rows = _open(read_file(path)).read(use_threads=False)  # a file is small
    if rows.schema.equals(schema.arrow):  # this degrade wrote the file: a third of the time saved
        return rows
    rows.validate(full=True)
    for field in schema.arrow:
        if field.name not in rows.column_names:
            value = known[field.name] if field.name in known else _DEFAULTS[str(field.type)]
            fill = pa.array([value] * len(rows), field.type)
            rows = rows.append_column(field.name, fill)
    return rows.select(list(schema.columns)).cast(schema.arrow)


def check(path: Path) -> None:
    """Raises RunError as `read` does, but checks only the checksum, not the rows."""
    with _report_errors(path):
        _open(read_file(path))


def read_end(path: Path) -> tuple[set[str], int]:
    """The names of the runs in a curve, and its last iteration; 0 without a row. Raises RunError as `read` does."""
    with _report_errors(path):
        rows = _open(read_file(path)).read(columns=["run", "iteration"], use_threads=False)
        rows.validate(full=True)
        iterations = filter(None, rows["iteration"].to_pylist())
        return {*map(str, rows["run"].unique().to_pylist())}, max(iterations, default=0)


@contextmanager
def _report_errors(path: Path) -> Generator[None]:
    """Turns errors of reading into a RunError of one line that names the file."""
    try:
        yield
    except NewerError as error:
        raise NewerError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"{path}: cannot be read ({reason}); {AGAIN}") from None


def _open(content: bytes) -> Any:
    """Checks the bytes of a file and opens them. Raises NewerError, ValueError or what arrow raises."""
    has_checksum = seal.check_parquet(content)
    file = pq.ParquetFile(pa.BufferReader(content))
    _check_size(file.metadata, len(content))
    format = int((file.metadata.metadata or {}).get(FORMAT_KEY, b"1"))
    if format > seal.FILE_FORMAT:
        raise NewerError(seal.NEWER)
    if format == seal.FILE_FORMAT and not has_checksum:
        raise ValueError(seal.DAMAGED)
    return file


def _check_size(metadata: Any, size: int) -> None:
    """Raises ValueError where a file declares far more than it holds: a few bytes can stand for a billion rows."""
    parts = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows = max(metadata.num_rows, sum(part.num_rows for part in parts))
    values = max((part.column(i).num_values for part in parts for i in range(part.num_columns)), default=0)
    declared = sum(part.total_byte_size for part in parts)
    if _LEAST * max(rows, values) > size or declared > max(_MOST, _RATIO * size):
        raise ValueError(f"declares {rows:,} rows of {declared:,} bytes, and has {size:,} bytes: refused")


def check_values(rows: Any, schema: Schema) -> None:
    """Raises ArrowInvalid for a value that no run has. Others may have written the file."""
    rows.validate(full=True)  # its text may be no text
    for name, column in schema.columns.items():
        values = rows[name]
        if column.kind == "string":
            wrong = find_impossible(column, values.unique().to_pylist()) if column.words or column.pattern else []
        else:
            wrong = _find_beyond(column, values.to_numpy())
        if wrong:
            raise pa.ArrowInvalid(f"{name} cannot be {wrong[0]!r}")


def _find_beyond(column: Column, values: Any) -> list[float]:
    """The numbers that a column cannot hold."""
    if (bounds := bounds_of(column)) is None:
        return []
    fine = (values >= bounds[0]) & (values <= bounds[1])  # False for NaN
    if column.infinite:
        fine |= values == float("inf")
    elif column.low is None:
        fine |= ~np.isfinite(values)
    return values[~fine].tolist()


def concatenate(tables: Sequence[Any], schema: Schema) -> Any:
    """The rows of all tables. No tables: no rows."""
    return pa.concat_tables([schema.empty(), *tables])


def split(rows: Any, **values: Any) -> tuple[Any, Any]:
    """(the rows whose columns have these values, the others)."""
    matches = [all(row[name] == value for name, value in values.items()) for row in rows.to_pylist()]
    return keep_rows(rows, matches), keep_rows(rows, [not match for match in matches])


def keep_rows(rows: Any, kept: Sequence[bool]) -> Any:
    """The rows whose place in `kept` is True."""
    return rows.filter(pa.array(kept, pa.bool_()))
