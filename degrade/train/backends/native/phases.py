"""The phases of one SGD step (kernels.c): which kernel reads and writes what, in which order.

A phase ends where the next kernel needs the whole batch: forward for the statistics of BN, backward for the sums of
gradients in the derivative of BN. So each phase begins with the end of the layer whose sums the phase before has taken.
"""

from collections.abc import Iterator
from ctypes import pointer
from dataclasses import dataclass, field
from typing import Any

from degrade.train.backends.native.structs import FOLDS, KERNELS, Call, Head, Map, Norm, Phase
from degrade.train.backends.native.tape import Padding, Tape, TapeBlock, TapeLayer

_NOWHERE = Map()


@dataclass
class _Section:
    """A phase while it is written."""

    calls: list[Call] = field(default_factory=list)
    folds: list[Call] = field(default_factory=list)

    def do(
        self,
        name: str,
        a: Map,
        b: Map = _NOWHERE,
        c: Map = _NOWHERE,
        *,
        norm: Norm | None = None,
        head: Head | None = None,
        padding: Padding | None = None,
        plain: bool = False,
    ) -> None:
        """Adds a call of a kernel that works block by block."""
        call = Call(kind=KERNELS.index(name), a=a, b=b, c=c, plain=int(plain))
        if norm is not None:
            call.norm = pointer(norm)
        if head is not None:
            call.head = pointer(head)
        if padding is not None:
            call.stride, call.offset, call.kept = padding
        self.calls.append(call)

    def _multiply(
        self, name: str, layer: TapeLayer, a: Map, b: Map, *, backward: bool = False, accumulate: bool = False
    ) -> None:
        """Adds a call of a kernel that multiplies with the layer's weights, or for them."""
        rows, columns = layer.tables(backward=backward)
        self.calls.append(
            Call(
                kind=KERNELS.index(name),
                backward=int(backward),
                accumulate=int(accumulate),
                a=a,
                b=b,
                c=_NOWHERE,
                kernel=pointer(layer.kernel),
                rows=rows,
                columns=columns,
            )
        )

    def fold(self, name: str, layer: TapeLayer) -> None:
        """Adds a call that folds the sums of a layer over chunks, after all blocks."""
        made = Call(kind=FOLDS.index(name), a=layer.y, kernel=pointer(layer.kernel), norm=pointer(layer.norm))
        self.folds.append(made)

    def convolve(self, layer: TapeLayer) -> None:
        """The layer forward: y, and its moments for the next phase."""
        self._multiply("convolve", layer, layer.x, layer.y)
        self.do("moments", layer.y, norm=layer.norm)
        self.fold("fold_moments", layer)

    def mask(self, layer: TapeLayer, gradient: Map, out: Map = _NOWHERE) -> None:
        """The sums for BN's derivative. `gradient` is by BN's output; `out` is the output of a ReLU after BN."""
        self.do("mask", gradient, out, layer.y, norm=layer.norm)
        self.fold("fold_gradient", layer)

    def learn(self, layer: TapeLayer, gradient: Map, to: Map) -> None:
        """BN's derivative, from `gradient` to `to`, and from `to` the gradient by the weights."""
        self.do("centre", gradient, to, layer.y, norm=layer.norm)
        self._multiply("correlate", layer, layer.x, to)
        self.fold("fold_weights", layer)

    def back(self, layer: TapeLayer, gradient: Map, to: Map, *, add: bool) -> None:
        """The gradient by a layer's input, written or added to `to`."""
        self._multiply("convolve", layer, gradient, to, backward=True, accumulate=add)


def lay_out(tape: Tape) -> Iterator[_Section]:
    """Lays out the weights for the next step, as each step does with weights that it has changed."""
    section = _Section()
    for layer in tape.layers():
        section.fold("pack", layer)
    yield section


def forward(tape: Tape) -> Iterator[_Section]:
    """From pictures to loss and mistakes; in a training step also to the gradient by the input of the last layer."""
    section = _Section()
    section.do("take", _NOWHERE, tape.pictures)
    section.convolve(tape.stem)
    yield section
    section = _Section()
    section.do("normalise", tape.stem.y, tape.begin, norm=tape.stem.norm)
    for block in tape.blocks:
        section.convolve(block.first)
        if block.projection:
            section.convolve(block.projection)
        yield section
        section = _Section()
        section.do("normalise", block.first.y, block.middle, norm=block.first.norm)
        section.convolve(block.second)
        yield section
        section = _Section()
        brought = _bring_shortcut(tape, block, section)
        section.do("normalise", block.second.y, block.out, brought, norm=block.second.norm)
    section.do("average", tape.blocks[-1].out, head=tape.head)
    section.folds.append(Call(kind=FOLDS.index("classify"), head=pointer(tape.head)))
    yield section


def _bring_shortcut(tape: Tape, block: TapeBlock, section: _Section) -> Map:
    """The map that is added to F(x): x, or x after option A or a projection."""
    if not block.residual:
        return _NOWHERE
    if not block.padding and not block.projection:
        return block.x
    brought = tape.share("shortcut", block.stage, block.out)
    if block.projection:
        section.do("normalise", block.projection.y, brought, plain=True, norm=block.projection.norm)
    else:
        section.do("gather", block.x, brought, padding=block.padding)
    return brought


def backward(tape: Tape) -> Iterator[_Section]:
    """From that gradient to new weights. A layer is updated once nothing needs its old weights."""
    section, gradient = _Section(), tape.share("gradient", tape.blocks[-1].stage, tape.blocks[-1].out)
    section.do("unpool", _NOWHERE, gradient, head=tape.head)
    stages = [1, *(block.stage for block in tape.blocks)]  # of each block's input
    for block, stage in zip(reversed(tape.blocks), reversed(stages[:-1]), strict=True):
        inner, middle = (tape.share(name, block.stage, block.out) for name in ("inner", "middle"))
        section.mask(block.second, gradient, block.out)
        yield section
        section = _Section()
        section.learn(block.second, gradient, inner)
        section.back(block.second, inner, middle, add=False)
        section.mask(block.first, middle, block.middle)
        if block.projection:
            section.mask(block.projection, gradient)
        yield section
        section, below = _Section(), tape.share("gradient", stage, block.x)
        if block.projection:
            section.learn(block.projection, gradient, inner)
            section.back(block.projection, inner, below, add=False)
        elif block.padding:
            section.do("scatter", gradient, below, padding=block.padding)
        section.learn(block.first, middle, middle)
        section.back(block.first, middle, below, add=block.residual)
        gradient = below
    section.mask(tape.stem, gradient, tape.begin)
    yield section
    section = _Section()
    section.learn(tape.stem, gradient, gradient)
    yield section


def pack_phases(sections: Iterator[_Section]) -> Any:
    """Packs phases for C: an array of Phase, which keeps alive what it points to."""
    phases: list[Phase] = []
    for section in sections:
        calls, folds = (Call * len(section.calls))(*section.calls), (Call * len(section.folds))(*section.folds)
        phases.append(Phase(calls, folds, len(calls), len(folds)))
    return (Phase * len(phases))(*phases)
