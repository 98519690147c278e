"""fp32, tf32, bf16: the precision is part of what a run is."""

import math

import pytest
import torch
from conftest import gpu, tiny

from degrade import data
from degrade.bench.cases import noise
from degrade.data.images import Splits
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


def test_a_run_settles_what_float32_means_and_which_algorithms_may_be_taken():
    flags = (torch.backends.cudnn, torch.backends.cuda.matmul)
    flags[0].allow_tf32 = flags[1].allow_tf32 = True
    data_ = data.load(tiny().data)
    Fit(tiny(), data_, device=CPU)
    assert not flags[0].allow_tf32
    assert not flags[1].allow_tf32
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
    Fit(tiny(engine={"deterministic": False}), data_, device=CPU)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (False, True)
    Fit(tiny(), data_, device=CPU)


@pytest.mark.parametrize("measure", ["evaluate", "responses"])
def test_a_net_is_measured_in_the_precision_it_was_trained_in(measure, tmp_path, monkeypatch):
    """On a GPU an fp32 run was evaluated in TF32, if anything before had asked for that."""
    from degrade.experiments import evaluate, responses
    from degrade.experiments.trained import open_net
    from degrade.store.folder import RunDir
    from degrade.train.run import run

    run([tiny()], tmp_path)
    net = open_net(RunDir(tmp_path, tiny().run).path)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    if measure == "evaluate":
        evaluate.evaluate(net)
    else:
        responses.responses([net])
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def first_loss(kind, device):
    images = noise(256, 3, 32)
    spec = tiny(depth=20, width=16, recipe={"batch": 128}, engine={"precision": kind, "backend": "eager"})
    fit = Fit(spec, Splits(images, images, None), device=device)
    fit.advance(1)
    return fit.backend.tally[0].item()


@gpu
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_on_a_gpu_each_precision_begins_as_fp32_does_and_is_another(precision):
    exact, rough = (first_loss(kind, torch.device("cuda")) for kind in ("fp32", precision))
    assert rough == pytest.approx(exact, rel=0.02)
    assert rough != exact
