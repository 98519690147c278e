"""Two readers of one file: the libraries behind the gates of safetensors and parquet, and a second reader of each."""

import io
import json
import random
import struct
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from degrade.errors import DegradeError, RunError
from degrade.nets import statedict
from degrade.spec.rows import CURVE
from degrade.store import parquet, seal
from degrade.store.parquet import CURVES

SMALL = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}
ITEM = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def pack(header: str, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + body


def first_of_a_name(content: bytes) -> dict[str, tuple[list[int], bytes]]:
    """A second reader, of the header as it stands: of two values of one name it takes the first."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length], object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    body = content[8 + length :]
    items = {name: item for name, item in header.items() if name != "__metadata__"}
    return {name: (item["shape"], body[slice(*item["data_offsets"])]) for name, item in items.items()}


def change(draws: random.Random) -> bytes:
    """A file of two tensors with a header that says something else: what a field can hold, and names twice."""
    header = {"a": dict(ITEM), "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16, 32]}}
    body = bytes(draws.randrange(256) for _ in range(32))
    text = json.dumps(header)
    for _ in range(draws.randint(1, 2)):
        item = header[draws.choice("ab")]
        act = draws.randrange(8)
        if act == 0:
            item["shape"] = draws.choice(([2, 2], [4], [1 << 62, 4], [-4], [0], [1 << 40], []))
        elif act == 1:
            item["data_offsets"] = sorted(draws.choice((0, 8, 16, 20, 32, 1 << 60)) for _ in range(2))
        elif act == 2:
            item["data_offsets"] = [16, 0]
        elif act == 3:
            item["dtype"] = draws.choice(("F16", "F64", "I32", "BF16", "F4", "X"))
        elif act == 4:
            body += b"\7" * draws.randint(1, 9)
        elif act == 5:
            body = body[: draws.randrange(32)]
        text = json.dumps(header)
        if act == 6:  # the same name twice: the first has the place of the other tensor
            name, other = draws.choice((("a", "b"), ("b", "a")))
            twice = json.dumps(header[other])
            text = f'{{"{name}": {twice}, {text[1:]}'
        elif act == 7:
            text = text[:-1] + draws.choice((', "c": 1}', "}   ", ', "\\ud800": {}}', "\0}"))
    length = draws.choice((None, None, None, None, 1 << 62, 3))
    made = pack(text, body)
    return made if length is None else struct.pack("<Q", length) + made[8:]


def differ(seed: int) -> tuple[bool, str]:
    """(whether the gate lets a file in, how the two readers see it differently)."""
    content = change(random.Random(seed))
    try:
        found = statedict.read(content)
    except DegradeError:
        return False, ""
    theirs = first_of_a_name(content)
    ours = {
        name: (list(t.shape), t.contiguous().view(torch.uint8).numpy().tobytes())
        if t.ndim
        else ([], t.reshape(1).view(torch.uint8).numpy().tobytes())
        for name, t in found.items()
    }
    return True, "" if ours == theirs else f"seed {seed}: {content!r}"


def test_two_readers_of_safetensors_see_the_same_in_what_the_gate_lets_in():
    seen = [differ(seed) for seed in range(1500)]
    assert not [said for _, said in seen if said]
    assert 40 < sum(fine for fine, _ in seen) < 1400


def test_without_its_guard_the_fuzzer_finds_names_that_stand_twice():
    with patch.object(statedict, "_check_header", lambda content: None):
        assert [said for _, said in map(differ, range(1500)) if said]


def test_what_the_fuzzer_draws_never_says_more_than_a_line_and_makes_no_memory():
    said = list[str]()
    for seed in range(300):
        try:
            found = statedict.read(change(random.Random(seed)))
        except RunError as error:
            said.append(str(error))
        else:
            assert sum(tensor.untyped_storage().nbytes() for tensor in found.values()) <= 64
    assert said
    assert not any("\n" in each for each in said)


def curve(rows: int) -> pa.Table:
    values = {name: ["x"] if column.kind == "string" else [1] for name, column in CURVE.items()}
    arrays = {n: pa.array(v, CURVES.arrow.field(n).type) for n, v in values.items()}
    one = pa.table(arrays).cast(CURVES.arrow)
    return one.take(pa.array(np.zeros(rows, "int64")))


def written(table: pa.Table, **how) -> bytes:
    """A file that is sealed as ours are: who makes it can make the seal."""
    sink = pa.BufferOutputStream()
    about = {parquet.FORMAT_KEY: str(seal.FILE_FORMAT)}
    pq.write_table(table.replace_schema_metadata(about), sink, **how)
    return seal.into_parquet(sink.getvalue().to_pybytes())


def enormous_rows() -> bytes:
    return written(curve(3_000_000), compression="zstd", use_dictionary=True)


def enormous_text() -> bytes:
    table = curve(1)
    at = table.column_names.index("run")
    long = pa.array(["x" * (1 << 27)], pa.string())
    return written(table.set_column(at, CURVES.arrow.field("run"), long), compression="zstd", use_dictionary=False)


@pytest.mark.parametrize("make", [enormous_rows, enormous_text])
def test_a_small_curve_that_declares_enormous_columns_is_refused_before_they_are_made(tmp_path, make):
    path = tmp_path / "curve.parquet"
    path.write_bytes(make())
    assert path.stat().st_size < 1 << 20
    before = pa.total_allocated_bytes()
    with pytest.raises(RunError, match="declares") as caught:
        parquet.read(path, CURVES)
    assert "\n" not in str(caught.value)
    assert pa.total_allocated_bytes() - before < 1 << 22
    with patch.object(parquet, "_check_size", lambda metadata, size: None):
        seen = parquet._open(path.read_bytes()).read(use_threads=False)  # what the guard keeps out
    assert seen.nbytes > 1 << 26


def test_two_readers_of_parquet_see_the_same_in_what_the_gate_lets_in(tmp_path):
    """The second reader takes column by column, a row group at a time, without threads or schema of ours."""
    draws = random.Random(0)
    for case in range(40):
        table = curve(draws.randint(1, 60))
        how = {
            "row_group_size": draws.randint(1, 60),
            "compression": draws.choice(("none", "snappy", "zstd", "gzip")),
            "use_dictionary": draws.choice((True, False)),
            "data_page_size": draws.choice((16, 1 << 20)),
            "data_page_version": draws.choice(("1.0", "2.0")),
        }
        path = tmp_path / f"{case}.parquet"
        path.write_bytes(written(table, **how))
        first = parquet._read_columns(path, CURVES, {})
        file = pq.ParquetFile(io.BytesIO(path.read_bytes()))
        for name in first.column_names:
            parts = [file.read_row_group(i, columns=[name])[name] for i in range(file.num_row_groups)]
            again = [value for part in parts for value in part.to_pylist()]
            assert first[name].to_pylist() == again, (case, how, name)
