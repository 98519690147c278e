"""Less memory for more work: of a block only its input is kept, and the rest computed again on the way back.

Checkpointing as in Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174), a block a segment.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute_block(block: nn.Module, x: Tensor) -> Tensor:
    """block(x) to the same bits, gradients and statistics included. (N, cin, H, W) -> as the block."""
    return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Those of the first computation and of the second, which follow the autocast of the first by themselves."""
    return nullcontext(), _count_once(block)


@contextmanager
def _count_once(block: nn.Module) -> Generator[None]:
    """What a second computation moves are copies of batch norm's running averages and counts: the first has moved them.

    To have none at all would be less work, but both computations have to keep the same tensors.
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
