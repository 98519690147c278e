import multiprocessing
import os
import subprocess
import sys
from dataclasses import asdict

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import tiny

from degrade.errors import RunError
from degrade.spec.rows import CURVE, Point
from degrade.store.files import write
from degrade.store.folder import RunDir, write_json
from degrade.store.holder import this_process
from degrade.store.parquet import CURVES, save, table
from degrade.store.results import load, make_root
from degrade.store.state import State


def points(*iterations: int) -> list[Point]:
    values = {"loss": 1.0, "error": 50.0, "n": 10, "lr": 0.1, "grad_norm": 1.0}
    timing = {"images_per_second": 9.0, "seconds": 2.0}
    return [
        Point(iteration=i, epoch=i / 10, split=split, **values, **timing)
        for i in iterations
        for split in ("train", "test")
    ]


def make(root, spec, *iterations, state="finished"):
    make_root(root)
    folder = RunDir(root, spec.run)
    with folder.claimed():
        folder.begin(spec, {"torch": "x"})
        folder.write_curve(spec, points(*iterations))
        folder.write_state(State(state, outcome="", iteration=iterations[-1]))
    return folder


def test_curves_come_back_as_they_went_in(tmp_path):
    make(tmp_path, tiny(), 1, 2)
    make(tmp_path, tiny(net="plain"), 1, 2)
    tables = load(tmp_path)
    assert list(tables.curves.columns) == list(CURVE)
    assert len(tables.curves) == 8
    assert set(tables.runs.run) == {tiny().run, tiny(net="plain").run}
    assert tables.curves.error.eq(50.0).all()


def test_plain_nets_survive_the_table(tmp_path):
    """A shortcut that is NaN would make groupby drop them."""
    make(tmp_path, tiny(net="plain"), 1)
    curves = load(tmp_path).curves
    assert curves.notna().all().all()
    assert curves.groupby(["net", "shortcut"]).size().to_dict() == {("plain", "none"): 2}


def test_a_curve_file_explains_its_columns(tmp_path):
    schema = pq.read_schema(make(tmp_path, tiny(), 1).curve)
    assert schema.names == list(CURVE)
    assert b"%" in schema.field("error").metadata[b"meaning"]
    assert pd.read_parquet(RunDir(tmp_path, tiny().run).curve).shape == (2, len(CURVE))


def test_of_a_run_in_two_places_the_further_one_counts(tmp_path):
    make(tmp_path / "a", tiny(), 1)
    make(tmp_path / "b", tiny(), 1, 2)
    assert load(tmp_path / "a", tmp_path / "b").curves.iteration.max() == 2
    assert len(load(tmp_path / "b", tmp_path / "a").runs) == 1


def test_only_the_runs_asked_for(tmp_path):
    make(tmp_path, tiny(), 1)
    make(tmp_path, tiny(seed=1), 1)
    assert load(tmp_path, runs=[tiny(seed=1).run]).curves.seed.unique().tolist() == [1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="nowhere: no such results folder"):
        load(tmp_path / "nowhere")


def test_an_empty_folder_has_empty_tables(tmp_path):
    tables = load(tmp_path)
    assert tables.curves.empty
    assert list(tables.curves.columns) == list(CURVE)


@pytest.mark.parametrize("name", ["spec.json", "state.json", "curve.parquet"])
def test_a_damaged_file_is_named(tmp_path, name):
    folder = make(tmp_path, tiny(), 1)
    (folder.path / name).write_bytes(b"\x00{")
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    folder = make(tmp_path, tiny(), 1)
    write_json(folder.state, {"format": 99, "state": "finished"})
    with pytest.raises(RunError, match="newer degrade"):
        folder.read_state()


def test_writing_is_all_or_nothing(tmp_path):
    target = tmp_path / "file"
    write(target, b"old")
    with pytest.raises(TypeError):
        write(target, "not bytes")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_state_keeps_what_was_said_before(tmp_path):
    folder = make(tmp_path, tiny(), 3)
    folder.write_state(State("failed", reason="no luck"))
    state = folder.read_state()
    assert (state.name, state.reason, state.iteration, state.pid) == ("failed", "no luck", 3, os.getpid())


def hold(root, run, ready):
    make_root(root)
    with RunDir(root, run).claimed():
        ready.set()
        multiprocessing.Event().wait()


def test_a_claim_is_exclusive_and_freed_by_death(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    ready, folder = spawn.Event(), RunDir(tmp_path, "run")
    other = spawn.Process(target=hold, args=(tmp_path, "run", ready))
    other.start()
    assert ready.wait(30)
    with folder.claimed() as mine:
        assert not mine
    other.kill()
    other.join()
    left = folder.path / ".curve.parquet-1-x.tmp"  # of a process that died while writing
    left.touch()
    with folder.claimed() as mine:
        assert mine
        assert not left.exists()
    other.close()


def test_of_a_run_that_is_as_far_in_two_places_the_one_that_is_over_counts(tmp_path):
    make(tmp_path / "a", tiny(), 2, state="interrupted")
    make(tmp_path / "b", tiny(), 2)
    for roots in (("a", "b"), ("b", "a")):
        assert load(*(tmp_path / root for root in roots)).runs.state.tolist() == ["finished"]


def test_a_run_whose_process_is_gone_is_loaded_as_interrupted(tmp_path):
    folder = make(tmp_path, tiny(), 2, state="running")
    gone = this_process()._replace(pid=2**22 + 1)  # above what Linux gives
    state = {**folder.read_state().tree(), "pid": gone.pid, "holder": str(gone)}
    write_json(folder.state, state)
    assert load(tmp_path).runs.state.tolist() == ["interrupted"]


def test_rows_are_written_as_arrow_itself_would_and_without_pandas(tmp_path):
    labels = tiny().labels()
    rows = [Point(i, 0.5, "tést" * i, float("nan"), 2.5, 7, 0.1, 0.0, 1e9, 3.0) for i in range(3)]
    columns = {name: [{**labels, **asdict(row)}[name] for row in rows] for name in CURVES.columns}
    for count in (0, 3):
        ours = table(labels, rows[:count], CURVES)
        ours.validate(full=True)
        theirs = pa.Table.from_pydict({name: values[:count] for name, values in columns.items()}, schema=CURVES.arrow)
        save(tmp_path / "ours", ours)
        save(tmp_path / "theirs", theirs)
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_process_that_trains_does_not_load_pandas(tmp_path):
    code = (
        "import sys, pathlib, torch; from degrade.train import run; from degrade.spec import parse;"
        f"run.run([parse({tiny().tree()!r})], pathlib.Path({str(tmp_path)!r}));"
        "print('pandas' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize("column", ["iteration", "loss", "run", "error"])
def test_a_value_that_is_missing_is_named(tmp_path, column):
    folder = make(tmp_path, tiny(), 1)
    rows = pq.read_table(folder.curve)
    nothing = pa.nulls(len(rows), rows.schema.field(column).type)
    save(folder.curve, rows.set_column(rows.schema.get_field_index(column), column, nothing))
    with pytest.raises(RunError, match=rf"curve\.parquet: cannot be read \(.*'{column}' with null values"):
        load(tmp_path)
