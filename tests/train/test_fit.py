import json

import pytest
import torch
from conftest import ON_CPU, gpu, tiny
from fitting import bits, finish, start, taken_up
from places import GOLDEN

from degrade import data
from degrade.errors import RunError, SpecError
from degrade.spec.parts import SHORTCUTS
from degrade.train.fit import Fit
from degrade.train.processor import pick_device

LOSSES = GOLDEN / "losses.json"


@pytest.mark.parametrize("net", SHORTCUTS)
@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_trained_in_parts_equals_trained_at_once(net, backend):
    spec = tiny(net=net, shortcut=SHORTCUTS[net][-1], engine={"backend": backend})
    assert bits(finish(start(spec), 1)) == bits(finish(start(spec)))


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("kill", range(13))
def test_taken_up_from_any_iteration_equals_never_put_down(kill, backend):
    spec = tiny(engine={"backend": backend})
    assert bits(taken_up(spec, kill)) == bits(finish(start(spec)))


OPTIONS = [
    {"momentum_form": "caffe"},
    {"nesterov": True},
    {"momentum_form": "caffe", "nesterov": True},
    {"decay_scope": "conv"},
    {"warmup": "on", "warmup_window": 3, "warmup_cap": 8},
    {"warmup": "on", "warmup_window": 0.25, "warmup_cap": 0.6},
    {"norm": "none"},
    {"bn_group": 8},
    {"bn_group": 16, "batch": 40},
    {"precise_bn": True},
    {"init": "xavier"},
    {"augment": "none"},
]


@pytest.mark.parametrize("backend", ["eager", "auto"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_changes_the_curve_its_name_and_survives_being_put_down(options, backend):
    spec = tiny(recipe=options, engine={"backend": backend})
    whole = bits(finish(start(spec)))
    for kill in (1, 5, 7, 11, 12):
        assert bits(taken_up(spec, kill)) == whole
    assert whole != bits(finish(start(tiny(engine={"backend": backend}))))
    assert spec.run != tiny().run


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("scope", ["all", "conv"])
def test_weight_decay_reaches_what_its_scope_says(scope, backend):
    """Momentum after one step is the gradient plus the decay term."""

    def moved(decay):
        recipe = {"decay_scope": scope, "weight_decay": decay, "momentum": 0.0, "init": "he"}
        fit = start(tiny(recipe=recipe, engine={"backend": backend}))
        before = fit.state()["net"]
        fit.advance(1)
        return before, fit.state()["momentum"]

    before, bare = moved(0.0)
    _, decayed = moved(0.5)
    for name, gradient in bare.items():
        part = 0.5 if scope == "all" or gradient.ndim == 4 else 0.0
        assert torch.allclose(decayed[name] - gradient, part * before[name], atol=1e-6), name


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("nesterov", [False, True])
def test_caffes_momentum_is_torchs_while_the_rate_stays_and_another_after_it_falls(nesterov, backend):
    def run(form, steps):
        recipe = {"momentum_form": form, "nesterov": nesterov, "augment": "none", "init": "small"}
        fit = start(tiny(recipe=recipe, engine={"backend": backend}))
        fit.advance(steps)
        return torch.cat([p.flatten() for p in fit.backend.copy().parameters()])

    assert torch.allclose(run("torch", 3), run("caffe", 3), atol=1e-4)
    assert not torch.allclose(run("torch", 9), run("caffe", 9), atol=1e-4)  # the rate falls at 6


def test_the_warm_up_ends_once_the_net_has_started_or_at_its_cap():
    soon = finish(start(tiny(recipe={"warmup": "on", "warmup_window": 2, "warmup_error": 100.0})))
    assert (soon.warmup.until, soon.warmup.why) == (2, "error")
    late = finish(start(tiny(recipe={"warmup": "on", "warmup_window": 2, "warmup_error": 0.1, "warmup_cap": 7})))
    assert (late.warmup.until, late.warmup.why) == (7, "cap")
    assert [p.lr for p in late.points if p.split == "test"] == [0.005, 0.0005, 0.0005]


def test_a_warm_up_in_fractions_is_that_in_iterations():
    whole = {"warmup": "on", "warmup_error": 0.1}
    counted = finish(start(tiny(recipe={**whole, "warmup_window": 3, "warmup_cap": 8})))
    shared = finish(start(tiny(recipe={**whole, "warmup_window": 0.25, "warmup_cap": 0.6})))  # of 12
    assert (shared.warmup.until, shared.warmup.why) == (8, "cap")
    assert bits(shared) == bits(counted)


def test_precise_statistics_are_averages_over_the_training_set():
    for options in ({"batch": 100}, {"batch": 96}, {"batch": 99}, {"batch": 50, "bn_group": 7}):  # 1 or 4 or 2 remain
        fit = finish(start(tiny(recipe={"precise_bn": True, **options})))
        net, (x, _) = fit.backend.copy(), fit.train.clean(slice(None))
        with torch.no_grad():
            stem = net.stem[0](x)
        assert torch.allclose(net.stem[1].running_mean, stem.mean((0, 2, 3)), atol=1e-5), options
        assert net.stem[1].num_batches_tracked == (
            12 if "bn_group" not in options else 12 * 7
        )  # 49 in sevens, and the last takes the one left over
        if options == {"batch": 100}:
            assert torch.allclose(net.stem[1].running_var, stem.var((0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("polls", range(1, 14))
def test_averaging_that_is_cut_short_is_done_again(polls):
    spec = tiny(recipe={"precise_bn": True, "iterations": 3, "eval_every": 3})
    calls = iter([False] * polls)
    cut, again = start(spec, stop=lambda: next(calls, True)), start(spec)
    cut.advance(100)
    again.restore(cut.state())
    assert bits(finish(again)) == bits(finish(start(spec)))


def test_a_validation_set_is_a_split_of_its_own():
    fit = finish(start(tiny(data={"validation": 20})))
    assert {p.n for p in fit.points if p.split == "val"} == {20}
    assert tiny(data={"validation": 20}).run != tiny().run


def test_an_evaluation_cut_short_is_done_again():
    calls = iter([False] * 5 + [True] * 3)  # five steps, then in the middle of the first evaluation
    cut = start(tiny(), stop=lambda: next(calls, False))
    assert cut.advance(100) == []
    assert cut.iteration == 5
    again = start(tiny())
    again.restore(cut.state())
    assert bits(finish(again)) == bits(finish(start(tiny())))


def test_stop_is_polled_at_every_step():
    left = iter([False] * 3)
    fit = start(tiny(), stop=lambda: next(left, True))
    fit.advance(100)
    assert fit.iteration == 3


def test_points_have_all_splits_at_each_due_iteration():
    fit = finish(start(tiny()))
    assert [(p.iteration, p.split) for p in fit.points] == [
        (i, split) for i in (5, 10, 12) for split in ("train", "train_clean", "test")
    ]
    assert [p.n for p in fit.points if p.split == "train"] == [80, 80, 32]  # images since the last point
    assert {p.n for p in fit.points if p.split == "train_clean"} == {100}
    assert {p.n for p in fit.points if p.split == "test"} == {50}
    assert [p.lr for p in fit.points if p.split == "test"] == [
        0.05,
        0.05 / 100,
        0.05 / 100,
    ]  # milestones at 6 and 9 of 12
    assert fit.points[0].epoch == 5 * 16 / 100


def test_clean_errors_are_on_few_fixed_images_until_the_end_takes_all():
    fit = finish(start(tiny(recipe={"clean_images": 30})))
    assert [p.n for p in fit.points if p.split == "train_clean"] == [30, 30, 100]


@pytest.mark.parametrize("backend", ON_CPU)
def test_measured_errors_are_those_of_the_net(backend):
    fit = finish(start(tiny(engine={"backend": backend})))
    net, (train, *_) = fit.backend.copy().eval(), data.load(fit.spec.data)
    with torch.no_grad():
        logits = net(fit.train.clean(slice(None))[0])
    wrong = (logits.argmax(1) != torch.from_numpy(train.labels)).sum().item()
    assert next(p.error for p in fit.points[::-1] if p.split == "train_clean") == wrong


@pytest.mark.parametrize("backend", ON_CPU)
def test_a_step_is_that_of_torch_sgd(backend):
    fit, reference = start(tiny(engine={"backend": backend})), start(tiny()).backend.copy().train()
    optimiser = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for i in range(4):
        x, y = fit.batches.at(i)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(reference(x), y).backward()
        optimiser.step()
    fit.advance(4)
    for (name, ours), theirs in zip(fit.backend.copy().named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5), name


def test_an_enormous_rate_ends_as_diverged_with_its_points_kept():
    fit = finish(start(tiny(net="plain", recipe={"lr": 1e9, "iterations": 100})))
    assert fit.outcome == "diverged"
    assert fit.iteration < 100
    assert {p.split for p in fit.points} == {"train", "train_clean", "test"}
    assert fit.advance(10) == []


def test_a_net_at_chance_after_a_tenth_of_the_schedule_is_flagged():
    assert finish(start(tiny(recipe={"lr": 0.0}))).outcome == "not started"
    assert finish(start(tiny(recipe={"iterations": 60}))).outcome == ""


@pytest.mark.parametrize("backend", ON_CPU)
def test_from_one_seed_the_same_losses_as_when_this_was_written(backend):
    """Guards the numerics; across backends, processors and torch versions a few steps agree to a percent."""
    fit = finish(start(tiny(depth=14, recipe={"iterations": 20}, engine={"backend": backend})))
    losses = [p.loss for p in fit.points]
    assert losses == pytest.approx(json.loads(LOSSES.read_text()), rel=0.02)


def test_a_checkpoint_of_another_run_or_a_newer_format_is_refused():
    state = start(tiny()).state()
    with pytest.raises(RunError, match="different runs"):
        start(tiny(seed=1)).restore(state)
    with pytest.raises(RunError, match="newer degrade"):
        start(tiny()).restore({**state, "format": 99})


def test_threads_are_chosen_once():
    first = start(tiny(engine={"threads": 2}))
    second = start(tiny(engine={"threads": 1}))
    second.restore(first.state())
    assert second.threads == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_in_vain_is_one_line():
    with pytest.raises(SpecError, match=r"engine\.device=cuda: no CUDA device"):
        pick_device("cuda")


@gpu
@pytest.mark.parametrize("name", ["eager", "graph"])
def test_a_gpu_starts_on_the_same_curve(name):
    spec = tiny(engine={"backend": name})
    there = finish(Fit(spec, data.load(spec.data), device=torch.device("cuda")))
    here = finish(start(tiny()))
    assert [p.loss for p in there.points[:3]] == pytest.approx([p.loss for p in here.points[:3]], rel=0.02)
