"""Checksums in plain parquet and plain JSON, and files that have none."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import tiny
from places import ROOT

from degrade.errors import NewerError, RunError
from degrade.spec.rows import Point
from degrade.store import parquet, seal
from degrade.store.parquet import CURVES
from degrade.store.results import run_dirs

SPEC = tiny()
POINT = Point(1, 0.5, "train", 1.0, 50.0, 10, 0.1, 1.0, 9.0, 2.0)


def test_a_curve_of_an_older_degrade_is_read_and_one_of_a_newer_refused(tmp_path):
    path, rows = tmp_path / "curve.parquet", parquet.table(SPEC.labels(), [POINT], CURVES)
    pq.write_table(rows, path)
    assert parquet.read(path, CURVES).equals(rows)
    pq.write_table(rows.replace_schema_metadata({parquet.FORMAT_KEY: "3"}), path)
    with pytest.raises(NewerError, match="update degrade"):
        parquet.read(path, CURVES)
    pq.write_table(rows.replace_schema_metadata({parquet.FORMAT_KEY: "2"}), path)
    with pytest.raises(RunError, match="checksum"):
        parquet.read(path, CURVES)


def test_a_curve_with_its_checksum_is_plain_parquet(tmp_path):
    path, rows = tmp_path / "curve.parquet", parquet.table(SPEC.labels(), [POINT] * 1000, CURVES)
    parquet.save(path, rows)
    assert pq.read_table(path).equals(rows)
    assert pq.read_table(path, filters=[("iteration", ">", 1)]).num_rows == 0
    assert pa.dataset.dataset(path).count_rows() == 1000


def test_any_flipped_bit_of_a_sealed_file_is_noticed(tmp_path):
    """Of a curve most bits are values: another value is as good a curve."""
    path = tmp_path / "curve.parquet"
    parquet.save(path, parquet.table(SPEC.labels(), [POINT], CURVES))
    content, text = path.read_bytes(), seal.to_json({"state": "finished", "run": "plain-20", "test_error": 8.75})
    for at in range(0, len(content), 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(RunError):
            parquet.check(path)
    for at, bit in ((at, bit) for at in range(len(text)) for bit in range(8)):
        with pytest.raises(ValueError):  # noqa: PT011 - it may be no JSON any more
            seal.of_json(text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :])


def test_a_checksum_whose_mark_is_damaged_is_not_taken_for_none(tmp_path):
    """Eight bits flipped at random hit the mark, the format and a value: it was read as a file of an older degrade."""
    path = tmp_path / "curve.parquet"
    parquet.save(path, parquet.table(SPEC.labels(), [POINT], CURVES))
    content = path.read_bytes().replace(seal.MARK, seal.MARK.replace(b"6", b"v"))
    path.write_bytes(content.replace(parquet.FORMAT_KEY, parquet.FORMAT_KEY.replace(b"t", b"d")))
    with pytest.raises(RunError, match="checksum"):
        parquet.read(path, CURVES)
    text = seal.to_json({"state": "new"}).replace(b'"sha256"', b'"sha25v"').replace(b'"format": 2', b'"format": 0')
    with pytest.raises(ValueError, match="checksum"):
        seal.of_json(text)


def test_json_of_an_older_degrade_is_read_and_plain_json_is_written(tmp_path):
    assert seal.of_json(b'{"format": 1, "state": "new"}') == {"format": 1, "state": "new"}
    assert json.loads(seal.to_json({"state": "new"}))["state"] == "new"
    with pytest.raises(ValueError, match="checksum"):
        seal.of_json(b'{"format": 2, "state": "new"}')


def test_the_results_of_before_are_read():
    assert all(folder.over for folder in run_dirs(ROOT / "results" / "quickstart"))
