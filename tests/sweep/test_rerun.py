import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import ON_CPU, tiny, with_kernels

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.store.files import write
from degrade.store.folder import RunDir, write_json
from degrade.store.results import board, find, load, run_dirs
from degrade.store.state import UNMARKED_LAYOUT, State
from degrade.sweep import launch, price, rerun
from degrade.sweep.launch import How
from degrade.train import run
from degrade.train.checkpoint import pack, unpack

TINY = ["study=smoke", "depth=8", "recipe.iterations=4", "data.train_limit=40", "width=2"]


def unprobed(*specs: RunSpec, root: Path) -> list[RunSpec]:
    return rerun.find_unprobed(specs, root, board(specs, root))


def at_once(root, *overrides: str, **how) -> int:
    """Trains in this process, by Hydra's own launcher: no worker has to load torch."""
    given = [*TINY, f"results={root}", "jobs=1", "hydra/launcher=basic", *overrides]
    return launch.launch(given, How(**how))


def files(folder: RunDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.path.iterdir() if path.name != ".lock"}


def twice(root, *, probe: int = 2, lr: float = 0.05) -> tuple[RunDir, RunDir]:
    """A run, and its rerun with a probe in reruns/1. With another `lr` the first run has another curve."""
    spec = tiny(recipe={"iterations": 6})
    run.run([spec], root)
    run.run([rerun.set_probe(spec, probe)], root / "reruns" / "1")
    first, again = RunDir(root, spec.run), RunDir(root / "reruns" / "1", spec.run)
    if lr != spec.recipe.lr:
        other = tiny(recipe={"iterations": 6, "lr": lr})
        run.run([other], root / "other")
        first.curve.write_bytes(RunDir(root / "other", other.run).curve.read_bytes())
    return first, again


def test_a_rerun_with_a_probe_puts_it_beside_the_first_and_changes_nothing_else(tmp_path, capsys):
    assert at_once(tmp_path, "net=plain") == 0
    (folder,) = run_dirs(tmp_path)
    before = files(folder)
    assert rerun.rerun(*find("plain", tmp_path), 2) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert f"the same curve to the last bit; probe.parquet added to {folder.path}" in said
    after = files(folder)
    rows = pd.read_parquet(folder.tables["probe"])
    assert after.pop("probe.parquet")
    assert after == before
    assert set(rows.iteration) == {0, 2}
    assert set(rows.run) == {folder.run}
    with pytest.raises(RunError, match=r"has a probe already; move .* away to get another"):
        rerun.rerun(*find("plain", tmp_path), 1)


def test_where_another_curve_comes_out_the_probe_stays_in_the_rerun(tmp_path, capsys):
    first, again = twice(tmp_path, lr=0.02)
    before = files(first)
    rerun.report(first, again)
    said = capsys.readouterr().out
    assert f"{again.path}: another curve;" in said
    assert "probe.parquet stays here, not with the first run" in said
    assert files(first) == before


def test_a_probe_that_is_there_is_never_replaced(tmp_path):
    first, again = twice(tmp_path)
    rerun.report(first, again)
    kept = first.tables["probe"].read_bytes()
    (tmp_path / "reruns" / "1").rename(tmp_path / "reruns" / "0")
    run.run([rerun.set_probe(tiny(recipe={"iterations": 6}), 1)], tmp_path / "reruns" / "1")
    rerun.report(first, again)
    assert first.tables["probe"].read_bytes() == kept != again.tables["probe"].read_bytes()


def test_a_sweep_that_asks_for_a_probe_says_which_finished_runs_have_none(tmp_path, capsys):
    assert at_once(tmp_path, "shortcut=A") == 0
    before = [files(folder) for folder in run_dirs(tmp_path)]
    capsys.readouterr()
    for how in ({}, {"dry_run": True}):
        assert at_once(tmp_path, "shortcut=A", "engine.probe=2", **how) == 0
        said = capsys.readouterr().out
        assert (
            "2 finished runs have no probe; `degrade sweep ... --reprobe` trains them again beside the first (0:0"
            in said
        )
    price.price([*TINY, "net=plain", "engine.probe=2", f"results={tmp_path}"], ())
    assert "1 finished run has no probe" in capsys.readouterr().out
    assert [files(folder) for folder in run_dirs(tmp_path)] == before
    assert at_once(tmp_path, "shortcut=A") == 0
    assert "no probe" not in capsys.readouterr().out


def test_reprobe_trains_them_again_and_then_there_is_no_more_to_say(tmp_path, capsys):
    assert at_once(tmp_path, "shortcut=A") == 0
    wanted = ("shortcut=A", "engine.probe=2")
    assert at_once(tmp_path, *wanted, reprobe=True) == 0
    said = capsys.readouterr().out
    assert said.count("probe.parquet added to") == 2
    tables = load(tmp_path)
    assert tables.probe.groupby("run").iteration.nunique().to_dict() == dict.fromkeys(tables.runs.run, 2)
    assert at_once(tmp_path, *wanted, reprobe=True) == 0
    assert "probe.parquet" not in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "reruns").iterdir()] == ["1"]


def test_runs_are_trained_again_as_they_were_the_first_time(tmp_path):
    """The command line may ask for other threads or another device now: those can change bits."""
    spec = tiny(engine={"threads": 2, "device": "cpu", "backend": "eager"})
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    folder.begin(spec, {})
    folder.write_curve(spec, [])
    folder.write_state(State("finished"))
    (found,) = unprobed(tiny(engine={"probe": 5, "threads": 1}), root=tmp_path)
    assert found == rerun.set_probe(spec, 5)
    assert unprobed(spec, tiny(seed=1, engine={"probe": 5}), root=tmp_path) == []


def test_what_lies_in_a_rerun_already_is_not_trained_a_third_time(tmp_path, capsys):
    first, _ = twice(tmp_path)
    (bare,) = unprobed(rerun.set_probe(first.read_spec(), 3), root=tmp_path)
    assert rerun.reprobe([bare], tmp_path, jobs=1, fail_fast=False) == 0
    assert "probe.parquet added to" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "reruns").iterdir()] == ["1"]


def two_places(root) -> list:
    """Two finished runs without a probe. The second has a rerun already, so the reruns need two folders."""
    specs = [tiny(recipe={"iterations": 6}), tiny(seed=1, recipe={"iterations": 6})]
    run.run(specs, root)
    run.run([rerun.set_probe(specs[1], 3)], root / "reruns" / "1")
    return [rerun.set_probe(spec, 2) for spec in specs]


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_group_whose_failure_could_not_be_written_keeps_no_other_from_being_trained(tmp_path, monkeypatch, fail_fast):
    asked, trained, train = two_places(tmp_path), [], rerun.train

    def broken(specs, path, **how):
        trained.append(path.name)
        if len(trained) == 1:
            raise RunError("its disk went away")
        train(specs, path, **how)

    monkeypatch.setattr(rerun, "find_probed", lambda *_: [])
    monkeypatch.setattr(rerun, "train", broken)
    with pytest.raises(RunError, match="its disk went away"):
        rerun.reprobe(asked, tmp_path, jobs=1, fail_fast=fail_fast)
    assert trained == (["1"] if fail_fast else ["1", "2"])


def test_a_run_that_fails_again_is_counted(tmp_path, monkeypatch):
    asked = two_places(tmp_path)

    def fail(specs, path, **how):
        for spec in specs:
            RunDir(path, spec.run).path.mkdir(parents=True, exist_ok=True)
            RunDir(path, spec.run).write_state(State("failed", reason="of its own"))

    monkeypatch.setattr(rerun, "find_probed", lambda *_: [])
    monkeypatch.setattr(rerun, "train", fail)
    assert rerun.reprobe(asked, tmp_path, jobs=1, fail_fast=False) == 2


def test_a_finished_run_that_had_to_be_mended_gets_its_probe_too(tmp_path, capsys):
    """It was mended, the command ended well, and there was no probe."""
    assert at_once(tmp_path, "net=plain") == 0
    (folder,) = run_dirs(tmp_path)
    folder.curve.write_bytes(b"damaged")
    assert at_once(tmp_path, "net=plain", "engine.probe=2", reprobe=True) == 0
    assert "probe.parquet added to" in capsys.readouterr().out
    assert len(load(tmp_path).probe) > 0


_LATER = ("layout", "run", "seals", "sha256")  # keys of a state that 0.1.0 did not write


def made_by_0_1_0(spec: RunSpec, root: Path) -> RunDir:
    """A finished run as 0.1.0 left it: in the one layout of then, which nothing in it names."""
    folder = RunDir(root, spec.run)
    folder.path.mkdir(parents=True)
    folder.write_state(State("new", layout=UNMARKED_LAYOUT))
    run.run([spec], root)
    state = unpack(folder.checkpoint.read_bytes())
    write(folder.checkpoint, pack({key: value for key, value in state.items() if key != "layout"}))
    said = folder.read(folder.state)
    write_json(folder.state, {key: value for key, value in said.items() if key not in _LATER})
    return folder


def test_a_run_whose_state_names_no_backend_was_eager(tmp_path):
    """The stored studies of the digits are so: there was no other backend."""
    spec = tiny()
    folder = RunDir(tmp_path, spec.run)
    folder.path.mkdir(parents=True)
    folder.begin(spec, {})
    folder.write_state(State("finished"))
    assert rerun.read_trained_spec(folder).engine.backend == "eager"


@pytest.mark.parametrize("how", ["rerun", "reprobe"])
def test_a_run_of_0_1_0_is_trained_again_in_its_layout_and_comes_out_the_same(tmp_path, capsys, how):
    spec = tiny(recipe={"iterations": 9}, engine={"backend": "eager"})
    folder = made_by_0_1_0(spec, tmp_path / "old")
    run.run([spec], tmp_path / "new")
    assert not rerun.same_curve(folder.curve, RunDir(tmp_path / "new", spec.run).curve)
    if how == "rerun":
        assert rerun.rerun(folder, tmp_path / "old", 3) == 0
    else:
        assert (
            rerun.reprobe(
                unprobed(rerun.set_probe(spec, 3), root=tmp_path / "old"), tmp_path / "old", jobs=1, fail_fast=False
            )
            == 0
        )
    said = " ".join(capsys.readouterr().out.split())
    assert "of a degrade before layouts had names; trained again in its layout, channels_last" in said
    assert "the same curve to the last bit; probe.parquet added" in said


def test_a_run_of_today_is_trained_again_in_its_layout_and_nothing_is_said_of_it(tmp_path, capsys):
    spec = tiny(recipe={"iterations": 6}, engine={"backend": "eager"})
    run.run([spec], tmp_path)
    assert rerun.rerun(RunDir(tmp_path, spec.run), tmp_path) == 0
    said = capsys.readouterr().out
    assert "the same curve to the last bit" in said
    assert "layout" not in said


@with_kernels()
def test_a_rerun_of_compiled_kernels_has_the_better_probe_since_no_bit_of_its_curve_depends_on_it(tmp_path, capsys):
    spec = tiny(recipe={"iterations": 6}, engine={"backend": "native"})
    folder = made_by_0_1_0(spec, tmp_path)
    assert rerun.rerun(folder, tmp_path, 3) == 0
    assert "the same curve to the last bit; probe.parquet added" in " ".join(capsys.readouterr().out.split())
    assert RunDir(tmp_path / "reruns" / "1", spec.run).read_state().layout == "contiguous"


def test_a_rerun_that_has_a_checkpoint_keeps_the_layout_of_that(tmp_path):
    spec, polls = tiny(engine={"backend": "eager"}), iter([False] * 4)
    folder = made_by_0_1_0(spec, tmp_path)
    run.run([spec], tmp_path / "reruns" / "1", stop=lambda: next(polls, True))
    assert rerun.rerun(folder, tmp_path) == 0
    assert RunDir(tmp_path / "reruns" / "1", spec.run).read_state().layout == "contiguous"


def test_a_rerun_of_which_nobody_knows_what_it_was_is_left_alone(tmp_path):
    """Its damaged spec ended every later rerun, with advice that could not be followed."""
    first, again = twice(tmp_path)
    again.spec.write_bytes(b"damaged")
    first.tables["probe"].unlink(missing_ok=True)
    (bare,) = unprobed(rerun.set_probe(first.read_spec(), 2), root=tmp_path)
    again.state.unlink()
    assert rerun.choose_place(tmp_path, bare).name == "2"


def test_a_rerun_that_was_stopped_goes_on_only_with_the_same_probe(tmp_path):
    spec, polls = tiny(engine={"probe": 2}), iter([False] * 4)
    run.run([spec], tmp_path / "reruns" / "1", stop=lambda: next(polls, True))
    assert rerun.choose_place(tmp_path, spec).name == "1"
    assert rerun.choose_place(tmp_path, rerun.set_probe(spec, 3)).name == "2"
    assert rerun.choose_place(tmp_path, replace(spec, seed=1)).name == "1"


def said_at_a_terminal(folder: Path, typed: str, *arguments: str) -> str:
    """Types at a terminal of its own; returns what the command line says there. The command must end well."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    command, environment = [sys.executable, "-m", "degrade", *arguments], {**os.environ, "COLUMNS": "100"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the last reader hears so that the other side has left
            while part := os.read(ours, 4096):
                said += part
    os.close(ours)
    assert process.returncode == 0, said.decode()
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).split())


@pytest.mark.parametrize(("answer", "added"), [("n", 0), ("y", 1)])
def test_at_a_terminal_it_asks(tmp_path, answer, added):
    assert at_once(tmp_path / "results", "net=plain") == 0
    said = said_at_a_terminal(tmp_path, f"{answer}\n", "sweep", *TINY, "net=plain", "engine.probe=2", "jobs=1")
    assert "1 finished run has no probe; train it again beside the first (0:00 of training)? [y/N]" in said
    assert said.count("probe.parquet added to") == len(load(tmp_path / "results").probe.run.unique()) == added


@pytest.mark.parametrize("backend", ON_CPU)
def test_a_rerun_has_the_backend_that_the_run_had_whatever_auto_would_take_now(tmp_path, backend):
    spec = tiny(recipe={"iterations": 6}, engine={"backend": backend})
    run.run([spec], tmp_path)
    folder = RunDir(tmp_path, spec.run)
    written = json.loads(folder.spec.read_text())
    written["spec"]["engine"]["backend"] = "auto"
    write_json(folder.spec, written)
    assert folder.read_spec().engine.backend == "auto"
    assert rerun.read_trained_spec(folder).engine.backend == backend
