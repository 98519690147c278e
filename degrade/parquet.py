"""Rows of dataclasses to parquet and back; what each column means is in the file itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from degrade.errors import RunError
from degrade.files import write
from degrade.measures import BLOCKS, PROBE, RESPONSES
from degrade.point import LABELS, MEANING

Meaning = Mapping[str, tuple[str, str]]
MISSING: dict[str, Any] = {"string": ""}  # values of columns that files of an older degrade do not have


def schema_of(meaning: Meaning) -> Any:
    return pa.schema(
        [pa.field(name, kind, nullable=False, metadata={"meaning": said}) for name, (kind, said) in meaning.items()]
    )


CURVES = schema_of(MEANING)
TABLES = {
    "responses": schema_of(LABELS | RESPONSES),
    "blocks": schema_of(LABELS | BLOCKS),
    "probe": schema_of(LABELS | PROBE),
}


def write_rows(path: Path, labels: Mapping[str, Any], rows: Sequence[Any], schema: Any) -> None:
    """Dataclass rows, each with the labels of its run, in one atomic step."""
    given = {name: [labels[name]] * len(rows) for name in labels}  # by column: a probe of a deep net has many rows
    measured = {name: [getattr(row, name) for row in rows] for name in schema.names if name not in given}
    save(path, pa.Table.from_pydict(given | measured, schema=schema))


def save(path: Path, table: Any) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write(path, sink.getvalue())


def read(path: Path, schema: Any) -> Any:
    """The columns of `schema`. Raises RunError if the file cannot be read or lacks one that has no default."""
    try:
        table = pq.read_table(path)
        for field in schema:
            if field.name not in table.column_names:
                fill = pa.array([MISSING[str(field.type)]] * len(table), field.type)
                table = table.append_column(field.name, fill)
        return table.select(schema.names).cast(schema)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise RunError(f"{path}: cannot be read ({error}); move the run's folder away") from None


def together(tables: Sequence[Any], schema: Any) -> Any:
    return pa.concat_tables([schema.empty_table(), *tables])
