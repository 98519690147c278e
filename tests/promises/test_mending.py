"""What a sweep does with a run whose files are damaged or gone: it is mended, or named and left as it is."""

import pytest
from conftest import tiny
from ended import SPEC, finished

from degrade.errors import RunError
from degrade.store.clean import waste
from degrade.store.folder import RunDir
from degrade.store.results import board, load
from degrade.store.state import State
from degrade.sweep import rerun
from degrade.train.run import run


def damage(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def files(folder: RunDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.path.iterdir()}


# Runs that are over


@pytest.mark.parametrize("name", ["curve.parquet", "spec.json", "state.json"])
def test_a_finished_run_with_a_damaged_file_is_mended_from_its_checkpoint(tmp_path, name):
    """It was not trained again, and its curve was lost to every table."""
    folder, before = finished(tmp_path), load(tmp_path).curves
    damage(folder.path / name)
    assert folder.standing().name == "damaged"
    assert not folder.over
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load(tmp_path)
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert load(tmp_path).curves.equals(before)


def test_mending_forgets_of_what_a_run_had_failed(tmp_path):
    folder = finished(tmp_path)
    folder.write_state(State("finished", reason="there was no room"))
    damage(folder.curve)
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert folder.read_state().reason == ""


@pytest.mark.parametrize("name", ["spec.json", "environment.json"])
def test_what_says_what_a_finished_run_is_needs_no_checkpoint_to_be_mended(tmp_path, name):
    """It was trained on from an older checkpoint, or called failed where there was none."""
    folder = finished(tmp_path)
    kept = {path: path.read_bytes() for path in (folder.curve, folder.state)}
    folder.previous.unlink()
    folder.checkpoint.write_bytes(b"damaged")
    (folder.path / name).write_bytes(b"damaged")
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert {path: path.read_bytes() for path in kept} == kept
    folder.check(folder.read_state())


def test_an_older_checkpoint_takes_nothing_from_a_finished_run(tmp_path):
    """Its curve was cut back to there, and its state was no longer finished."""
    spec = tiny(engine={"checkpoint_every": 2, "keep_checkpoints": [4]})
    folder = finished(tmp_path, spec)
    folder.kept(4).replace(folder.checkpoint)
    folder.curve.write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"last good checkpoint is of iteration 4: move .* away to train it anew"):
        run([spec], tmp_path)
    assert folder.read_state().name == "finished"
    assert folder.curve.read_bytes() == b"damaged"


def test_a_finished_run_whose_curve_is_gone_is_damaged_and_mended(tmp_path):
    """It counted as finished, and was in no table."""
    folder, before = finished(tmp_path), load(tmp_path).curves
    folder.curve.unlink()
    assert "curve.parquet: is not there" in folder.standing().reason
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert load(tmp_path).curves.equals(before)


@pytest.mark.parametrize("harm", ["curve.parquet damaged", "state.json damaged", "state.json gone"])
def test_a_finished_run_without_checkpoints_is_never_trained_anew_by_itself(tmp_path, harm):
    """One whose state was gone was."""
    folder, (name, how) = finished(tmp_path), harm.split()
    for path in (folder.checkpoint, folder.previous):
        path.unlink()
    (folder.path / name).write_bytes(b"damaged") if how == "damaged" else (folder.path / name).unlink()
    before = files(folder)
    with pytest.raises(RunError, match=rf"{name}: .*there is no checkpoint: move .* away to train it anew"):
        run([SPEC], tmp_path)
    assert files(folder) == before


def test_nor_is_one_that_diverged(tmp_path):
    spec = tiny(net="plain", recipe={"lr": 1e9, "iterations": 60})
    folder = finished(tmp_path, spec)
    for path in (folder.checkpoint, folder.state):
        path.unlink()
    before = files(folder)
    with pytest.raises(RunError, match="there is no checkpoint"):
        run([spec], tmp_path)
    assert files(folder) == before


def test_one_whose_state_is_gone_is_finished_again_by_its_checkpoint(tmp_path):
    folder, before = finished(tmp_path), load(tmp_path).curves
    folder.state.unlink()
    assert "state.json: is not there" in folder.standing().reason
    assert waste(tmp_path, failed=True, orphaned=True, days=None) == []
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert load(tmp_path).curves.equals(before)


@pytest.mark.parametrize("state", ["gone", "damaged"])
@pytest.mark.parametrize("curve", ["whole", "damaged"])
@pytest.mark.parametrize("place", ["checkpoint.pt", "checkpoint-0.pt"])  # where a constructed net began
def test_what_may_have_been_over_is_not_trained_on_from_an_older_checkpoint(tmp_path, state, curve, place):
    """Its curve was cut back to there, and what a rerun had put beside it removed."""
    spec = tiny(engine={"checkpoint_every": 2, "keep_checkpoints": [4]})
    folder, whole = finished(tmp_path, spec), load(tmp_path).curves
    folder.checkpoint.unlink()
    folder.previous.unlink()
    folder.kept(4).replace(folder.path / place)
    damage(folder.state) if state == "damaged" else folder.state.unlink()
    if curve == "damaged":  # else the end of the curve alone says that the run may have been over
        damage(folder.curve)
        folder.tables["probe"].write_bytes(b"of a rerun")
    before = files(folder)
    rule = r"last good checkpoint is of iteration 4: remove curve\.parquet to go on from there, or move .* away"
    with pytest.raises(RunError, match=rf"state\.json: .*{rule}"):
        run([spec], tmp_path)
    assert files(folder) == before
    folder.curve.unlink()
    folder.tables["probe"].unlink(missing_ok=True)
    assert run([spec], tmp_path) == {spec.run: "finished"}
    timings = ["images_per_second", "seconds"]
    assert load(tmp_path).curves.drop(columns=timings).equals(whole.drop(columns=timings))


def test_a_run_that_died_before_its_first_checkpoint_goes_on_however_long_its_curve(tmp_path):
    """As the curve of an older degrade, which was written before the last checkpoint."""
    folder, whole = finished(tmp_path), load(tmp_path).curves
    folder.checkpoint.unlink()
    folder.previous.unlink()
    folder.write_state(State("running", reason="of an earlier time"))
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert folder.read_state().reason == ""
    timings = ["images_per_second", "seconds"]
    assert load(tmp_path).curves.drop(columns=timings).equals(whole.drop(columns=timings))


def test_a_curve_that_is_at_its_end_has_its_checkpoint(tmp_path, monkeypatch):
    """A power cut between them, which empties state.json, left a run that only a hand could free."""
    write = RunDir.write_curve

    def last_words(self, spec, points):
        write(self, spec, points)
        if points and points[-1].iteration == SPEC.recipe.iterations:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDir, "write_curve", last_words)
    with pytest.raises(KeyboardInterrupt):
        run([tiny()], tmp_path)
    monkeypatch.undo()
    folder = RunDir(tmp_path, tiny().run)
    folder.state.write_bytes(b"")
    assert run([tiny()], tmp_path) == {tiny().run: "finished"}


# A probe that a rerun has put beside a run is not in its checkpoint


@pytest.fixture
def probed(tmp_path) -> RunDir:
    folder = finished(tmp_path)
    again = tmp_path / "reruns" / "1"
    run([rerun.set_probe(SPEC, 3)], again)
    rerun.report(folder, RunDir(again, SPEC.run))
    assert folder.tables["probe"].exists()
    return folder


@pytest.mark.parametrize("asked", [SPEC, rerun.set_probe(SPEC, 3)], ids=["plain sweep", "engine.probe"])
@pytest.mark.parametrize("harm", ["curve.parquet damaged", "state.json damaged", "state.json gone"])
def test_mending_leaves_the_probe_of_a_rerun_alone(tmp_path, probed, asked, harm):
    """It was removed: a result was lost."""
    before, (name, how) = load(tmp_path), harm.split()
    damage(probed.path / name) if how == "damaged" else (probed.path / name).unlink()
    assert run([asked], tmp_path) == {SPEC.run: "finished"}
    after = load(tmp_path)
    assert len(after.probe) > 0
    assert after.probe.equals(before.probe)
    assert after.curves.equals(before.curves)


@pytest.mark.parametrize("checkpoints", ["whole", "older", "damaged", "none"])
def test_where_that_probe_is_damaged_it_is_named_and_can_be_made_again(tmp_path, probed, checkpoints):
    """With an older or a damaged checkpoint the whole run was to be moved away."""
    path, asked = probed.tables["probe"], rerun.set_probe(SPEC, 3)
    if checkpoints != "whole":
        probed.checkpoint.unlink()
        kept = {"older": probed.previous.read_bytes(), "damaged": b"damaged"}.get(checkpoints)
        probed.previous.unlink() if kept is None else probed.previous.write_bytes(kept)
    damage(path)
    damaged, curve = path.read_bytes(), load(tmp_path, measured=()).curves
    with pytest.raises(RunError, match=r"probe\.parquet: is damaged, and no checkpoint holds .* --reprobe` makes it"):
        run([asked], tmp_path)
    assert path.read_bytes() == damaged
    assert load(tmp_path, measured=()).curves.equals(curve)
    path.unlink()
    (bare,) = rerun.find_unprobed([asked], tmp_path, board([asked], tmp_path))
    assert rerun.reprobe([bare], tmp_path, jobs=1, fail_fast=False) == 0
    assert len(load(tmp_path).probe) > 0


@pytest.mark.parametrize("again", [4, 0])
def test_a_probe_ahead_of_the_checkpoint_goes_while_the_run_is_trained(tmp_path, again):
    """As a kill before the first checkpoint leaves it. Where no probe was asked for again, a part was taken for all."""
    spec = tiny(engine={"probe": 4})
    whole = finished(tmp_path / "whole", spec)
    folder = RunDir(tmp_path / "cut", spec.run)
    folder.path.mkdir(parents=True)
    folder.tables["probe"].write_bytes(whole.tables["probe"].read_bytes())
    asked = tiny(engine={"probe": again})
    assert run([asked], tmp_path / "cut", stop=lambda: folder.curve.exists()) == {spec.run: "interrupted"}
    assert not folder.tables["probe"].exists()
