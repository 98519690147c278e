"""The phases of one SGD step (kernels.c): which kernel reads and writes what, in which order.

A phase ends where something needs the whole batch: the statistics of BN, forward, and the sums of gradients that its
derivative takes, backward. So each phase begins by finishing the layer that the one before has counted.
"""

from collections.abc import Iterator
from ctypes import pointer
from dataclasses import dataclass, field
from typing import Any

from degrade.train.backends.native.structs import FOLDS, KERNELS, Call, Map, Phase
from degrade.train.backends.native.tape import Tape, TapeBlock, TapeLayer

_NOWHERE = Map()


@dataclass
class _Section:
    """A phase while it is written."""

    calls: list[Call] = field(default_factory=list)
    folds: list[Call] = field(default_factory=list)

    def do(self, name: str, a: Map, b: Map = _NOWHERE, c: Map = _NOWHERE, **rest: Any) -> None:
        self.calls.append(Call(kind=KERNELS.index(name), a=a, b=b, c=c, **rest))

    def fold(self, name: str, layer: TapeLayer) -> None:
        made = Call(kind=FOLDS.index(name), a=layer.y, kernel=pointer(layer.kernel), norm=pointer(layer.norm))
        self.folds.append(made)

    # one layer, forward: y, and what the next phase needs of it

    def convolve(self, layer: TapeLayer) -> None:
        self.do("convolve", layer.x, layer.y, kernel=pointer(layer.kernel), **layer.tables())
        self.do("moments", layer.y, norm=pointer(layer.norm))
        self.fold("fold_moments", layer)

    # and back: `gradient` is that by y, given as g before BN

    def mask(self, layer: TapeLayer, gradient: Map, out: Map = _NOWHERE) -> None:
        """What is to be known before BN's derivative; `out`: of the ReLU that comes first, if there is one."""
        self.do("mask", gradient, out, layer.y, norm=pointer(layer.norm))
        self.fold("fold_gradient", layer)

    def learn(self, layer: TapeLayer, gradient: Map, to: Map) -> None:
        """BN's derivative, from `gradient` to `to`, and from it that by the weights."""
        self.do("centre", gradient, to, layer.y, norm=pointer(layer.norm))
        self.do("correlate", layer.x, to, kernel=pointer(layer.kernel), **layer.tables())
        self.fold("fold_weights", layer)

    def back(self, layer: TapeLayer, gradient: Map, to: Map, *, add: bool) -> None:
        """The gradient by a layer's input, into `to` or added to it."""
        known: dict[str, Any] = {"kernel": pointer(layer.kernel), **layer.tables(backward=True)}
        self.do("convolve", gradient, to, backward=1, accumulate=int(add), **known)


def lay_out(tape: Tape) -> Iterator[_Section]:
    """Lays out the weights for the next step, as each step does with those that it has changed."""
    section = _Section()
    for layer in tape.layers():
        section.fold("pack", layer)
    yield section


def forward(tape: Tape) -> Iterator[_Section]:
    """Pictures to loss and mistakes; if there is a way back, to the gradient by what the last layer takes in."""
    section = _Section()
    section.do("take", _NOWHERE, tape.pictures)
    section.convolve(tape.stem)
    yield section
    section = _Section()
    section.do("normalise", tape.stem.y, tape.begin, norm=pointer(tape.stem.norm))
    for block in tape.blocks:
        section.convolve(block.first)
        if block.projection:
            section.convolve(block.projection)
        yield section
        section = _Section()
        section.do("normalise", block.first.y, block.middle, norm=pointer(block.first.norm))
        section.convolve(block.second)
        yield section
        section = _Section()
        section.do(
            "normalise", block.second.y, block.out, _add_shortcut(tape, block, section), norm=pointer(block.second.norm)
        )
    section.do("average", tape.blocks[-1].out, head=pointer(tape.head))
    section.folds.append(Call(kind=FOLDS.index("classify"), head=pointer(tape.head)))
    yield section


def _add_shortcut(tape: Tape, block: TapeBlock, section: _Section) -> Map:
    """What is added to F(x): x, or what option A or a projection makes of it."""
    if not block.residual:
        return _NOWHERE
    if not block.padding and not block.projection:
        return block.x
    brought = tape.shared("shortcut", block.stage, block.out)
    if block.projection:
        section.do("normalise", block.projection.y, brought, plain=1, norm=pointer(block.projection.norm))
    else:
        section.do("gather", block.x, brought, **block.padding)
    return brought


def backward(tape: Tape) -> Iterator[_Section]:
    """From there to new weights: each layer is updated once nothing needs it any more."""
    section, gradient = _Section(), tape.shared("gradient", tape.blocks[-1].stage, tape.blocks[-1].out)
    section.do("unpool", _NOWHERE, gradient, head=pointer(tape.head))
    stages = [1, *(block.stage for block in tape.blocks)]  # of what comes into each block
    for block, stage in zip(reversed(tape.blocks), reversed(stages[:-1]), strict=True):
        inner, middle = (tape.shared(name, block.stage, block.out) for name in ("inner", "middle"))
        section.mask(block.second, gradient, block.out)
        yield section
        section = _Section()
        section.learn(block.second, gradient, inner)
        section.back(block.second, inner, middle, add=False)
        section.mask(block.first, middle, block.middle)
        if block.projection:
            section.mask(block.projection, gradient)
        yield section
        section, below = _Section(), tape.shared("gradient", stage, block.x)
        if block.projection:
            section.learn(block.projection, gradient, inner)
            section.back(block.projection, inner, below, add=False)
        elif block.padding:
            section.do("scatter", gradient, below, **block.padding)
        section.learn(block.first, middle, middle)
        section.back(block.first, middle, below, add=block.residual)
        gradient = below
    section.mask(tape.stem, gradient, tape.begin)
    yield section
    section = _Section()
    section.learn(tape.stem, gradient, gradient)
    yield section


def pack_phases(sections: Iterator[_Section]) -> Any:
    """As C takes them: an array of Phase, and what it points to, which must be kept."""
    phases: list[Phase] = []
    for section in sections:
        calls, folds = (Call * len(section.calls))(*section.calls), (Call * len(section.folds))(*section.folds)
        phases.append(Phase(calls, folds, len(calls), len(folds)))
    return (Phase * len(phases))(*phases)
