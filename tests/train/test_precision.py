"""fp32, tf32, bf16: the precision is part of what a run is."""

import math

import pytest
import torch
from conftest import tiny

from degrade import data
from degrade.errors import SpecError
from degrade.train.fit import Fit

CPU = torch.device("cpu")


def losses(precision, net="residual"):
    spec = tiny(net=net, recipe={"eval_every": 2}, engine={"precision": precision, "backend": "eager"})
    fit = Fit(spec, data.load(spec.data), device=CPU)
    fit.advance(100)
    assert {p.dtype for p in fit.backend.state()["net"].values()} == {torch.float32, torch.int64}
    assert {p.dtype for p in fit.backend.state()["momentum"].values()} == {torch.float32}
    return [p.loss for p in fit.points if p.split == "train_clean"]


def test_each_precision_is_a_run_a_group_and_a_protocol_of_its_own():
    specs = [tiny(engine={"precision": precision}) for precision in ("fp32", "tf32", "bf16")]
    for names in ({s.run for s in specs}, {s.group for s in specs}, {s.protocol for s in specs}):
        assert len(names) == 3
    assert tiny().run == specs[0].run


def test_tf32_on_a_cpu_is_one_line():
    spec = tiny(engine={"precision": "tf32"})
    with pytest.raises(SpecError, match=r"engine\.precision=tf32: needs a CUDA device.*use fp32 or bf16"):
        Fit(spec, data.load(spec.data), device=CPU)


@pytest.mark.parametrize("net", ["plain", "residual"])
def test_bf16_begins_as_fp32_does_and_stays_finite(net):
    exact, rough = losses("fp32", net), losses("bf16", net)
    assert exact != rough
    assert rough[0] == pytest.approx(exact[0], rel=0.02)
    assert all(map(math.isfinite, rough))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_on_a_gpu_each_precision_begins_as_fp32_does(precision):
    def first(kind):
        spec = tiny(recipe={"iterations": 2, "eval_every": 2}, engine={"precision": kind})
        fit = Fit(spec, data.load(spec.data), device=torch.device("cuda"))
        fit.advance(2)
        return fit.points[0].loss

    assert first(precision) == pytest.approx(first("fp32"), rel=0.02)
