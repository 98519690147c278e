"""What a stack gets, and what it must put out for it."""

from collections.abc import Callable

import torch
from torch import Tensor

from degrade.experiments.identity.stacks import chain, norms
from degrade.experiments.identity.trial import Trial
from degrade.spec.rules import digest

Target = Callable[[Tensor], Tensor]  # x (N, C, H, W) -> y of the same shape
_MEASURED = 1024  # images over which the BN of a random block takes its statistics


def features(trial: Trial, images: int, draws: torch.Generator) -> Tensor:
    """Draws (images, width, size, size): relu of standard normal values. Like a block's input, they are not negative.

    Each value is drawn by itself, so none can be guessed from the others. Short of copying, a stack can do no better
    at the identity than the mean.
    """
    return torch.randn(images, trial.width, trial.size, trial.size, generator=draws).relu_()


def generator(*words: object) -> torch.Generator:
    """A generator with draws of its own for these words: almost surely not the draws of any seed's weights."""
    return torch.Generator().manual_seed(_seed_of(*words))


def target_of(trial: Trial) -> Target:
    """The map that the stack of a trial must learn. One block of the stack's own kind can compute each of them.

    identity: y = x. permutation: y has the channels of x in another order, a cycle through all of them, so that none
    stays in place. random: a block of the same kind with He's weights of its own; its BN has fixed statistics.
    Permutation and block follow from the seed.
    """
    return _TARGETS[trial.target](trial)


def _identity(trial: Trial) -> Target:
    return lambda x: x


def _permutation(trial: Trial) -> Target:
    round_trip = torch.randperm(trial.width, generator=generator("permutation", trial.seed))
    source = torch.empty_like(round_trip)
    source[round_trip] = round_trip.roll(1)
    return lambda x: x[:, source]


def _random(trial: Trial) -> Target:
    block = chain(trial, 1, _seed_of("random", trial.seed))
    for norm in norms(block):
        norm.momentum = 1.0  # the statistics become those of the one batch that it sees
    with torch.no_grad():
        block(features(trial, _MEASURED, generator("random", trial.seed)))
    block.eval()

    def compute(x: Tensor) -> Tensor:
        with torch.no_grad():
            return block(x)

    return compute


_TARGETS: dict[str, Callable[[Trial], Target]] = {
    "identity": _identity,
    "permutation": _permutation,
    "random": _random,
}


def _seed_of(*words: object) -> int:
    return int(digest(["identity", *words]), 16)
