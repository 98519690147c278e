"""The compiled kernels against the eager backend: the same steps, states and curves, whatever the shape."""

import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import with_kernels
from noise import batches

from degrade import nets
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native
from degrade.train.backends.native.structs import taps

pytestmark = with_kernels()


def pair(spec: RunSpec, **shape) -> list:
    """The eager and the native backend, from the same beginning."""
    known = {"channels": shape.get("channels", 3), "classes": shape.get("classes", 10)}
    made = []
    for kind in (Eager, Native):
        net = nets.build(spec.net, **known, bn_group=spec.recipe.bn_group)
        made.append(kind(net, spec, batches(spec, **shape)))
    return made


def stepped(spec: RunSpec, steps: int = 2, **shape) -> list:
    both = pair(spec, **shape)
    for backend in both:
        backend.lr.fill_(0.05)
        for i in range(steps):
            backend.step(i)
    return both


def assert_same(eager, native) -> None:
    """Weights, statistics, momentum and tally, each tensor by its norm.

    Most tensors agree to rounding. Not all do: a ReLU whose input is 0 but for rounding may be open in one backend and
    shut in the other.
    """
    ours, theirs = native.state(), eager.state()
    assert list(ours["net"]) == list(theirs["net"])
    pairs = {(part, k): (ours[part][k], wanted) for part in ("net", "momentum") for k, wanted in theirs[part].items()}
    off = {key: distance(*both) for key, both in pairs.items()}
    assert np.median(list(off.values())) <= 3e-4, off
    assert max(off.values()) <= 2e-2, off
    assert all(tensor.is_contiguous() for tensor, _ in pairs.values())
    assert native.tally.tolist() == pytest.approx(eager.tally.tolist(), rel=1e-4)
    assert native.grad_norm().item() == pytest.approx(eager.grad_norm().item(), rel=1e-3)


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return (found - wanted).double().norm().item() / (wanted.double().norm().item() + 1e-4)


KINDS = [("plain", "none", "after"), ("residual", "A", "after"), ("residual", "A", "split")]
KINDS += [("residual", "B", "after"), ("residual", "C", "after")]


@pytest.mark.parametrize(("net", "shortcut", "pad"), KINDS)
@pytest.mark.parametrize("width", [4, 10, 16])
def test_a_step_is_that_of_the_eager_backend(net, shortcut, pad, width):
    spec = RunSpec(net=NetSpec(net=net, shortcut=shortcut, pad=pad, depth=14, width=width), recipe=RecipeSpec(batch=32))
    assert_same(*stepped(spec))


OPTIONS = [
    {"momentum_form": "caffe"},
    {"nesterov": True},
    {"momentum_form": "caffe", "nesterov": True, "decay_scope": "conv"},
    {"augment": "none"},
    {"augment": "crop"},
    {"bn_group": 16, "batch": 48},
    {"bn_group": 16, "batch": 41},  # groups of 16, 16 and 9
    {"bn_group": 32, "batch": 65},  # the one left over joins the last
    {"bn_group": 100, "batch": 24},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_with_any_recipe(options):
    recipe = RecipeSpec(**{"batch": 32, "weight_decay": 0.01, **options})
    assert_same(*stepped(RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=recipe), steps=3))


@pytest.mark.parametrize("case", range(40))
def test_with_any_shape(case):
    """Sizes from 1 to 17 that need not be square, any number of images, channels and classes, normalised either way."""
    draw = random.Random(case)
    net, shortcut, pad = draw.choice(KINDS)
    spec = RunSpec(
        net=NetSpec(net=net, shortcut=shortcut, pad=pad, depth=8, width=draw.randint(1, 20)),
        recipe=RecipeSpec(batch=draw.randint(2, 60), augment=draw.choice(["none", "crop", "crop_flip"])),
        data=replace(RunSpec().data, normalize=draw.choice(["pixel", "channel"])),
        seed=case,
    )
    size, width = draw.randint(1, 17), draw.randint(1, 17)
    shape = {"size": size, "width": width, "channels": draw.randint(1, 5), "classes": draw.randint(1, 120)}
    assert_same(*stepped(spec, steps=1, **shape))


@pytest.mark.parametrize("count", [1, 7, 32, 33, 90])
def test_an_evaluation_is_that_of_the_eager_backend(count):
    spec = RunSpec(net=NetSpec(depth=8, shortcut="B"), recipe=RecipeSpec(batch=32))
    eager, native = stepped(spec)
    images, before = eager.batches.images, native.state()
    wanted, found = (backend.evaluate(images, 90 - count, 90).tolist() for backend in (eager, native))
    assert found == pytest.approx(wanted, rel=1e-5)
    after = native.state()
    assert all(torch.equal(after["net"][k], v) for k, v in before["net"].items())
    assert torch.equal(after["tally"], before["tally"])


def test_an_evaluation_between_two_steps_changes_no_bit():
    spec = RunSpec(net=NetSpec(depth=8), recipe=RecipeSpec(batch=20))
    one, other = pair(spec)[1], pair(spec)[1]
    for i in range(3):
        one.step(i)
        other.step(i)
        other.evaluate(other.batches.images, 0, 33)
    assert all(torch.equal(one.state()["net"][k], v) for k, v in other.state()["net"].items())


@pytest.mark.parametrize("precision", [pytest.param(p, marks=with_kernels(p)) for p in ("fp32", "bf16")])
def test_the_number_of_threads_changes_no_bit(precision):
    spec = RunSpec(net=NetSpec(depth=8), recipe=RecipeSpec(batch=100), engine=EngineSpec(precision=precision))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7, 1):
            torch.set_num_threads(threads)
            native = pair(spec, size=12)[1]
            native.lr.fill_(0.1)
            for i in range(4):
                native.step(i)
            found.append([v.numpy().tobytes() for v in native.state()["net"].values()])
    finally:
        torch.set_num_threads(before)
    assert all(each == found[0] for each in found)


def test_a_state_of_one_backend_is_taken_up_by_the_other():
    spec = RunSpec(net=NetSpec(depth=8, shortcut="C", width=6), recipe=RecipeSpec(batch=20))
    eager, native = stepped(spec)
    fresh = pair(spec)
    fresh[0].restore(native.state())
    fresh[1].restore(eager.state())
    for backend in (*fresh, eager, native):
        backend.lr.fill_(0.05)
        backend.step(2)
    assert_same(fresh[0], native)
    assert_same(eager, fresh[1])


@with_kernels("bf16")
def test_bfloat16_is_as_far_from_float32_as_torchs():
    """Compares one step's gradient. Both round activations to 8 bits at every layer."""
    far = {}
    for precision in ("fp32", "bf16"):
        spec = RunSpec(net=NetSpec(depth=20), recipe=RecipeSpec(batch=64), engine=EngineSpec(precision=precision))
        for name, backend in zip(("eager", "native"), stepped(spec, steps=1, size=16), strict=True):
            far[precision, name] = torch.cat([v.flatten() for v in backend.state()["momentum"].values()])
    exact = far["fp32", "eager"]
    off = {name: ((far["bf16", name] - exact).norm() / exact.norm()).item() for name in ("eager", "native")}
    assert 0.5 * off["eager"] < off["native"] < 2 * off["eager"]
    assert off["native"] < 0.5


@pytest.mark.parametrize(
    ("source", "side", "stride"), [(8, 3, 1), (8, 3, 2), (7, 3, 2), (1, 3, 2), (5, 1, 2), (4, 1, 1)]
)
def test_the_way_back_has_the_same_pairs_as_the_way_forward(source, side, stride):
    def pairs(table, *, backward):
        met = [(o, row.at[i], row.tap[i]) for o, row in enumerate(table) for i in range(row.count)]
        return sorted((i, o, tap) if backward else (o, i, tap) for o, i, tap in met)

    there, back = taps(source, side, stride), taps(source, side, stride, backward=True)
    assert len(there) == -(-source // stride)
    assert len(back) == source
    assert pairs(there, backward=False) == pairs(back, backward=True)
    assert all(i == o * stride + tap - side // 2 for o, i, tap in pairs(there, backward=False))


def test_after_a_diverged_step_a_good_state_is_as_good_as_in_a_new_backend():
    """NaN in the places of missing images must not stay."""
    spec = RunSpec(net=NetSpec(depth=8), recipe=RecipeSpec(batch=20))
    used, fresh = pair(spec)[1], pair(spec)[1]
    used.step(0)
    good = used.state()
    used.lr.fill_(1e30)
    for i in range(1, 5):
        used.step(i)
    assert not all(v.isfinite().all() for v in used.state()["net"].values())
    for backend in (used, fresh):
        backend.restore(good)
        backend.lr.fill_(0.05)
        backend.step(1)
        backend.step(2)
    assert all(torch.equal(used.state()["net"][k], v) for k, v in fresh.state()["net"].items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    before, native = torch.get_num_threads(), pair(RunSpec(recipe=RecipeSpec(batch=64)))[1]
    torch.set_num_threads(2)
    try:
        native.step(0)
        child = os.fork()
        if child == 0:
            native.evaluate(native.batches.images, 0, 64)
            os._exit(0)
        for _ in range(200):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0
                return
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("it hangs")
    finally:
        torch.set_num_threads(before)
