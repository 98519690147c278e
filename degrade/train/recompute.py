"""Trades work for memory: a block keeps only its input, and computes the rest again on the way back.

This is the checkpointing of Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174); each block
is a segment.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute_block(block: nn.Module, x: Tensor) -> Tensor:
    """Computes block(x) to the same bits, gradients and statistics included. (N, cin, H, W) -> as the block."""
    return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """The contexts of the first computation and of the second. torch itself repeats the autocast of the first."""
    return nullcontext(), _count_once(block)


@contextmanager
def _count_once(block: nn.Module) -> Generator[None]:
    """Gives a second computation copies of BN's running averages and counts, since the first has moved the real ones.

    Leaving them out would be less work, but both computations have to keep the same tensors.
    """
    norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    averages = [(norm, name, average) for norm in norms for name, average in norm.named_buffers()]
    for norm, name, average in averages:
        setattr(norm, name, average.clone())
    try:
        yield
    finally:
        for norm, name, average in averages:
            setattr(norm, name, average)
