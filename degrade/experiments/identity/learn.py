"""Can solvers find the identity (Sec. 3.1)? A stack of blocks learns to put out what comes in, or another known map.

A solution is known for both nets and each target. For the identity it is kernels with a single 1 in a plain block,
since the input is not negative, and zeros in a residual block: there F(x) = 0 is also where weight decay pulls. For the
other targets one block computes the target and the others are the identity.
"""

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.experiments.identity.features import features, generator, target_of
from degrade.experiments.identity.stacks import stack
from degrade.experiments.identity.trial import Copied, Trial

_HELD_OUT = 256  # images, the same for every trial
POINTS = 10  # rows of a trial
_MILESTONES = (0.5, 0.75)  # of all steps, Sec. 4.2


def relative_error(given: Tensor, y: Tensor) -> float:
    """||given - y||^2 / ||y||^2 over all elements together: 0 is the target y, 1 is no better than zeros."""
    return ((given - y).double().square().sum() / y.double().square().sum()).item()


def rate(trial: Trial, iteration: int) -> float:
    """The rate of step `iteration` (from 0): it grows linearly to lr at half of the steps, then it is lr/10, lr/100.

    It is divided by 10 at half and at three quarters, as in Sec. 4.2, which has a warm-up for its deepest net. Here,
    deep residual stacks put out too much at first, and at the full rate their ReLUs die of the correction.
    """
    passed = sum(iteration >= m * trial.steps for m in _MILESTONES)
    return trial.lr * (min(1.0, (iteration + 1) / (_MILESTONES[0] * trial.steps)) if passed == 0 else 0.1**passed)


def learn(
    trial: Trial, stop: Callable[[], bool] = lambda: False, tell: Callable[[], None] = lambda: None
) -> list[Copied]:
    """Trains the stack of a trial on one CPU thread. Returns its rows: fewer than POINTS if it stopped or diverged.

    Loss: mean squared error. Each step polls `stop` and calls `tell`. A loss that is not finite ends the training with
    a row of infinite errors. On one machine, the same trial gives the same rows.
    """
    with _use_one_thread():
        net, draws, target = stack(trial), generator("train", trial.seed), target_of(trial)
        held_out = features(trial, _HELD_OUT, generator("held out"))
        wanted = target(held_out)
        mean = relative_error(wanted.mean((0, 2, 3), keepdim=True).expand_as(wanted), wanted)
        velocity = [torch.zeros_like(p) for p in net.parameters()]
        rows: list[Copied] = []
        for first, last in pairwise(trial.steps * point // POINTS for point in range(POINTS + 1)):
            running: list[float] = []
            for iteration in range(first, last):
                if stop():
                    return rows
                x = features(trial, trial.batch, draws)
                running.append(step(net, velocity, x, target(x), rate(trial, iteration), trial))
                if not math.isfinite(running[-1]):
                    return [*rows, Copied(iteration + 1, math.inf, math.inf, mean)]
                tell()
            if running:
                rows.append(Copied(last, _evaluate(net, held_out, wanted), sum(running) / len(running), mean))
        return rows


def step(net: nn.Module, velocity: Sequence[Tensor], x: Tensor, y: Tensor, lr: float, trial: Trial) -> float:
    """One SGD step on x (N, C, H, W) for the target y: v = m v + (g + wd p), p = p - lr v.

    Returns the relative error before the step.

    Equal to torch.optim.SGD to the bit, but torch.optim loads torch's compiler: 5 s of every process.
    """
    given = net(x)
    gradient = torch.autograd.grad(F.mse_loss(given, y), list(net.parameters()))
    with torch.no_grad():
        for p, v, g in zip(net.parameters(), velocity, gradient, strict=True):
            v.mul_(trial.momentum).add_(g.add(p, alpha=trial.weight_decay))
            p.sub_(v, alpha=lr)
    return relative_error(given.detach(), y)


def _evaluate(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measures the relative error in evaluation mode, with running statistics."""
    net.eval()
    with torch.inference_mode():
        error = relative_error(net(x), y)
    net.train()
    return error if math.isfinite(error) else math.inf


@contextlib.contextmanager
def _use_one_thread() -> Generator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
