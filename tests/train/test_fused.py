"""The fused step against float64, in Triton's interpreter; and that its kernels compile for GPUs, which needs none."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch
from conftest import gpu, tiny
from places import ROOT

from degrade import data, nets
from degrade.errors import SpecError, UnavailableError
from degrade.nets.blocks import Plain
from degrade.spec import NetSpec
from degrade.train.backends import contact, fused
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="the fused step needs Triton")
CPU = torch.device("cpu")
# How far a quantity may be from float64, of what is rounded to 24 and to 8 bits of mantissa. With a mean of 33 standard
# deviations, x itself is known to 33 * 2^-24.
BOUNDS = {"float32": 3e-5, "bfloat16": 6e-3}
STEPS = ("plain-8", "plain-20", "residual-A-8", "residual-A-20", "residual-B-8", "residual-C-8", "highway-B-8")


class Interpreted(NamedTuple):
    """What tests/interpreted.py printed."""

    distances: Mapping[str, Mapping[str, float]]
    told: Mapping[str, bool]
    mistakes: Mapping[str, str]


@pytest.fixture(scope="module")
def interpreted() -> Interpreted:
    words = [sys.executable, str(ROOT / "tests" / "interpreted.py")]
    there = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return Interpreted(**json.loads(subprocess.check_output(words, text=True, env=there)))


@needs_triton
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("form", ["nchw", "nhwc"])
def test_the_operator_and_its_gradient_are_right(interpreted, dtype, form):
    cases = {name: case for name, case in interpreted.distances.items() if f"{form} torch.{dtype}" in name}
    assert len(cases) == 12
    for name, case in cases.items():
        assert len(case) == 6 + ("add" in name)
        assert all(far < BOUNDS[dtype] for far in case.values()), (name, case)


@needs_triton
@pytest.mark.parametrize("name", [*STEPS, "in sub-batches"])
def test_a_whole_step_and_an_evaluation_after_it_are_right(interpreted, name):
    (case,) = (case for key, case in interpreted.distances.items() if key.startswith(f"step {name} "))
    assert len(case) == 7
    assert all(far < 3e-5 for far in case.values()), case
    assert case["counts"] == 0


@needs_triton
def test_in_bf16_a_step_is_about_as_far_from_float64_as_torch(interpreted):
    """The interpreter cuts bfloat16 off where a GPU rounds: twice the error, and all of it towards 0."""
    ours, torchs = (interpreted.distances[f"bf16 {kind}"] for kind in ("fused", "eager"))
    for key, far in ours.items():
        assert far <= 5 * torchs[key], (key, far, torchs[key])
    assert ours["momentum"] > 1e-3  # it was bf16


@needs_triton
@pytest.mark.parametrize(
    "what", ["taken up", "in the other layout", "not torch", "backend", "kernels", "one value", "counts"]
)
def test_a_run_keeps_its_backend_layout_and_kernels(interpreted, what):
    assert interpreted.told[what]


@needs_triton
def test_what_is_compared_before_a_run_is_right_and_shows_mistakes(interpreted):
    assert interpreted.mistakes[""] == ""
    assert "statistics, running_mean" in interpreted.mistakes["averages"]
    assert "loss, training" in interpreted.mistakes["relu"]
    assert "gradient" in interpreted.mistakes["gradient"]


@needs_triton
@pytest.mark.parametrize("net", [*(f"{net}-{s}" for net in ("residual", "highway") for s in "ABC"), "plain-none"])
@pytest.mark.parametrize("group", [None, 4])
def test_nets_of_the_table_are_fused(net, group):
    kind, shortcut = net.split("-")
    made = nets.build(NetSpec(net=kind, shortcut=shortcut, depth=8), channels=3, classes=4, bn_group=group)
    assert fused.find_unsuited(tiny(), made) == ""


class Other(Plain):
    """A block that a newcomer added."""


@needs_triton
def test_what_is_not_fused_is_refused_and_says_why(monkeypatch):
    monkeypatch.setitem(nets.NETS, "plain", Other)
    made = nets.build(NetSpec(net="plain", depth=8), channels=3, classes=4)
    assert fused.find_unsuited(tiny(), made) == "there is none of Other blocks"
    monkeypatch.undo()
    made = nets.build(NetSpec(depth=8), channels=3, classes=4, norm="none")
    assert "recipe.norm=batch" in fused.find_unsuited(tiny(), made)
    made = nets.build(NetSpec(depth=8), channels=3, classes=4)
    assert "engine.recompute" in fused.find_unsuited(tiny(engine={"recompute": True}), made)


def test_without_triton_it_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "degrade.train.backends.fused.walk", None)
    with pytest.raises(UnavailableError, match=r"Triton cannot be loaded \(.*\); torch's builds for CUDA"):
        fused.Fused(torch.nn.Identity(), tiny(), None)  # type: ignore[arg-type]


@needs_triton
def test_asked_for_without_a_gpu_it_is_one_line():
    spec = tiny(engine={"backend": "fused"})
    with pytest.raises(SpecError, match=r"engine\.backend=fused: a graph needs a CUDA device.*backend=auto"):
        Fit(spec, data.load(spec.data), device=CPU)


def test_it_cannot_recompute():
    with pytest.raises(SpecError, match=r"engine\.backend=fused cannot recompute; use engine\.backend=auto or eager"):
        tiny(engine={"backend": "fused", "recompute": True})


@gpu
@needs_triton
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_on_a_gpu_the_fused_step_is_right(precision):
    contact._demand_right(precision, torch.device("cuda", 0))


@gpu
@needs_triton
def test_on_a_gpu_a_fused_run_taken_up_ends_with_the_same_bits():
    spec = tiny(engine={"backend": "fused"})
    whole, first, second = (Fit(spec, data.load(spec.data), device=torch.device("cuda", 0)) for _ in range(3))
    whole.advance(1000)
    first.advance(7)
    second.restore(unpack(pack(first.state())))
    second.advance(1000)
    for one, other in ((whole.state()[part], second.state()[part]) for part in ("net", "momentum")):
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert [(p.loss, p.error) for p in whole.points] == [(p.loss, p.error) for p in second.points]


COMPILED = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from degrade.train.backends.fused import kernels

capability, wide, last = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "nhwc"
strides = {"sn": 64 * wide, "sc": 1 if last else 64, "sp": wide if last else 1}
constants = {"block": 4096 // wide, "wide": wide, "programs": 128, "adds": True, "relu": True, **strides}
for kernel in (kernels.moments, kernels.normalise, kernels.slopes, kernels.differentiate):
    kinds = {"n": "i32", "c": "i32", "pixels": "i32", "eps": "fp32", "momentum": "fp32"}
    picture = "*bf16" if sys.argv[4] == "bf16" else "*fp32"
    signature = {
        name: "constexpr" if name in constants else kinds.get(name, picture if name in PICTURES else "*fp32")
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, {k: v for k, v in constants.items() if k in kernel.arg_names})
    options = {"num_warps": 8, "enable_fp_fusion": False}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    print(kernel.__name__, len(made.asm["cubin"]))
"""


@needs_triton
@pytest.mark.parametrize(
    ("capability", "wide", "form", "precision"),
    [(80, 16, "nhwc", "fp32"), (90, 64, "nchw", "bf16")],
)
def test_kernels_compile_for_gpus(tmp_path, capability, wide, form, precision):
    """The interpreter accepts what the compiler refuses: a name that changes its shape in a loop."""
    source = COMPILED.replace("PICTURES", repr(("x", "y", "add", "dy", "dx", "dadd")))
    there = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", source, str(capability), str(wide), form, precision]
    said = subprocess.run(words, capture_output=True, text=True, env=there, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.split()[::2] == ["moments", "normalise", "slopes", "differentiate"]
