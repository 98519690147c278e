"""A Fit from its start to its end, at once or in parts, and the bits that must be equal."""

import io
from dataclasses import asdict

import torch

from degrade import data
from degrade.spec import RunSpec
from degrade.spec.rows import TIMINGS
from degrade.train.fit import Fit


def start(spec: RunSpec, **options) -> Fit:
    return Fit(spec, data.load(spec.data), device=torch.device("cpu"), **options)


def finish(fit: Fit, steps: int = 1000) -> Fit:
    while not fit.done:
        fit.advance(steps)
    return fit


def bits(fit: Fit):
    """All that must be equal: weights, momentum, BN and every column but the timings."""
    rows = [{k: v for k, v in asdict(p).items() if k not in TIMINGS} for p in fit.points]
    tensors = {**fit.state()["net"], **{f"m.{k}": v for k, v in fit.state()["momentum"].items()}}
    return rows, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def taken_up(spec: RunSpec, kill: int) -> Fit:
    """Trained to iteration `kill`, then from its saved state in a new Fit to the end."""
    first, second, buffer = start(spec), start(spec), io.BytesIO()
    first.advance(kill)
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second.restore(torch.load(buffer, weights_only=True))
    return finish(second)
