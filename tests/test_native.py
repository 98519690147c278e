"""The compiled kernels against the eager backend: the same steps, states and curves, whatever the shape."""

import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import missing, tiny, with_kernels

from degrade import data, nets
from degrade.data.batches import Batches, Resident, scale_of
from degrade.data.images import Images
from degrade.errors import SpecError, UnavailableError
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.train.backends import choose
from degrade.train.backends.eager import Eager
from degrade.train.backends.native import Native, build, check
from degrade.train.backends.native.structs import taps
from degrade.train.fit import Fit

pytestmark = with_kernels()


def batches(spec: RunSpec, *, size: int = 8, channels: int = 3, classes: int = 10, width: int | None = None) -> Batches:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (90, channels, size, width or size), dtype=np.uint8)
    images = Images(pixels, draw.integers(0, classes, 90), tuple(map(str, range(classes))))
    resident = Resident(images, scale_of(images, spec.data.normalize), torch.device("cpu"))
    return Batches(resident, batch=spec.recipe.batch, seed=spec.seed, augment=spec.recipe.augment)


def pair(spec: RunSpec, **shape) -> list:
    """The eager backend and the native one at the same beginning."""
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

    Most agree to rounding; not all, since a ReLU whose input is 0 but for rounding may be open in one backend and
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
    """One step's gradient; activations are rounded to 8 bits at every layer, in the one as in the other."""
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


UNSUITED = [
    ({"net": "highway"}, "net=highway"),
    ({"recipe": {"norm": "none"}}, r"recipe\.norm=none"),
    ({"recipe": {"bn_group": 9}}, r"recipe\.bn_group=9"),
    ({"recipe": {"batch": 1}}, r"recipe\.batch=1"),
    ({"engine": {"precision": "tf32"}}, "fp32 and bf16"),
]


@pytest.mark.parametrize(("changes", "reason"), UNSUITED, ids=str)
def test_what_has_no_kernels_says_so_and_is_trained_by_torch(changes, reason):
    spec = tiny(**changes)
    net = nets.build(spec.net, channels=1, classes=10, norm=spec.recipe.norm, bn_group=spec.recipe.bn_group)
    with pytest.raises(SpecError, match=rf"engine\.backend=native: .*{reason}.*; use engine\.backend=auto"):
        choose("native", net, spec, batches(spec, channels=1))
    chosen = choose("auto", net, spec, batches(spec, channels=1))
    assert (chosen.name, type(chosen.backend)) == ("eager", Eager)
    assert chosen.why


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A cache of its own, and no memory of what was found before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.library.cache_clear()
    yield tmp_path / "cache" / "degrade" / "kernels"
    build.library.cache_clear()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "echo nothing made by", 'gcc "', "/dev/null"])
def test_without_a_compiler_that_works_torch_trains(compiler, elsewhere, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    fit = Fit(tiny(), data.load(tiny().data), device=torch.device("cpu"))
    assert fit.backend_name == "eager"
    assert fit.backend_why.startswith("no kernels: ")
    fit.advance(5)
    assert fit.points


def test_kernels_are_built_once(elsewhere):
    build.library("fp32")
    made = [(path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.so")]
    build.library.cache_clear()
    build.library("fp32")
    assert [(path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.so")] == made
    assert len(made) == 1
    assert not [path for path in elsewhere.iterdir() if path.suffix == ".tmp"]


def test_where_the_cache_cannot_be_written_they_are_built_elsewhere(tmp_path, elsewhere, monkeypatch):
    elsewhere.parent.parent.mkdir()
    elsewhere.parent.write_text("a file where a folder should be")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build.library("fp32")
    assert list(tmp_path.glob("degrade-*/*.so"))


@pytest.mark.parametrize("theirs", ["folder", "file", "writable", "link"])
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_others_could_have_put_there_is_not_run(tmp_path, elsewhere, monkeypatch, theirs):
    elsewhere.parent.parent.mkdir()
    elsewhere.parent.write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build.library("fp32")
    build.library.cache_clear()
    (planted,) = tmp_path.glob("degrade-*/*.so")
    if theirs == "writable":
        planted.parent.chmod(0o777)
    elif theirs == "link":
        planted.rename(tmp_path / "elsewhere.so")
        planted.symlink_to(tmp_path / "elsewhere.so")
    else:
        os.chown(planted if theirs == "file" else planted.parent, 12345, -1)
    with pytest.raises(UnavailableError, match="belongs to somebody else, or others can write to it"):
        build.library("fp32")


def test_without_a_home_they_are_built_elsewhere(tmp_path, elsewhere, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(build, "user_cache", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build.library("fp32")
    assert list(tmp_path.glob("degrade-*/*.so"))


def test_an_empty_cc_is_none(elsewhere, monkeypatch):
    monkeypatch.setenv("CC", " ")
    build.library("fp32")


def test_after_a_diverged_step_a_good_state_is_as_good_as_in_a_new_backend():
    """NaN in the places of images that are not there must not stay."""
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


def test_kernels_that_are_wrong_or_slow_are_not_used(elsewhere, monkeypatch):
    asked = []
    for answer, reason in (((0.1, 2.0), "off"), ((float("nan"), 2.0), "off"), ((1e-6, 0.5), "slower")):
        monkeypatch.setattr(check, "measured", lambda precision, answer=answer: asked.append(precision) or answer)
        for _ in range(2):  # it may have been the load of a moment
            with pytest.raises(UnavailableError, match=reason):
                check.worthwhile(RunSpec())
    monkeypatch.setattr(check, "measured", lambda precision: asked.append(precision) or (1e-6, 2.0))
    for _ in range(2):  # the second time it is known
        check.worthwhile(RunSpec())
    assert len(asked) == 7


@pytest.mark.parametrize("changes", [{"width": 256}, {"recipe": {"batch": 4}}], ids=str)
def test_where_torch_is_faster_auto_takes_it_and_native_can_be_had(changes):
    spec = tiny(**changes)
    made = [nets.build(spec.net, channels=1, classes=10) for _ in range(2)]
    assert choose("auto", made[0], spec, batches(spec, channels=1)).name == "eager"
    assert choose("native", made[1], spec, batches(spec, channels=1)).name == "native"


@pytest.mark.parametrize("precision", [pytest.param(p, marks=with_kernels(p)) for p in ("fp32", "bf16")])
def test_the_check_of_this_machine_finds_them_right(precision):
    assert check.measured(precision)[0] <= check.FAR[precision]


def test_a_run_says_what_trained_it_and_keeps_it(tmp_path):
    assert not missing("fp32")
    first = Fit(tiny(engine={"backend": "native"}), data.load(tiny().data), device=torch.device("cpu"))
    second = Fit(tiny(engine={"backend": "eager"}), data.load(tiny().data), device=torch.device("cpu"))
    second.restore(first.state())
    assert (first.backend_name, second.backend_name) == ("native", "native")


def test_a_run_that_began_with_kernels_is_not_taken_up_without(monkeypatch):
    state = Fit(tiny(engine={"backend": "native"}), data.load(tiny().data), device=torch.device("cpu")).state()
    build.library.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    fit = Fit(tiny(), data.load(tiny().data), device=torch.device("cpu"))
    with pytest.raises(SpecError, match=r"began with another backend: engine\.backend=native: no C compiler .*; go on"):
        fit.restore(state)
    build.library.cache_clear()
