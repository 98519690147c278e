"""`degrade verify` finds what a look at a run does not, and nothing where all is right."""

import json
import shutil

import pytest
from conftest import tiny
from ended import cut_short, finished, reseal

from degrade.experiments.verify import verify
from degrade.store import parquet
from degrade.store.folder import write_json
from degrade.store.parquet import CURVES, TABLES
from degrade.train.checkpoint import pack, unpack
from degrade.train.run import run

PROBED = tiny(engine={"checkpoint_every": 2, "probe": 3})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    root = tmp_path_factory.mktemp("verified")
    finished(root, PROBED)
    return root


@pytest.fixture
def root(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "r")


@pytest.fixture
def folder(root):
    from degrade.store.folder import RunDir

    return RunDir(root, PROBED.run)


def find(root, **options) -> str:
    (found,) = verify([root], **options)
    return "; ".join(found.problems)


def test_nothing_is_wrong_with_what_a_training_leaves(root, tmp_path):
    assert find(root, deep=True) == ""
    cut_short(tmp_path / "half")
    assert find(tmp_path / "half", deep=True) == ""


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoint-previous.pt", "environment.json", "probe.parquet"])
def test_a_flipped_bit_is_named_in_every_file(root, folder, name):
    content = bytearray((folder.path / name).read_bytes())
    content[len(content) // 3] ^= 1
    (folder.path / name).write_bytes(content)
    assert name in find(root)


def test_a_checkpoint_of_another_moment_and_of_another_run_is_named(root, folder, tmp_path):
    folder.checkpoint.write_bytes(folder.previous.read_bytes())
    assert "is not the checkpoint the run ended with" in find(root)
    other = finished(tmp_path / "other", tiny(seed=1))
    folder.checkpoint.write_bytes(other.checkpoint.read_bytes())
    assert f"is a checkpoint of another run, {other.run}" in find(root)


def test_a_curve_and_a_checkpoint_that_do_not_agree_are_named_though_all_seals_are_right(root, folder):
    """Somebody changed a loss, and sealed again."""
    rows = parquet.read(folder.curve, CURVES).to_pylist()
    rows[-1]["loss"] *= 1.5
    parquet.save(folder.curve, CURVES.arrow.empty_table().from_pylist(rows, schema=CURVES.arrow))
    reseal(folder)
    assert "holds another curve than curve.parquet" in find(root)


def test_errors_of_the_state_that_are_not_the_curves_are_named(root, folder):
    said = folder.read(folder.state)
    write_json(folder.state, {**said, "test_error": said["test_error"] / 2})
    assert "test_error is" in find(root)


def test_weights_that_do_not_give_the_curve_are_found_by_evaluating_them(root, folder):
    state = unpack(folder.checkpoint.read_bytes())
    state["net"]["head.weight"] = -state["net"]["head.weight"]
    folder.checkpoint.write_bytes(pack(state))
    reseal(folder)
    assert find(root) == ""
    assert "but the curve ends at" in find(root, deep=True)


def test_a_part_of_a_probe_is_named(root, folder):
    rows = [row for row in parquet.read(folder.tables["probe"], TABLES["probe"]).to_pylist() if row["iteration"] < 7]
    schema = TABLES["probe"].arrow
    parquet.save(folder.tables["probe"], schema.empty_table().from_pylist(rows, schema=schema))
    assert "is a part of a probe; its probes are of iterations 0 to 6 of 12" in find(root)


def test_reruns_are_verified_too_and_what_is_left_over_is_noted(root, folder):
    run([PROBED], root / "reruns" / "1")
    (folder.path / "curve.parquet.misplaced").write_bytes(b"")
    first, again = verify([root])
    assert first.notes == ("curve.parquet.misplaced is left over",)
    assert (again.run, again.problems) == (first.run, ())


def test_the_command_ends_with_1_where_something_is_wrong(here, root, folder):
    done = here("verify", str(root))
    assert (done.returncode, "1 runs: all is right" in done.stdout) == (0, True), done.stdout
    folder.curve.unlink()
    done = here("verify", str(root), "--json")
    assert done.returncode == 1
    assert "curve.parquet: is not there" in json.loads(done.stdout)[0]["problems"]
