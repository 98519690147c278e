import contextlib
import json
import os
from unittest.mock import ANY

import pytest

from degrade.errors import RunError, SpecError
from degrade.store import results
from degrade.store.folder import RunDir
from degrade.store.results import find, run_dirs
from degrade.store.state import State
from degrade.sweep import expand, launch, price, rerun
from degrade.sweep.cost import Prices, Sample, kind
from degrade.sweep.launch import How

TINY = ["study=smoke", "depth=8", "recipe.iterations=4", "data.train_limit=40", "width=2"]


@pytest.fixture
def measured(monkeypatch):
    """Steps of 10 ms, beginnings of 0.1 s, workers that load for 2 s; evaluation takes no time."""
    sample = Sample(load=2.0, begin=0.1, step=0.01, image=0.0, probe=0.0, memory=1e6, checkpoint=1e3)

    def known(specs, workers, gpus):
        return Prices({kind(spec): {8: sample} for spec in specs})

    monkeypatch.setattr(price, "measure_kinds", known)


def go(root, *overrides: str, **how) -> int:
    return launch.launch([f"results={root}", "jobs=1", *beside(*overrides)], How(**how))


def beside(*overrides: str) -> list[str]:
    """TINY with other values of these keys: a command line has each key once."""
    given = {word.partition("=")[0] for word in overrides}
    return [*(word for word in TINY if word.partition("=")[0] not in given), *overrides]


def at_once(root, *overrides: str, **how) -> int:
    """Trains in this process, by Hydra's own launcher: no worker has to load torch."""
    return go(root, *overrides, "hydra/launcher=basic", **how)


def states(root) -> dict[str, str]:
    return {folder.run: folder.read_state().name for folder in run_dirs(root)}


def spoil(folder: RunDir) -> None:
    """Makes a run fail when it is taken up again."""
    folder.write_state(State("interrupted"))
    for path in (folder.checkpoint, folder.previous):
        path.write_bytes(b"nonsense")


def test_a_dry_run_lists_and_leaves_nothing(tmp_path, capsys, measured):
    assert go(tmp_path / "results", dry_run=True) == 0
    assert "6 combinations, 4 distinct runs, 0 finished, 4 to do" in capsys.readouterr().out
    assert go(tmp_path / "results", dry_run=True, time_limit="9s") == 0
    assert not (tmp_path / "results").exists()


def test_a_sweep_of_which_a_run_is_not_done_does_not_end_well(tmp_path, capsys):
    """With a launcher that does not wait for a held run, and with --retry-failed."""
    assert at_once(tmp_path, "net=plain,residual", "shortcut=A") == 0
    first, second = run_dirs(tmp_path)
    first.write_state(State("interrupted"))
    capsys.readouterr()
    with first.claimed():
        assert at_once(tmp_path, "net=plain,residual", "shortcut=A") == 1
    assert "not done: 1 (interrupted); the same command goes on with them" in capsys.readouterr().out
    assert at_once(tmp_path, "net=plain,residual", "shortcut=A") == 0
    assert "not done" not in capsys.readouterr().out
    spoil(first)
    second.write_state(State("interrupted"))
    assert at_once(tmp_path, "net=plain,residual", "shortcut=A", retry_failed=True) == 1
    assert "not done: 2 (interrupted)" in capsys.readouterr().out


@pytest.mark.parametrize("launcher", ["workers", "basic"])
def test_why_a_finished_run_could_not_be_mended_is_what_the_command_says(tmp_path, capsys, launcher):
    """Only the log had the reason; the terminal advised to move the curve away, which did not help."""
    assert at_once(tmp_path, "net=plain,residual", "shortcut=A") == 0
    folders = run_dirs(tmp_path)
    for each in folders:
        for path in (each.checkpoint, each.previous):
            path.unlink(missing_ok=True)
        each.curve.write_bytes(b"damaged")
    capsys.readouterr()
    rule = r"curve\.parquet: .*; there is no checkpoint: move .* away to train it anew"
    ours = launcher == "workers"
    with pytest.raises(RunError, match=rule) if ours else contextlib.nullcontext():
        assert go(tmp_path, "net=plain,residual", "shortcut=A", f"hydra/launcher={launcher}") == 1
    said = capsys.readouterr().out
    assert said.count("there is no checkpoint: move") == (
        1 if ours else 2
    )  # with our launcher, one of them is the error
    assert "else move it away" not in said


def test_train_is_for_one_run(tmp_path):
    assert at_once(tmp_path, "net=plain", alone=True) == 0
    assert list(states(tmp_path).values()) == ["finished"]
    with pytest.raises(SpecError, match=r"is 2 runs; `degrade train` does one"):
        at_once(tmp_path, "net=plain,residual", alone=True)


def test_failed_runs_are_redone_and_only_those_when_asked(tmp_path):
    assert go(tmp_path, "shortcut=A") == 0
    plain, residual = run_dirs(tmp_path)
    spoil(plain)
    assert go(tmp_path, "shortcut=A") == 1
    assert states(tmp_path) == {plain.run: "failed", residual.run: "finished"}
    for path in (plain.checkpoint, plain.previous):
        path.unlink()
    assert go(tmp_path, "shortcut=A,B", retry_failed=True) == 1  # some of the runs asked for have no result
    assert states(tmp_path) == {plain.run: "finished", residual.run: "finished"}  # B was not begun
    assert go(tmp_path, "shortcut=A,B") == 0
    assert len(states(tmp_path)) == 3


def test_fail_fast_begins_nothing_after_the_first_failure(tmp_path):
    assert go(tmp_path, "depth=14", "net=plain") == 0
    spoil(run_dirs(tmp_path)[0])  # the longest run, so the first
    assert go(tmp_path, "depth=14,8", "net=plain", fail_fast=True) == 1
    assert list(states(tmp_path).values()) == ["failed"]


def test_what_cannot_be_is_one_line(tmp_path):
    with pytest.raises(SpecError, match="--fail-fast: hydra/launcher=basic cannot"):
        go(tmp_path, "hydra/launcher=basic", fail_fast=True)
    with pytest.raises(SpecError, match=r"--time-limit: the runs have different recipe\.iterations"):
        go(tmp_path, "recipe.iterations=5,6", time_limit="9s")
    assert not (tmp_path / "runs").exists()


def test_a_rerun_of_what_is_not_over_is_refused(tmp_path):
    assert at_once(tmp_path, "net=plain") == 0
    (folder,) = run_dirs(tmp_path)
    folder.write_state(State("interrupted"))
    with pytest.raises(RunError, match="is interrupted; only what is finished can be compared with"):
        rerun.rerun(*find("plain", tmp_path))


def test_a_run_that_diverged_reruns_to_the_same_curve(tmp_path, capsys):
    """Its last loss is NaN, which does not equal itself."""
    assert at_once(tmp_path, "net=plain", "recipe.lr=1e9", "recipe.iterations=60") == 0
    assert list(states(tmp_path).values()) == ["diverged"]
    assert rerun.rerun(*find("plain", tmp_path)) == 0
    assert "the same curve to the last bit" in capsys.readouterr().out


def test_a_plan_prices_the_rest_of_a_run_that_was_begun(tmp_path, capsys, measured):
    overrides = [*beside("net=plain", "recipe.iterations=100000"), f"results={tmp_path}", "jobs=1"]
    price.price(overrides, ())
    whole = capsys.readouterr().out
    assert at_once(tmp_path, "net=plain") == 0
    with expand.hydra():
        (spec,) = expand.expand(overrides).specs
    RunDir(tmp_path, spec.run).path.mkdir()
    RunDir(tmp_path, spec.run).write_state(State("interrupted", iteration=100_000, iterations=100_000))
    price.price(overrides, ())
    rest = capsys.readouterr().out
    assert "about 16:42 on 1 workers" in whole
    assert "about 0:02 on 1 workers" in rest


ODD_TO_HYDRA = ["hydra.verbose=0.5", "++hydra.job.env_copy=[[1]]", "hydra.launcher=3"]


@pytest.mark.parametrize("key", [*ODD_TO_HYDRA, "hydra.launcher=null", "+hydra.launcher.x=1", "hydra.job.num=1,2"])
def test_what_hydra_or_a_launcher_of_others_does_not_like_is_one_line(tmp_path, key):
    """They were tracebacks, and each value of a hydra key took 40 ms to compose."""
    with pytest.raises(SpecError, match="hydra") as refused:
        at_once(tmp_path, "net=plain", key)
    assert "\n" not in str(refused.value)


def test_all_of_it_is_shown_to_who_writes_a_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(AssertionError):
        at_once(tmp_path, "net=plain", "hydra.verbose=0.5")


def test_a_launcher_of_others_gets_the_runs(tmp_path, capsys):
    """Hydra's own basic launcher trains in this process: all that a launcher plugin relies on is there."""
    assert go(tmp_path, "net=plain", "hydra/launcher=basic") == 0
    state = run_dirs(tmp_path)[0].read_state()
    assert (state.name, state.pid) == ("finished", os.getpid())
    assert go(tmp_path, "net=plain") == 0
    assert "0 to do" in capsys.readouterr().out


def test_a_time_limit_scales_the_schedule_and_is_written_down(tmp_path, measured):
    long = ["net=plain,residual", "shortcut=A", "recipe.iterations=1000000"]
    assert at_once(tmp_path, *long, time_limit="3s") == 0
    specs = [folder.read_spec() for folder in run_dirs(tmp_path)]
    (iterations,) = {spec.recipe.iterations for spec in specs}
    assert iterations == 40  # of two runs on one worker: 2 + 2 x (0.1 + 40 x 0.01) s
    (record,) = (tmp_path / "time-limits").iterdir()
    assert json.loads(record.read_text())["iterations"] == iterations
    before = states(tmp_path)
    assert at_once(tmp_path, *long, time_limit="3s") == 0
    assert states(tmp_path) == before  # the same runs, whatever the machine does today


@pytest.mark.parametrize("content", [b"{", b'{"iterations": 7}', b'{"format": 2, "iterations": 7}', b"[" * 200_000])
def test_a_time_limit_that_was_not_written_here_is_one_line(tmp_path, measured, content):
    at_once(tmp_path, "net=plain", time_limit="9s")
    (record,) = (tmp_path / "time-limits").iterdir()
    record.write_bytes(content.replace(b"7", b"0"))
    with pytest.raises(RunError, match="remove it to measure anew"):
        at_once(tmp_path, "net=plain", time_limit="9s")


def test_a_time_limit_that_loading_alone_takes_is_one_line(tmp_path, measured):
    with pytest.raises(SpecError, match="--time-limit 2s: less than one iteration of each run; allow more"):
        at_once(tmp_path, time_limit="2s")


@pytest.mark.parametrize("limit", ["", "soon", "5", "-3s", "0s"])
def test_a_wrong_time_limit_is_one_line(tmp_path, measured, limit):
    with pytest.raises(SpecError, match="--time-limit"):
        go(tmp_path, time_limit=limit)


def test_a_run_is_found_by_the_beginning_of_its_name_or_its_folder(tmp_path):
    assert at_once(tmp_path, "shortcut=A") == 0
    plain, _ = run_dirs(tmp_path)
    assert results.find("plain", tmp_path)[0].run == plain.run
    assert results.find(str(plain.path), tmp_path / "elsewhere") == (ANY, tmp_path)
    assert results.find(str(plain.path), tmp_path / "elsewhere")[0].path == plain.path
    with pytest.raises(RunError, match="no run named 'highway' in"):
        results.find("highway", tmp_path)
    with pytest.raises(RunError, match="matches 2 runs in"):
        results.find("", tmp_path)


def test_a_rerun_gives_the_same_curve_beside_the_first(tmp_path, capsys):
    assert at_once(tmp_path, "net=plain") == 0
    for n in (1, 2):
        assert rerun.rerun(*find("plain", tmp_path)) == 0
        assert "the same curve to the last bit" in capsys.readouterr().out
        assert (tmp_path / "reruns" / str(n)).is_dir()
    assert len(run_dirs(tmp_path)) == 1


def test_plan_shows_what_is_new_and_its_price(tmp_path, capsys, measured):
    assert at_once(tmp_path, "net=plain") == 0
    capsys.readouterr()
    price.price([*TINY, "net=plain", "seed=0,1", f"results={tmp_path}", "jobs=2"], ())
    out = capsys.readouterr().out
    assert "2 distinct runs, 1 finished, 1 to do" in out
    assert "1 runs to do: about 0:02 on 2 workers" in out


def test_states_are_read_once_where_nothing_is_trained(tmp_path, monkeypatch):
    """Each table of a command asked the folders again: six times and more for each run."""
    asked: list[str] = []
    read_state = RunDir.read_state

    def counted(folder):
        asked.append(folder.run)
        return read_state(folder)

    assert at_once(tmp_path, "net=plain,residual", "shortcut=A") == 0
    monkeypatch.setattr(RunDir, "read_state", counted)
    for dry_run in (True, False):  # all are finished: nothing is trained
        asked.clear()
        assert go(tmp_path, "net=plain,residual", "shortcut=A", dry_run=dry_run) == 0
        assert (len(asked), len({*asked})) == (2, 2)


@pytest.mark.parametrize(
    ("key", "rule"),
    [("+hydra.launcher.nonsense=1", "no such key"), ("hydra.launcher.fail_fast=maybe", "true or false")],
)
def test_what_our_launcher_does_not_know_is_refused(tmp_path, key, rule):
    """Launched by specs, it would ignore them."""
    with pytest.raises(SpecError, match=rf"hydra\.launcher\..*{rule}"):
        go(tmp_path, "net=plain", key, dry_run=True)
