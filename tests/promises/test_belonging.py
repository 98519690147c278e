"""Files that are whole and lie in the wrong folder, or are of an earlier moment: named, mended, never averaged."""

import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from ended import SPEC, cut_short, finished

from degrade.errors import RunError
from degrade.experiments.verify import verify
from degrade.spec import RunSpec, parse
from degrade.store.clean import waste
from degrade.store.folder import RunDir, write_json
from degrade.store.results import load, run_dirs
from degrade.store.state import State
from degrade.train.run import run

OTHER = parse({**SPEC.tree(), "seed": 1})
TIMINGS = ["images_per_second", "seconds"]


def contents(folder: RunDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != "log.txt"}


def take(name: str, source: RunDir, folder: RunDir) -> None:
    (folder.path / name).write_bytes((source.path / name).read_bytes())


def forget_seals(folder: RunDir) -> None:
    """The state as an older degrade wrote it."""
    said = folder.read(folder.state)
    write_json(folder.state, {key: value for key, value in said.items() if key not in ("run", "seals")})


def expect_named(root: Path, folder: RunDir, name: str) -> None:
    state = folder.standing()
    assert (state.name, name in (state.reason or "")) == ("damaged", True), state
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load(root)


@pytest.mark.parametrize("sealed", [True, False])
def test_an_earlier_curve_of_a_finished_run_is_named_and_mended(tmp_path, sealed):
    """A copy of a sweep under way: `compare` averaged errors of the middle of the training."""
    early, folder = cut_short(tmp_path / "early"), finished(tmp_path / "r")
    before = load(tmp_path / "r").curves
    if not sealed:
        forget_seals(folder)
    take("curve.parquet", early, folder)
    expect_named(tmp_path / "r", folder, "curve.parquet")
    assert run([SPEC], tmp_path / "r") == {SPEC.run: "finished"}
    assert load(tmp_path / "r").curves.equals(before)


@pytest.mark.parametrize("name", ["curve.parquet", "spec.json", "state.json"])
def test_a_file_of_another_run_is_named_and_mended_and_kept(tmp_path, name):
    other, folder = finished(tmp_path / "other", OTHER), finished(tmp_path / "r")
    before = load(tmp_path / "r").curves
    take(name, other, folder)
    expect_named(tmp_path / "r", folder, name)
    assert run([SPEC], tmp_path / "r") == {SPEC.run: "finished"}
    assert load(tmp_path / "r").curves.equals(before)
    assert (folder.path / f"{name}.misplaced").read_bytes() == (other.path / name).read_bytes()


def test_a_curve_of_another_run_is_named_where_no_checksum_tells(tmp_path):
    """Beside the state of an older degrade, and of a run under way, which would be averaged too."""
    other, folder, begun = finished(tmp_path / "other", OTHER), finished(tmp_path / "r"), cut_short(tmp_path / "begun")
    before = load(tmp_path / "r").curves
    forget_seals(folder)
    for each in (folder, begun):
        take("curve.parquet", other, each)
        with pytest.raises(RunError, match=rf"curve\.parquet: is the curve of another run, {OTHER.run}"):
            load(each.root)
    expect_named(tmp_path / "r", folder, "curve.parquet")
    assert run([SPEC], tmp_path / "r") == {SPEC.run: "finished"}
    assert load(tmp_path / "r").curves.equals(before)


@pytest.mark.parametrize("name", ["curve.parquet", "spec.json", "state.json"])
def test_a_run_under_way_goes_on_beside_a_file_of_another_run(tmp_path, name):
    other, _ = finished(tmp_path / "other", OTHER), finished(tmp_path / "whole")
    folder = cut_short(tmp_path / "r")
    take(name, other, folder)
    assert run([SPEC], tmp_path / "r") == {SPEC.run: "finished"}
    here, whole = (load(tmp_path / root).curves.drop(columns=TIMINGS) for root in ("r", "whole"))
    assert here.equals(whole)


def test_a_curve_that_no_checkpoint_can_mend_stays_as_it_is_and_is_named(tmp_path):
    early, folder = cut_short(tmp_path / "early"), finished(tmp_path / "r")
    for path in folder.checkpoints:
        path.unlink(missing_ok=True)
    take("curve.parquet", early, folder)
    before = contents(folder)
    with pytest.raises(RunError, match="is not the curve the run ended with"):
        run([SPEC], tmp_path / "r")
    assert contents(folder) == before


def test_a_checkpoint_that_is_not_the_last_takes_nothing_from_the_curve_and_is_named(tmp_path):
    folder = finished(tmp_path)
    folder.checkpoint.write_bytes(folder.previous.read_bytes())
    state = folder.standing()
    assert state.name == "finished"
    assert "checkpoint.pt: is not the checkpoint the run ended with" in (state.reason or "")
    assert len(load(tmp_path).curves) > 0


def test_a_folder_that_holds_another_run_is_refused_and_left_as_it_is(tmp_path):
    folder = finished(tmp_path, OTHER)
    folder.path.rename(RunDir(tmp_path, SPEC.run).path)
    folder = RunDir(tmp_path, SPEC.run)
    before = contents(folder)
    expect_named(tmp_path, folder, OTHER.run)
    with pytest.raises(RunError, match=f"holds the run {OTHER.run}, not {SPEC.run}; give the folder that name"):
        run([SPEC], tmp_path)
    assert contents(folder) == before


@pytest.mark.parametrize("left", ["state.json", "curve.parquet", "checkpoint.pt"])
def test_a_run_without_its_spec_does_not_vanish_and_is_no_orphan(tmp_path, left):
    folder = finished(tmp_path)
    for path in folder.path.iterdir():
        if path.name != left:
            path.unlink()
    assert [each.run for each in run_dirs(tmp_path)] == [SPEC.run]
    assert waste(tmp_path, failed=False, orphaned=True, days=None) == []
    assert folder.standing().name in ("damaged", "new")
    with pytest.raises(RunError, match=r"spec\.json"):
        load(tmp_path)


def test_a_state_keeps_checksums_only_while_the_run_is_over(tmp_path):
    folder = finished(tmp_path)
    assert set(folder.read_state().seals or {}) == {"spec.json", "curve.parquet", "checkpoint.pt"}
    folder.write_state(State("running"))
    assert folder.read_state().seals is None


def test_a_spec_written_anew_gets_its_checksum_into_the_state(tmp_path):
    folder = finished(tmp_path)
    tree = SPEC.tree()
    moved = parse({**tree, "engine": {**tree.get("engine", {}), "checkpoint_every": 3}})
    folder.spec.write_bytes(b"damaged")
    assert run([moved], tmp_path) == {SPEC.run: "finished"}
    assert (folder.read_state().seals or {})["spec.json"] in folder.spec.read_text()


WHOLE = {  # the files of a run, by name; a checkpoint that is not the last is looked at only where the last is damaged
    "spec.json": lambda folder: folder.spec,
    "state.json": lambda folder: folder.state,
    "curve.parquet": lambda folder: folder.curve,
    "environment.json": lambda folder: folder.environment,
    "checkpoint.pt": lambda folder: folder.checkpoint,
    "checkpoint-previous.pt": lambda folder: folder.previous,
}
PAIRS = [pair for size in (1, 2) for pair in combinations(WHOLE, size)]


def exchange(one: RunDir, other: RunDir, names: Sequence[str]) -> None:
    """Each of the two gets the other's files of these names, whole."""
    for name in names:
        mine, theirs = (WHOLE[name](folder) for folder in (one, other))
        kept = mine.read_bytes()
        mine.write_bytes(theirs.read_bytes())
        theirs.write_bytes(kept)


def go_on(spec: RunSpec, root: Path) -> str:
    """What becomes of a run: its state, or the error."""
    try:
        return run([spec], root)[spec.run]
    except RunError as error:
        return str(error)


def results(*roots: Path) -> list[pd.DataFrame]:
    return [load(root).curves.drop(columns=TIMINGS) for root in roots]


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """Two finished runs of one sweep, with a probe each, and how they stand half-way."""
    place = tmp_path_factory.mktemp("pair")
    for spec in (SPEC, OTHER):
        finished(place / "whole", spec)
        assert len(load(cut_short(place / "begun", spec, 12).root).curves) > 0
    return place


@pytest.mark.parametrize("stage", ["whole", "begun"])
@pytest.mark.parametrize("names", PAIRS, ids=" ".join)
def test_whole_files_of_two_runs_are_exchanged(pair, tmp_path, stage, names):
    """Every pair of kinds. The sweep ends with the curves that each run had, or names a file and averages nothing."""
    root = tmp_path / "r"
    shutil.copytree(pair / stage, root)
    one, other = RunDir(root, SPEC.run), RunDir(root, OTHER.run)
    exchange(one, other, names)
    unsaid = names == ("environment.json",)  # what a run ran on names no run
    seen = " ".join(problem for each in verify([root]) for problem in each.problems)
    assert unsaid or any(name in seen for name in names), seen
    for spec in (SPEC, OTHER):
        said = go_on(spec, root)
        assert said == "finished" or any(name in said for name in names), said
    both = {"checkpoint.pt", "checkpoint-previous.pt"} <= {*names}
    if stage == "begun" and both:  # nothing of its own is left to go on from
        assert [folder.read_state().name for folder in (one, other)] == ["failed", "failed"]
        return
    here, whole = results(root, pair / "whole")
    assert here.equals(whole)
