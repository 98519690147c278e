"""Measures the outputs of a net's layers in one streaming pass: Fig. 7 of the paper, and the change that a block makes.

Sums are float64 on the device, so that neither the number of images nor their batches matter to memory or result.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from degrade.nets.layers import Block, Layer, blocks, conv_layers
from degrade.nets.moments import Moments
from degrade.nets.shortcuts import ZeroPad
from degrade.spec.rows import BlockResponse, LayerResponse

_Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


@dataclass
class _BlockNorms:
    """Sums of squares around one block, over all images and positions; and the sum and count of its gate's outputs."""

    x: Tensor | float = 0.0
    f: Tensor | float = 0.0  # of F(x), the output of the last 3x3 layer
    brought: Tensor | float = 0.0  # of x, brought to the shape of the output
    moved: Tensor | float = 0.0  # of the output minus x brought to its shape
    gate: Tensor | float = 0.0  # sum of the openings T
    gates: int = 0  # their number

    def add(self, x: Tensor, f: Tensor, brought: Tensor, y: Tensor) -> None:
        self.x = self.x + _sum_squares(x)
        self.f = self.f + _sum_squares(f)
        self.brought = self.brought + _sum_squares(brought)
        self.moved = self.moved + _sum_squares(y.double() - brought.double())


def _sum_squares(x: Tensor) -> Tensor:
    return x.double().square().sum()


@dataclass
class _Watch:
    """Hooks on a net that add up what passes through."""

    layers: list[Layer]
    blocks: list[Block]
    pad: str
    moments: dict[str, Moments] = field(default_factory=dict[str, Moments])
    norms: dict[str, _BlockNorms] = field(default_factory=dict[str, _BlockNorms])
    latest: dict[str, Tensor] = field(
        default_factory=dict[str, Tensor]
    )  # outputs of last layers, until their block ends

    def attach(self) -> list[RemovableHandle]:
        handles: list[RemovableHandle] = []
        last = {block.layers[-1].name for block in self.blocks}
        for layer in self.layers:
            self.moments[layer.name] = Moments()
            hook = self._of_layer(layer.name, keep=layer.name in last)
            handles.append(layer.module.register_forward_hook(hook))
        for block in self.blocks:
            self.norms[block.name] = _BlockNorms()
            handles.append(block.module.register_forward_hook(self._of_block(block)))
            if gate := dict(block.module.named_children()).get("gate"):
                handles.append(gate.register_forward_hook(self._of_gate(self.norms[block.name])))
        return handles

    def _of_layer(self, name: str, *, keep: bool) -> _Hook:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.moments[name].add(output)
            if keep:
                self.latest[name] = output

        return hook

    def _of_block(self, block: Block) -> _Hook:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0]
            f = self.latest.pop(block.layers[-1].name)
            self.norms[block.name].add(x, f, _bring(x, output, self.pad), output)

        return hook

    def _of_gate(self, norms: _BlockNorms) -> _Hook:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            norms.gate = norms.gate + output.double().sum()
            norms.gates += output.numel()

        return hook


def _bring(x: Tensor, y: Tensor, pad: str) -> Tensor:
    """Brings x to the shape of y by option A of Sec. 3.3; returns x where the shapes are equal."""
    if x.shape == y.shape:
        return x
    stride = -(-x.shape[-1] // y.shape[-1])
    return ZeroPad(x.shape[1], y.shape[1], stride, pad)(x)


def _mean_opening(block: Block, norms: _BlockNorms) -> float:
    """Mean opening of the shortcut: 1 - T where a gate decides, 1 where there is a shortcut, 0 where there is none."""
    if norms.gates:
        return 1 - float(norms.gate) / norms.gates
    return float("shortcut" in dict(block.module.named_children()))


def _norm_ratio(part: Tensor | float, whole: Tensor | float) -> float:
    """The ratio of two norms, from their squares; 0 where both are 0: a dead signal to which nothing is added."""
    return (float(part) / float(whole)) ** 0.5 if float(whole) else 0.0 if not float(part) else float("inf")


def measure(
    net: nn.Module, batches: Iterable[Tensor], *, iteration: int, split: str, bn: str = "running", pad: str = "after"
) -> tuple[list[LayerResponse], list[BlockResponse]]:
    """Measures the responses of every 3x3 layer and every block to all of x (N, C, H, W), in batches of any size.

    `bn` running: evaluation mode. `bn` batch: BN normalises each batch by its own statistics, so the batches matter;
    its running statistics move, so `net` should be the caller's own copy. `pad`: how option A brings x to a new shape.
    """
    watch, seen = _Watch(conv_layers(net), blocks(net), pad), 0
    handles = watch.attach()
    net.train(bn == "batch")
    with torch.inference_mode():
        for x in batches:
            net(x)
            seen += len(x)
    for handle in handles:
        handle.remove()
    done = _Pass(iteration, split, bn, seen)
    layers = [_layer_row(layer, watch.moments[layer.name], done) for layer in watch.layers]
    return layers, [_block_row(block, watch.norms[block.name], done) for block in watch.blocks]


class _Pass(NamedTuple):
    """The columns that all rows of one pass share."""

    iteration: int
    split: str
    bn: str
    n: int  # images


def _layer_row(layer: Layer, moments: Moments, done: _Pass) -> LayerResponse:
    mean, std = moments.pooled()
    return LayerResponse(
        iteration=done.iteration,
        split=done.split,
        bn=done.bn,
        layer=layer.index,
        name=layer.name,
        stage=layer.stage,
        block=layer.block,
        place=layer.place,
        std=std,
        std_channel=moments.by_channel()[1].sqrt().mean().item(),
        mean=mean,
        n=done.n,
    )


def _block_row(block: Block, norms: _BlockNorms, done: _Pass) -> BlockResponse:
    return BlockResponse(
        iteration=done.iteration,
        split=done.split,
        bn=done.bn,
        index=block.index,
        name=block.name,
        stage=block.stage,
        block=block.block,
        change=_norm_ratio(norms.f, norms.x),
        distance=_norm_ratio(norms.moved, norms.brought),
        opening=_mean_opening(block, norms),
        n=done.n,
    )
