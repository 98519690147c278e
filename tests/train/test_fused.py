"""The fused step against float64, in Triton's interpreter; and that its kernels compile for GPUs, which needs none."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from degrade import nets
from degrade.errors import UnavailableError
from degrade.spec import NetSpec

pytest.importorskip("triton", reason="the fused step needs Triton")

# How far a quantity may be from float64, of what is rounded to 24 and to 8 bits of mantissa. With a mean of 33 standard
# deviations, x itself is known to 33 * 2^-24.
BOUNDS = {"float32": 3e-5, "bfloat16": 6e-3}


@pytest.fixture(scope="module")
def distances() -> Mapping[str, Mapping[str, float]]:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    script = str(Path(__file__).with_name("interpreted.py"))
    return json.loads(subprocess.check_output([sys.executable, script], text=True, env=environment))


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("form", ["nchw", "nhwc"])
def test_the_operator_and_its_gradient_are_right(distances, dtype, form):
    cases = {name: case for name, case in distances.items() if f"{form} torch.{dtype}" in name}
    assert len(cases) == 12
    for name, case in cases.items():
        assert len(case) == 6 + ("add" in name)
        assert all(far < BOUNDS[dtype] for far in case.values()), (name, case)


def test_the_net_and_its_gradient_are_right(distances):
    cases = {name: case for name, case in distances.items() if name.startswith("net ")}
    assert len(cases) == 4
    for name, case in cases.items():
        assert all(far < 2e-5 for far in case.values()), (name, case)


@pytest.mark.parametrize("how", [{"norm": "none"}, {"bn_group": 4}])
def test_nets_with_layers_that_are_not_fused_are_refused(how):
    from degrade.train.backends.fused.walk import demand_fusible

    demand_fusible(nets.build(NetSpec(depth=8), channels=3, classes=4))
    with pytest.raises(UnavailableError, match="batch norm over the whole batch"):
        demand_fusible(nets.build(NetSpec(depth=8), channels=3, classes=4, **how))


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


@pytest.mark.parametrize(
    ("capability", "wide", "form", "precision"),
    [(80, 16, "nhwc", "fp32"), (90, 64, "nchw", "bf16")],
)
def test_kernels_compile_for_gpus(tmp_path, capability, wide, form, precision):
    """The interpreter accepts what the compiler refuses: a name that changes its shape in a loop."""
    source = COMPILED.replace("PICTURES", repr(("x", "y", "add", "dy", "dx", "dadd")))
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    words = [sys.executable, "-c", source, str(capability), str(wide), form, precision]
    said = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.split()[::2] == ["moments", "normalise", "slopes", "differentiate"]
