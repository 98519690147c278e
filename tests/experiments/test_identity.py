import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

import degrade
from degrade import cli
from degrade.cli.sheets import stacks
from degrade.errors import SpecError
from degrade.experiments.identity import grid
from degrade.experiments.identity import learn as learning
from degrade.experiments.identity.features import features, generator, target_of
from degrade.experiments.identity.learn import POINTS, learn, rate, relative_error
from degrade.experiments.identity.stacks import Chain, chain, stack
from degrade.experiments.identity.trial import IDENTITY, LATER, Trial
from degrade.figures import draw
from degrade.figures.identity import FLOOR, choose_rates, finals, panels, title_of
from degrade.nets import Plain, Residual
from degrade.store import parquet

SMALL = {"width": 4, "steps": 20}
FEW = Trial(**SMALL, size=4, lr=0.3)


def some(net="residual", blocks=2, layers=2):
    trial = Trial(net=net, blocks=blocks, layers=layers, width=4, size=6)
    return stack(trial).eval(), features(trial, 8, generator("test"))


def dirac(net):
    """Kernels with a single 1, and BN that changes nothing: in evaluation mode each conv-BN is the identity."""
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.dirac_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-30


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_residual_stack_whose_last_norms_are_zero_is_the_identity_to_the_bit(layers):
    net, x = some(layers=layers)
    assert relative_error(net(x), x) > 0.1
    for block in net:
        last = [m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]
        torch.nn.init.zeros_(last.weight)
    assert relative_error(net(x), x) == 0


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_plain_stack_has_a_solution_too(layers):
    net, x = some("plain", 4, layers)
    dirac(net)
    assert relative_error(net(x), x) == 0


@pytest.mark.parametrize(("net", "block"), [("plain", Plain), ("residual", Residual)])
def test_blocks_of_two_layers_are_those_of_the_nets_and_others_compute_the_same(net, block):
    made, x = some(net)
    assert all(type(one) is block for one in made)
    chain, own = Chain(4, 2, net == "residual").eval(), made[0]
    for mine, theirs in zip(chain.convs, (own.first, own.second), strict=True):
        mine.load_state_dict(theirs.state_dict())
    assert torch.equal(chain(x), own(x))


def test_the_error_is_1_for_zeros_and_1_less_1_over_pi_for_the_mean():
    _, x = some()
    assert relative_error(torch.zeros_like(x), x) == 1
    (row, *_) = learn(replace(FEW, width=16, size=8, steps=1))
    assert row.predict_mean == pytest.approx(1 - 1 / np.pi, abs=0.01)


def test_the_rate_rises_to_half_of_the_steps_and_is_divided_by_ten_there_and_at_three_quarters():
    trial = replace(FEW, lr=0.4, steps=100)
    rates = [rate(trial, i) for i in (0, 24, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([0.008, 0.2, 0.4, 0.04, 0.04, 0.004, 0.004])


def test_a_step_is_that_of_torch_to_the_bit():
    ours, theirs, draws = stack(FEW), stack(FEW), generator("test")
    solver = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=FEW.momentum, weight_decay=FEW.weight_decay)
    velocity = [torch.zeros_like(p) for p in ours.parameters()]
    for _ in range(3):
        x = features(FEW, FEW.batch, draws)
        learning.step(ours, velocity, x, x, 0.1, FEW)
        solver.zero_grad()
        torch.nn.functional.mse_loss(theirs(x), x).backward()
        solver.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_same_trial_gives_the_same_rows_and_another_seed_others():
    rows = learn(FEW)
    assert learn(FEW) == rows
    assert learn(replace(FEW, seed=1)) != rows
    assert [row.iteration for row in rows] == list(range(2, 21, 2))
    assert rows[-1].relative_error < rows[0].relative_error


def test_plain_and_residual_stacks_see_the_same_images_from_the_same_weights():
    plain, residual = stack(replace(FEW, net="plain")).state_dict(), stack(FEW).state_dict()
    assert all(torch.equal(value, residual[name]) for name, value in plain.items())


def test_images_are_not_drawn_like_the_weights_nor_held_out_like_those_of_training():
    seeds = {generator(*words).initial_seed() for words in (("train", 0), ("train", 1), ("held out",))}
    assert len(seeds | {0, 1}) == 5


def test_one_block_learns_the_identity_with_a_shortcut_and_hardly_without():
    steps = {"blocks": 1, "width": 4, "size": 4, "steps": 200}
    plain, residual = (learn(Trial(net=net, **steps))[-1].relative_error for net in ("plain", "residual"))
    assert residual < 1e-3 < plain


def test_a_stack_that_diverges_ends_with_infinite_errors():
    rows = learn(replace(FEW, net="plain", lr=1e30, steps=100, weight_decay=1e30))
    assert rows[-1].relative_error == np.inf
    assert rows[-1].iteration < 100


GRID = {"blocks": (1, 2), "seeds": (0, 1), **SMALL}


def test_a_second_call_trains_nothing_and_returns_the_same(tmp_path, monkeypatch):
    first = degrade.identity(**GRID, results=tmp_path)
    assert len(first) == 2 * 2 * 2 * POINTS
    monkeypatch.setattr(learning, "learn", None)
    assert degrade.identity(**GRID, results=tmp_path).equals(first)
    (folder,) = (tmp_path / "identity").iterdir()
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["identity.parquet", "identity.pdf", "identity.png", "identity.svg", "trials"]
    stored = pq.read_table(folder / "identity.parquet")
    assert stored.to_pandas().equals(first)
    assert [field.metadata[b"meaning"].decode() for field in stored.schema] == [
        column.meaning for column in IDENTITY.values()
    ]


def test_other_settings_lie_in_another_folder(tmp_path):
    assert Trial(steps=20).settings != Trial(steps=21).settings
    assert Trial(net="plain", blocks=3, lr=1.0, seed=4).settings == Trial().settings
    assert Trial(lr=0.1).name != Trial(lr=0.3).name


def test_an_interrupted_call_keeps_the_trials_that_were_done(tmp_path, monkeypatch):
    real, calls = learning.learn, count()

    def third_is_interrupted(*words):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*words)

    monkeypatch.setattr(learning, "learn", third_is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        degrade.identity(**GRID, results=tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.glob("identity/*/trials/*")}
    assert len(kept) == 2
    degrade.identity(**GRID, results=tmp_path)
    assert next(calls) == 1 + 2 + 1 + 6 - 1
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_stopped_trial_leaves_no_file(tmp_path):
    (tmp_path / "trials").mkdir()
    grid.keep(FEW, tmp_path, stop=lambda: True)
    assert list((tmp_path / "trials").iterdir()) == []


def test_ctrl_c_ends_the_command_with_its_code_and_keeps_what_is_done(tmp_path):
    seeds = ",".join(map(str, range(40)))
    command = [sys.executable, "-m", "degrade", "identity", "--blocks", "2", "--net", "plain", "--seeds", seeds]
    command += ["--width", "4", "--steps", "300", "--jobs", "2"]
    begun = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 100
    while not (kept := list(tmp_path.glob("results/identity/*/trials/*.parquet"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does: all processes of the group get it
    said, _ = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "the same command goes on" in said
    files = list(kept[0].parent.iterdir())
    assert 1 <= len(files) < 40
    assert all(len(pq.read_table(path)) == POINTS for path in files)


def test_the_command_prints_the_table_and_the_files(degrade, tmp_path):
    words = ["identity", "--blocks", "1", "--seeds", "0,1", "--steps", "10", "--width", "4", "--lr", "0.1,0.3"]
    done = degrade(*words, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "residual" in done.stdout
    assert "±" in done.stdout
    files = [tmp_path / line for line in done.stdout.splitlines()[-3:]]
    assert [file.suffix for file in files] == [".png", ".svg", ".pdf"]
    assert b"degrade identity --blocks 1 " in files[1].read_bytes()
    assert b"residual-1-lr0.1-s1" in files[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--blocks", "0"], "blocks=0: must be from 1 to 256"),
        (["--blocks", "x"], "--blocks=x: must be integers, as in 1,2,4"),
        (["--blocks", ""], "blocks=: names nothing; give one value or several, as in 1,2,4"),
        (["--layers", "4"], "layers=4: must be from 1 to 3"),
        (["--net", "plian"], "net=plian: unknown; did you mean 'plain'?"),
        (["--seeds", "-1"], "seed=-1: must be from 0 to 2**63 - 1"),
        (["--steps", "0"], "steps=0: must be at least 1"),
        (["--width", "0"], "width=0: must be from 1 to 4096"),
        (["--target", "xyz"], "target=xyz: unknown; known: identity, permutation, random"),
        (
            ["--target", "permutation", "--width", "1"],
            "width=1: one channel has no permutation; use --width 2 or more, or another --target",
        ),
        (["--init", "drac"], "init=drac: unknown; did you mean 'dirac'?"),
        (["--decay", "-1"], "weight_decay=-1.0: must be a number from 0 up"),
        (["--decay", "x"], "--decay=x: must be numbers, as in 0.3,3"),
        (
            ["--pick", "1", "--seeds", "0,1"],
            "--pick=1: this seed is in --seeds too; choose the rate on seeds that are not shown",
        ),
        (["--lr", "0"], "lr=0.0: must be a number above 0, at most 1e+30"),
        (["--lr", "nan"], "lr=nan: must be a number above 0, at most 1e+30"),
        (["--lr", "1e300"], "lr=1e+300: must be a number above 0, at most 1e+30"),
        (["--jobs", "0"], "--jobs=0: must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, words, said):
    done = CliRunner().invoke(cli.app, ["identity", *words, "--results", str(tmp_path / "results")])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception) == said
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_and_a_folder_that_cannot_be_are_one_line(degrade, tmp_path):
    with pytest.raises(SpecError, match=r"^depht: no such key"):
        grid.identity(depht=3, results=tmp_path)
    done = degrade("identity", "--results", "/dev/null/x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("degrade: results=/dev/null/x: cannot be made")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def rows(net, blocks, seed, error, lr=0.3, **other):
    import pandas as pd

    trial = Trial(net=net, blocks=blocks, seed=seed, lr=lr, **other)
    measured = {"iteration": [1, 2], "relative_error": [1.0, error], "running": 1.0, "predict_mean": 0.68}
    return pd.DataFrame({**trial.labels(), **measured})


def test_of_several_rates_each_net_and_depth_takes_its_best():
    import pandas as pd

    errors = {("plain", 1, 0.1): (0.5, 0.7), ("plain", 1, 0.3): (0.1, 0.3), ("plain", 2, 0.1): (0.4, 0.4)}
    errors |= {("plain", 2, 0.3): (0.8, np.inf), ("residual", 1, 0.1): (0.0, 0.0)}
    frame = pd.concat([rows(n, b, s, e, lr) for (n, b, lr), both in errors.items() for s, e in enumerate(both)])
    last = finals(frame)
    assert last[["net", "blocks", "lr", "mean", "seeds"]].to_numpy().tolist() == [
        ["plain", 1, 0.3, 0.2, 2],
        ["plain", 2, 0.1, 0.4, 2],
        ["residual", 1, 0.1, 0.0, 2],
    ]
    (panel,) = panels(frame)
    plain, residual = panel.lines
    assert (plain.label, plain.x.tolist()) == ("plain", [2, 4])
    for drawn, errors in ((plain.y, [0.2, 0.4]), (plain.low, [0.1, 0.4]), (plain.high, [0.3, 0.4])):
        assert drawn == pytest.approx([error / 0.68 for error in errors])  # as a part of the target's variance
    assert title_of(frame).endswith("the best of lr 0.1, 0.3; 2 seeds")
    assert (residual.y.tolist(), residual.beyond, plain.beyond) == ([FLOOR], (-1,), (0, 0))  # drawn as below it
    assert panel.notes[-1] == "caret down: below 1e-6, drawn there"
    axes = draw([panel]).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4"]
    assert axes.get_ylim()[0] < FLOOR


def test_rates_are_chosen_on_other_seeds_than_those_that_are_shown():
    import pandas as pd

    errors = {(0, 0.1): 0.1, (0, 0.3): 0.2, (1, 0.1): 0.9, (1, 0.3): 0.3}  # seed 1 alone would take 0.3
    frame = pd.concat([rows("plain", 1, seed, error, lr) for (seed, lr), error in errors.items()])
    assert choose_rates(frame, [0]) == {("identity", "plain", "he", 1e-4, 1): 0.1}
    (row,) = finals(frame, [0]).to_dict("records")
    assert (row["lr"], row["mean"], row["seeds"], row["picked"]) == (0.1, 0.9, 1, "seeds 0")
    (row,) = finals(frame[frame.seed == 1]).to_dict("records")
    assert (row["lr"], row["mean"], row["picked"]) == (0.3, 0.3, "shown")
    (row,) = finals(frame[(frame.seed == 1) & (frame.lr == 0.1)]).to_dict("records")
    assert row["picked"] == ""
    sheet = stacks(frame, [0])[0]
    assert sheet.notes[-1] == "lr: the best of several on seeds that are not shown: 0."


def test_seeds_that_are_shown_are_trained_at_the_chosen_rate_alone(tmp_path):
    grid_ = {"net": ["residual"], "blocks": [1], "lr": [0.03, 0.3], "results": tmp_path, **SMALL}
    frame = degrade.identity(**grid_, seeds=(1, 2), pick=(0,))
    assert set(frame[frame.seed == 0].lr) == {0.03, 0.3}
    assert set(frame[frame.seed > 0].lr) == {choose_rates(frame, [0])["identity", "residual", "he", 1e-4, 1]}
    with pytest.raises(SpecError, match=r"^--pick=1: "):
        degrade.identity(**grid_, seeds=(0, 1), pick=(1,))


def test_a_panel_a_target_and_a_line_a_net_start_and_weight_decay():
    import pandas as pd

    every = [
        rows(net, blocks, 0, 0.1, target=target, init=init, weight_decay=decay)
        for target in ("identity", "random")
        for net in ("plain", "residual")
        for init in ("he", "dirac")
        for decay in (0.0, 1e-4)
        for blocks in (1, 2)
    ]
    frame = pd.concat(every)
    assert len(finals(frame)) == 32
    first, second = panels(frame)
    assert (first.title, second.title) == ("target: the identity", "target: a random block")
    names = [(line.label, line.key, line.dash) for line in first.lines]
    assert names[:4] == [
        ("plain", "plain", "solid"),
        ("plain, decay 0", "plain", "dashed"),
        ("plain, dirac", "plain, dirac", "solid"),
        ("plain, dirac, decay 0", "plain, dirac", "dashed"),
    ]
    assert len(names) == len(set(names)) == 8
    sheets = stacks(frame)
    assert [len(sheet.rows) for sheet in sheets] == [16, 16]
    assert sheets[0].rows[2][:4] == ("plain", "0", "1", "2")
    assert {row["init"] for sheet in sheets for row in sheet.records} == {"he", "dirac"}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("net", ["plain", "residual"])
def test_a_dirac_stack_begins_at_the_identity_in_training_mode_too(net, layers):
    trial = Trial(net=net, blocks=4, layers=layers, init="dirac")
    made, x = stack(trial), features(trial, 64, generator("test"))
    assert relative_error(made.eval()(x), x) < 1e-9
    assert relative_error(made.train()(x), x) < 2e-3  # the chance of a batch
    assert relative_error(stack(replace(trial, init="he"))(x), x) > 0.5


def test_a_permutation_moves_every_channel_and_a_plain_stack_can_be_it():
    trial = Trial(net="plain", blocks=2, width=8, target="permutation", seed=3)
    made, x = stack(trial).eval(), features(trial, 8, generator("test"))
    y = target_of(trial)(x)
    moved = [next(c for c in range(8) if torch.equal(x[:, c], y[:, place])) for place in range(8)]
    assert sorted(moved) == list(range(8))
    assert all(place != came for place, came in enumerate(moved))
    assert not torch.equal(target_of(replace(trial, seed=4))(x), y)
    dirac(made)
    with torch.no_grad():
        conv = made[1].second[0]
        conv.weight.copy_(conv.weight[moved])
    assert relative_error(made(x), y) == 0


@pytest.mark.parametrize("net", ["plain", "residual"])
def test_a_random_target_is_a_fixed_block_of_the_same_kind_with_weights_of_its_own(net):
    trial = Trial(net=net, width=4, target="random", seed=1)
    target, x = target_of(trial), features(trial, 64, generator("test"))
    y = target(x)
    assert torch.allclose(target(x[:8]), y[:8], atol=1e-6)  # no statistics of the batch
    assert torch.equal(target_of(trial)(x), y)
    assert not torch.equal(target_of(replace(trial, seed=2))(x), y)
    assert relative_error(chain(trial, 1, trial.seed)(x), y) > 0.1  # not the block that learns it
    assert type(chain(trial, 1, 0)[0]) is (Plain if net == "plain" else Residual)
    other = target_of(replace(trial, net="residual" if net == "plain" else "plain"))
    assert relative_error(other(x), y) > 0.1


def test_the_target_is_what_is_learned_and_what_the_error_is_against():
    trial = Trial(net="plain", blocks=1, width=4, size=4, steps=300, lr=1.0, init="dirac", target="permutation")
    rows_ = learn(trial)
    assert rows_[-1].relative_error < 0.05 < rows_[0].relative_error
    assert learn(replace(trial, target="identity"))[-1].relative_error != rows_[-1].relative_error


def test_trials_of_a_release_keep_their_names_and_folders():
    assert Trial(net="plain", blocks=4, lr=3.0).name == "plain-4-lr3.0-s0"
    assert Trial().settings == "l2-w16-1500-988a75f1"
    assert Trial(target="random", init="dirac").settings == Trial().settings
    assert Trial(target="random", init="dirac").name == "residual-1-random-dirac-lr3.0-s0"
    assert Trial(weight_decay=0.0).settings != Trial().settings


@pytest.mark.parametrize("decay", [1e-4, 0.0])
def test_a_file_without_the_later_columns_is_read_with_what_its_trial_was(tmp_path, decay):
    trial = replace(FEW, weight_decay=decay)
    path = grid.trial_file(trial, grid.home([trial], tmp_path))
    path.parent.mkdir(parents=True)
    grid.keep(trial, path.parent.parent)
    rows_ = pq.read_table(path).drop_columns(list(LATER))
    before = parquet.Schema({name: column for name, column in IDENTITY.items() if name not in LATER})
    parquet.save(path, rows_.cast(before.arrow))
    old = path.read_bytes()
    frame = grid.measure_trials([trial], tmp_path)
    assert path.read_bytes() == old
    assert frame[list(LATER)].drop_duplicates().to_numpy().tolist() == [["identity", decay, "he"]]


def test_two_weight_decays_lie_in_two_folders_and_one_table(tmp_path):
    few = {"net": ["plain"], "blocks": [1], "seeds": [0], "results": tmp_path, **SMALL}
    both = degrade.identity(**few, weight_decay=(0.0, 1e-4))
    assert len(list((tmp_path / "identity").glob("*/trials"))) == 2
    assert sorted(both.decay.unique()) == [0.0, 1e-4]
    alone = degrade.identity(**few, weight_decay=0.0)  # one number, as in 0.1.0
    assert alone.equals(both[both.decay == 0].reset_index(drop=True))
