"""Can solvers find the identity (Sec. 3.1)? A stack of blocks learns to put out what comes in.

A solution is known for both nets. In a plain block it is kernels with a single 1, since the input is not negative; in a
residual block it is zeros. So any error that is left is the solver's.
"""

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.experiments.identity.trial import Copied, Trial
from degrade.nets import NETS, initialise
from degrade.nets.blocks import conv3x3
from degrade.spec.rules import digest

_HELD_OUT = 256  # images, the same for every trial
POINTS = 10  # rows of a trial
_MILESTONES = (0.5, 0.75)  # of all steps, Sec. 4.2


class Chain(nn.Module):
    """relu(F(x)), with a shortcut relu(F(x) + x); F: `layers` times conv-BN with ReLU between. (N, C, H, W) -> same."""

    def __init__(self, width: int, layers: int, shortcut: bool) -> None:
        super().__init__()
        self.convs, self.shortcut = nn.ModuleList(conv3x3(width, width) for _ in range(layers)), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs[0](x)
        for conv in self.convs[1:]:
            y = conv(F.relu(y))
        return F.relu(y + x if self.shortcut else y)


def stack(trial: Trial) -> nn.Sequential:
    """Builds the blocks of a trial, with initial weights. Blocks of two layers are the blocks of the nets.

    They are contiguous, since BN sums them more exactly so (degrade.train.layout).
    """
    width, made = trial.width, nn.Sequential()
    for _ in range(trial.blocks):
        two = NETS[trial.net](width, width, 1, nn.Identity())
        made.append(two if trial.layers == 2 else Chain(width, trial.layers, trial.net == "residual"))
    initialise(made, trial.seed)
    return made


def features(trial: Trial, images: int, draws: torch.Generator) -> Tensor:
    """Draws (images, width, size, size): relu of standard normal values. Like a block's input, they are not negative.

    Each value is drawn by itself, so none can be guessed from the others. Short of copying, a stack can do no better
    than the mean.
    """
    return torch.randn(images, trial.width, trial.size, trial.size, generator=draws).relu_()


def generator(*words: object) -> torch.Generator:
    """A generator with draws of its own for these words: almost surely not the draws of any seed's weights."""
    return torch.Generator().manual_seed(int(digest(["identity", *words]), 16))


def relative_error(y: Tensor, x: Tensor) -> float:
    """||y - x||^2 / ||x||^2 over all elements together: 0 is the identity, 1 is no better than zeros."""
    return ((y - x).double().square().sum() / x.double().square().sum()).item()


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
        net, draws = stack(trial), generator("train", trial.seed)
        held_out = features(trial, _HELD_OUT, generator("held out"))
        mean = relative_error(held_out.mean((0, 2, 3), keepdim=True).expand_as(held_out), held_out)
        velocity = [torch.zeros_like(p) for p in net.parameters()]
        rows: list[Copied] = []
        for first, last in pairwise(trial.steps * point // POINTS for point in range(POINTS + 1)):
            running: list[float] = []
            for iteration in range(first, last):
                if stop():
                    return rows
                x = features(trial, trial.batch, draws)
                running.append(step(net, velocity, x, rate(trial, iteration), trial))
                if not math.isfinite(running[-1]):
                    return [*rows, Copied(iteration + 1, math.inf, math.inf, mean)]
                tell()
            if running:
                rows.append(Copied(last, _evaluate(net, held_out), sum(running) / len(running), mean))
        return rows


def step(net: nn.Module, velocity: Sequence[Tensor], x: Tensor, lr: float, trial: Trial) -> float:
    """One SGD step on x (N, C, H, W): v = m v + (g + wd p), p = p - lr v. Returns the relative error before the step.

    Equal to torch.optim.SGD to the bit, but torch.optim loads torch's compiler: 5 s of every process.
    """
    y = net(x)
    gradient = torch.autograd.grad(F.mse_loss(y, x), list(net.parameters()))
    with torch.no_grad():
        for p, v, g in zip(net.parameters(), velocity, gradient, strict=True):
            v.mul_(trial.momentum).add_(g.add(p, alpha=trial.weight_decay))
            p.sub_(v, alpha=lr)
    return relative_error(y.detach(), x)


def _evaluate(net: nn.Module, x: Tensor) -> float:
    """Measures the relative error in evaluation mode, with running statistics."""
    net.eval()
    with torch.inference_mode():
        error = relative_error(net(x), x)
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
