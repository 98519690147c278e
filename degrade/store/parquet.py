"""Rows of dataclasses to parquet and back; what each column means is in the file itself."""

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
from degrade.spec.rows import BLOCKS, CURVE, LABELS, PROBE, RESPONSES, Column, Columns, ends, impossible
from degrade.store import seal
from degrade.store.files import read as read_file
from degrade.store.files import write

AGAIN = "the same sweep writes it anew from the checkpoint, or says why it cannot"
NUMBERS = {"int64": "q", "double": "d"}  # arrow's name of a type -> that of the array module
CODEC = "snappy"  # a curve is read in a third of the time that zstd takes, which sets up anew for each column
FORMAT_KEY = b"degrade.format"  # in the metadata of a file
MISSING: dict[str, Any] = {"string": ""}  # values of columns that files of an older degrade do not have


class Schema:
    """The columns of a file: what each means and can hold, and the same for arrow."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.arrow: Any = pa.schema(
            [pa.field(name, c.kind, nullable=False, metadata={"meaning": c.meaning}) for name, c in columns.items()]
        )

    def empty(self) -> Any:
        """A table of no rows."""
        return self.arrow.empty_table()


CURVES = Schema(CURVE)
TABLES = {
    "responses": Schema(LABELS | RESPONSES),
    "blocks": Schema(LABELS | BLOCKS),
    "probe": Schema(LABELS | PROBE),
}


def write_rows(path: Path, labels: Mapping[str, Any], rows: Sequence[Any], schema: Schema) -> None:
    """Dataclass rows, each with the labels of its run, in one atomic step."""
    save(path, table(labels, rows, schema))


def table(labels: Mapping[str, Any], rows: Sequence[Any], schema: Schema) -> Any:
    """Dataclass rows, each with the labels of its run."""
    given = {name: [labels[name]] * len(rows) for name in labels}  # by column: a probe of a deep net has many rows
    measured = {name: [getattr(row, name) for row in rows] for name in schema.columns if name not in given}
    arrays = [column((given | measured)[field.name], field.type) for field in schema.arrow]
    return pa.Table.from_arrays(arrays, schema=schema.arrow)


def column(values: Sequence[Any], kind: Any) -> Any:
    """Values without gaps as an arrow array of that type: string, int64 or float64.

    As pa.array, which would load pandas first: in every worker, 1 s and 60 MB.
    """
    if kind != pa.string():
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(array(NUMBERS[str(kind)], values))])
    words = [value.encode() for value in values]
    ends = array("i", accumulate(map(len, words), initial=0))
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(words))])


def of_frame(frame: Any, schema: Schema) -> Any:
    """A pandas frame as a table."""
    return pa.Table.from_pandas(frame, schema=schema.arrow, preserve_index=False)


def save(path: Path, rows: Any) -> None:
    """In one atomic step, with a checksum and a format in it."""
    sink = pa.BufferOutputStream()
    words = [field.name for field in rows.schema if field.type == pa.string()]
    how: dict[str, Any] = {"use_dictionary": words, "write_statistics": False}  # small, and quick to read
    pq.write_table(rows.replace_schema_metadata({FORMAT_KEY: str(seal.FILE_FORMAT)}), sink, compression=CODEC, **how)
    write(path, seal.into_parquet(sink.getvalue().to_pybytes()))


def read(path: Path, schema: Schema) -> Any:
    """The columns of `schema`. Raises RunError if the file cannot be read, lacks one that has no default, or holds what
    no run has.
    """
    with named(path):
        found = columns(path, schema)
        possible(found, schema)
        return found


def read_all(paths: Sequence[Path], schema: Schema) -> Any:
    """As `read`, of many files; their rows are looked at together, which takes a fifth less time."""
    found: list[Any] = []
    for path in paths:
        with named(path):
            found.append(columns(path, schema))
    rows = together(found, schema)
    try:
        possible(rows, schema)
    except pa.ArrowInvalid:
        rows = together([read(path, schema) for path in paths], schema)  # which says of which file that is
    return rows


def columns(path: Path, schema: Schema) -> Any:
    """The columns of `schema`, whatever is in them."""
    rows = opened(read_file(path)).read(use_threads=False)  # a file is small
    if rows.schema.equals(schema.arrow):  # as this degrade writes them: a third of the time saved
        return rows
    rows.validate(full=True)
    for field in schema.arrow:
        if field.name not in rows.column_names:
            fill = pa.array([MISSING[str(field.type)]] * len(rows), field.type)
            rows = rows.append_column(field.name, fill)
    return rows.select(list(schema.columns)).cast(schema.arrow)


def check(path: Path) -> None:
    """Raises RunError as `read` does, but looks at the checksum and not at the rows."""
    with named(path):
        opened(read_file(path))


@contextmanager
def named(path: Path) -> Generator[None]:
    """What cannot be read as a RunError of one line."""
    try:
        yield
    except NewerError as error:
        raise NewerError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"{path}: cannot be read ({reason}); {AGAIN}") from None


def opened(content: bytes) -> Any:
    """The bytes of a file, checked, ready to be read. Raises NewerError, ValueError or what arrow raises."""
    has_checksum = seal.check_parquet(content)
    file = pq.ParquetFile(pa.BufferReader(content))
    format = int((file.metadata.metadata or {}).get(FORMAT_KEY, b"1"))
    if format > seal.FILE_FORMAT:
        raise NewerError(seal.NEWER)
    if format == seal.FILE_FORMAT and not has_checksum:
        raise ValueError(seal.DAMAGED)
    return file


def possible(rows: Any, schema: Schema) -> None:
    """Raises ArrowInvalid for a value that no run has: others may have written the file."""
    rows.validate(full=True)  # that its text is text
    for name, column in schema.columns.items():
        values = rows[name]
        if column.kind == "string":
            wrong = impossible(column, values.unique().to_pylist()) if column.words or column.pattern else []
        else:
            wrong = _beyond(column, values.to_numpy())
        if wrong:
            raise pa.ArrowInvalid(f"{name} cannot be {wrong[0]!r}")


def _beyond(column: Column, values: Any) -> list[float]:
    """The numbers that a column cannot hold."""
    if (between := ends(column)) is None:
        return []
    fine = (values >= between[0]) & (values <= between[1])  # no NaN is
    if column.infinite:
        fine |= values == float("inf")
    elif column.low is None:
        fine |= ~np.isfinite(values)
    return values[~fine].tolist()


def together(tables: Sequence[Any], schema: Schema) -> Any:
    return pa.concat_tables([schema.empty(), *tables])


def split(rows: Any, **values: Any) -> tuple[Any, Any]:
    """(the rows whose columns have these values, the others)."""
    kept = [all(row[name] == value for name, value in values.items()) for row in rows.to_pylist()]
    return where(rows, kept), where(rows, [not one for one in kept])


def where(rows: Any, kept: Sequence[bool]) -> Any:
    return rows.filter(pa.array(kept, pa.bool_()))
