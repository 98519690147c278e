import io
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import gpu, tiny

from degrade import data
from degrade.errors import SpecError
from degrade.spec.parts import SHORTCUTS
from degrade.store.folder import RunDir
from degrade.store.results import load
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit
from degrade.train.probe import probe
from degrade.train.run import run

KINDS = [(net, shortcut) for net in SHORTCUTS for shortcut in SHORTCUTS[net]]
VARIANTS = [{}, {"norm": "none"}, {"bn_group": 4}, {"batch": 17}, {"batch": 2}]


def start(spec, **options) -> Fit:
    return Fit(spec, data.load(spec.data), device=torch.device("cpu"), **options)


def bits(fit: Fit):
    """Weights, momentum, BN and all measurements except the timings."""
    state = fit.state()
    points = [(p.iteration, p.split, p.loss, p.error, p.lr, p.grad_norm) for p in fit.points]
    tensors = {**state["net"], **{f"m.{k}": v for k, v in state["momentum"].items()}, "tally": state["tally"]}
    return points, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def finish(fit: Fit, steps: int = 1000) -> Fit:
    while not fit.done:
        fit.advance(steps)
    return fit


def first_batch(spec):
    """A new net, and the batch of its first step, in float64, so that rounding explains no difference."""
    fit = start(spec)
    x, y = fit.batches.at(0)
    return fit.backend.copy().double(), x.double(), y


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
def test_a_probe_changes_no_bit_of_the_training(net, shortcut):
    spec = tiny(net=net, shortcut=shortcut)
    probed = finish(start(replace(spec, engine=replace(spec.engine, probe=3))))
    assert bits(probed) == bits(finish(start(spec)))
    assert Counter(row.iteration for row in probed.probes) == dict.fromkeys((0, 3, 6, 9), 8)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=str)
def test_nor_with_any_normalisation_or_batch(variant):
    spec = tiny(recipe=variant)
    assert bits(finish(start(tiny(recipe=variant, engine={"probe": 2})))) == bits(finish(start(spec)))


@pytest.mark.parametrize("kill", range(13))
def test_taken_up_from_any_iteration_the_rows_are_those_of_a_run_never_put_down(kill):
    spec, buffer = tiny(engine={"probe": 3}), io.BytesIO()
    first, second, whole = start(spec), start(spec), finish(start(spec))
    first.advance(kill)
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second.restore(torch.load(buffer, weights_only=True))
    assert finish(second, 2).probes == whole.probes
    assert bits(second) == bits(whole)


def test_a_checkpoint_from_before_there_were_probes_is_taken_up():
    fit, old = start(tiny(engine={"probe": 5})), start(tiny())
    old.advance(4)
    state = old.state()
    del state["probes"], state["spec"]
    fit.restore(state)
    assert finish(fit).probes == []


@pytest.mark.parametrize(("began", "asked"), [(5, 0), (0, 5), (5, 7)])
def test_a_run_keeps_the_probe_it_began_with_so_that_no_part_passes_for_the_whole(began, asked):
    old, fit = start(tiny(engine={"probe": began})), start(tiny(engine={"probe": asked}))
    old.advance(6)
    fit.restore(unpack(pack(old.state())))
    assert {row.iteration for row in finish(fit).probes} == ({0, 5, 10} if began else set())
    assert fit.spec.engine.probe == began


def test_a_run_that_has_done_no_step_has_the_probe_that_is_asked_for():
    fit = start(tiny(engine={"probe": 5}))
    fit.restore(unpack(pack(start(tiny()).state())))
    assert {row.iteration for row in finish(fit).probes} == {0, 5, 10}


@pytest.mark.parametrize(("net", "shortcut"), KINDS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_gradients_are_those_of_a_plain_backward_pass(net, shortcut, variant):
    spec = tiny(net=net, shortcut=shortcut, depth=14, recipe=variant)
    model, x, y = first_batch(spec)
    rows = probe(model, x, y)
    other, *_ = first_batch(spec)
    F.cross_entropy(other.train()(x), y).backward()
    wanted = {name: p.grad.double().norm().item() for name, p in other.named_parameters()}
    assert [row.layer for row in rows] == list(range(1, 15))
    for row in rows:
        name = "head.weight" if row.name == "head" else f"{row.name}.0.weight"
        assert row.grad_norm == pytest.approx(wanted[name], rel=1e-9), name
        assert row.weight_norm == pytest.approx(other.get_parameter(name).norm().item(), rel=1e-12)
        assert row.ratio == pytest.approx(row.grad_norm / row.weight_norm)


def test_what_is_left_of_the_gradient_of_a_step_belongs_to_bn_biases_and_projections():
    fit = start(tiny(shortcut="C", engine={"probe": 1, "backend": "eager"}))
    fit.advance(1)
    main = {f"{row.name}.0.weight" for row in fit.probes} | {"head.weight"}
    rest = sum(p.grad.norm().item() ** 2 for name, p in fit.backend.net.named_parameters() if name not in main)
    total = fit.backend.grad_norm().item() ** 2
    assert sum(row.grad_norm**2 for row in fit.probes) + rest == pytest.approx(total, rel=1e-4)
    assert rest > 0.01 * total


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_cosines_are_those_of_two_separate_backward_passes_and_std_that_of_the_responses(variant):
    spec = tiny(recipe=variant)
    model, x, y = first_batch(spec)
    rows, parts, seen, half = probe(model, x, y), [], [], len(x) // 2
    for part in (slice(half), slice(half, None)):
        net, *_ = first_batch(spec)
        net.stages[0][0].first.register_forward_hook(lambda *them: seen.append(them[-1].detach()))
        F.cross_entropy(net.train()(x)[part], y[part]).backward()
        parts.append(net.stages[0][0].first[0].weight.grad.double().flatten())
    assert rows[1].cosine == pytest.approx(F.cosine_similarity(*parts, dim=0).item(), abs=1e-9)
    assert rows[1].std == pytest.approx(seen[0].double().std(correction=0).item(), rel=1e-9)


def test_a_batch_of_two_equal_halves_has_cosine_one():
    model, x, y = first_batch(tiny(recipe={"augment": "none"}))
    rows = probe(model, torch.cat((x[:5], x[:5])), torch.cat((y[:5], y[:5])))
    assert [row.cosine for row in rows] == pytest.approx([1.0] * 8, abs=1e-9)


def test_where_a_gradient_is_0_there_is_no_cosine():
    model, x, y = first_batch(tiny())
    with torch.no_grad():
        model.head.weight.zero_()  # nothing flows back through it
    rows = probe(model, x, y)
    assert [row.grad_norm for row in rows[:-1]] == [0.0] * 7
    assert [row.cosine == row.cosine for row in rows] == [False] * 7 + [True]
    assert rows[-1].ratio != rows[-1].ratio


def test_a_batch_of_one_has_no_halves():
    assert tiny(recipe={"batch": 1}).engine.probe == 0
    with pytest.raises(SpecError, match=r"^engine\.probe=5: compares the halves of a batch; use recipe\.batch=2"):
        tiny(recipe={"batch": 1}, engine={"probe": 5})
    with pytest.raises(SpecError, match=r"^engine\.probe=-1: must be a number of iterations"):
        tiny(engine={"probe": -1})


def test_the_probe_is_no_part_of_what_a_run_is():
    assert tiny(engine={"probe": 7}).run == tiny().run


def test_the_time_of_a_probe_is_not_that_of_training(monkeypatch):
    fit = start(tiny(engine={"probe": 1}))
    spent = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: next(spent))
    fit.advance(4)
    # between two looks at the clock a second passes: 4 steps and 4 probes, and what is before the first
    assert (fit.seconds, fit._training) == (9, 5)


def table(root, spec) -> pd.DataFrame:
    return pd.read_parquet(RunDir(root, spec.run).tables["probe"])


def test_a_run_with_a_probe_leaves_a_table_and_one_without_none(tmp_path):
    spec = tiny(engine={"probe": 5})
    assert run([spec], tmp_path / "a") == {spec.run: "finished"}
    rows = load(tmp_path / "a").probe
    assert rows.groupby("iteration").layer.max().to_dict() == {0: 8, 5: 8, 10: 8}
    assert set(rows.run) == {spec.run}
    assert RunDir(tmp_path / "a", spec.run).tables["probe"].name == "probe.parquet"
    run([tiny()], tmp_path / "b")
    assert not RunDir(tmp_path / "b", spec.run).tables["probe"].exists()


@pytest.mark.parametrize("polls", [1, 4, 9, 14])
def test_an_interrupted_run_has_every_row_once(tmp_path, polls):
    spec, left = tiny(engine={"probe": 2}), iter(range(polls))
    run([spec], tmp_path / "cut", stop=lambda: next(left, None) is None)
    run([spec], tmp_path / "cut")
    run([spec], tmp_path / "whole")
    pd.testing.assert_frame_equal(table(tmp_path / "cut", spec), table(tmp_path / "whole", spec), check_exact=True)


def test_rows_after_the_last_checkpoint_go_with_a_crash(tmp_path):
    """A kill may leave this: the table is ahead of the checkpoint, or there is no checkpoint at all."""
    spec, left = tiny(engine={"probe": 2}), iter(range(6))
    run([spec], tmp_path, stop=lambda: next(left, None) is None)
    folder = RunDir(tmp_path, spec.run)
    ahead = load(tmp_path).probe
    assert len(ahead)
    for path in (folder.checkpoint, folder.previous):
        path.unlink(missing_ok=True)
    run([spec], tmp_path, stop=lambda: True)
    assert not folder.tables["probe"].exists()
    run([spec], tmp_path)
    assert table(tmp_path, spec).groupby(["iteration", "layer"]).size().eq(1).all()


@gpu
def test_a_gpu_sees_the_same_gradients_but_for_rounding():
    spec = tiny(engine={"probe": 5})
    there = Fit(spec, data.load(spec.data), device=torch.device("cuda"))
    there.advance(1)
    here = start(spec)
    here.advance(1)
    for one, other in zip(here.probes, there.probes, strict=True):
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-2)
        assert one.std == pytest.approx(other.std, rel=1e-2)
