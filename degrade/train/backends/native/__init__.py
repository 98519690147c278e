"""A whole SGD step in compiled kernels, on a CPU: the same nets, states and curves as the eager backend, sooner.

What torch's own operators lose on a CPU is batch normalisation and, on small pictures, the cost of each call; here one
call does all layers. kernels.c says how; tape.py and phases.py write a net down for it.
"""

import copy
from collections.abc import Iterable, Mapping
from ctypes import CDLL, byref, c_float, c_int, c_long, c_void_p, pointer, sizeof
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from degrade.data.batches import Batches, Resident
from degrade.errors import UnavailableError
from degrade.nets.norms import average_statistics
from degrade.spec import RunSpec
from degrade.train.backends.native import build
from degrade.train.backends.native.phases import backward, forward, packed
from degrade.train.backends.native.storage import Layout, Storage
from degrade.train.backends.native.structs import MIRRORED, Source, Step
from degrade.train.backends.native.tape import Tape

MOMENTUM = 0.1  # of BN's running averages, as torch has it
LEVELS = torch.arange(256).float().div_(255)  # a byte as a fraction of full scale


class Native:
    """SGD as in the eager backend, on a CPU, for plain and residual nets with batch normalisation.

    The result does not depend on the number of threads. Raises UnavailableError where it cannot be.
    """

    def __init__(self, net: nn.Module, spec: RunSpec, batches: Batches) -> None:
        self.library = build.library(spec.engine.precision)
        layout = layout_of(self.library, spec)
        if reason := unsuited(spec, batches, layout):
            raise UnavailableError(reason)
        self.skeleton, self.recipe, self.batches, self.layout = net, spec.recipe, batches, layout
        self.lr, self.tally = torch.zeros(()), torch.zeros(2, dtype=torch.float64)
        self.storage = Storage(net, layout)
        self.tensors, self.uncounted = self.storage.tensors(), 0  # steps that BN's counts of batches lack
        self._load(net.state_dict())
        decayed = self.storage.kernels if self.recipe.decay_scope == "conv" else torch.ones_like(self.storage.kernels)
        self.decay = self.recipe.weight_decay * decayed
        self.groups, chunks = groups_of(spec, layout)
        self.tape = Tape(net, self.storage, batches.images.pixels.shape[1:], self.groups)
        self.forward, self.backward = packed(forward(self.tape)), packed(backward(self.tape))
        self.training, self.known = source_of(batches.images), dict[int, Source]()
        self.training.pad = batches.pad
        self.full = Step(layout.batch, layout.blocks, self.groups, chunks, MOMENTUM, pointer(self.training))

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self.skeleton.load_state_dict(tensors)
        for name, view in self.tensors.items():
            view.copy_(tensors[name])
        self.uncounted = 0

    def _run(self, step: Step, phases: Any) -> None:
        self.library.run(byref(step), phases, len(phases), torch.get_num_threads())

    def step(self, iteration: int) -> None:
        index, source = self.batches.index(iteration), self.training
        crops = self.batches.crops(iteration) if self.batches.pad or self.batches.flip else None
        source.index = index.data_ptr()
        source.down, source.right, source.flip = (each.data_ptr() for each in crops) if crops else (None, None, None)
        self._run(self.full, self.forward)
        self._last_layer(self.batches.images.labels[index])
        self._run(self.full, self.backward)
        self._update()
        self.uncounted += self.groups

    def _last_layer(self, y: Tensor) -> None:
        """From `pooled` to the gradient by it; adds to `tally`. The gradient by the logits is softmax - onehot(y)."""
        pooled, n = self.tape.pooled[: len(y)], len(y)
        weight, bias = self._head(self.storage.values)
        logits = torch.addmm(bias, pooled, weight.t())
        self.tally += sums(logits, y)
        by_logits = logits.softmax(1).sub_(F.one_hot(y, len(bias))).div_(n)
        by_weight, by_bias = self._head(self.storage.gradients)
        torch.mm(by_logits.t(), pooled, out=by_weight)
        torch.sum(by_logits, 0, out=by_bias)
        torch.mm(by_logits, weight, out=pooled)

    def _head(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        places = self.storage.parameters
        return places["head.weight"].within(flat), places["head.bias"].within(flat)

    def _update(self) -> None:
        """As Eager._update, in one pass."""
        recipe, storage = self.recipe, self.storage
        vectors = (storage.values, storage.momentum, storage.gradients, self.decay)
        caffe, nesterov = c_int(recipe.momentum_form == "caffe"), c_int(recipe.nesterov)
        numbers = (c_long(len(storage.values)), c_float(self.lr.item()), c_float(recipe.momentum), caffe, nesterov)
        self.library.update(*(c_void_p(vector.data_ptr()) for vector in vectors), *numbers)

    def grad_norm(self) -> Tensor:
        return torch.linalg.vector_norm(self.storage.gradients)

    def copy(self) -> nn.Module:
        net = copy.deepcopy(self.skeleton)
        net.load_state_dict(self.state()["net"])
        return net.to(memory_format=torch.channels_last)

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        net = self.copy().train()
        average_statistics(net, (x.contiguous(memory_format=torch.channels_last) for x in batches))
        self._load(net.state_dict())

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        if id(images) not in self.known:
            self.known[id(images)] = source_of(images)
        source, found = self.known[id(images)], torch.zeros(2, dtype=torch.float64)
        for first in range(start, stop, self.layout.batch):
            n = min(self.layout.batch, stop - first)
            source.start = first
            step = Step(n, -(-n // self.layout.images), 0, 1, 0.0, pointer(source))
            self._run(step, self.forward)
            weight, bias = self._head(self.storage.values)
            found += sums(torch.addmm(bias, self.tape.pooled[:n], weight.t()), images.labels[first : first + n])
        return found

    def state(self) -> dict[str, Any]:
        for count in self.skeleton.buffers():
            if not count.is_floating_point():
                count += self.uncounted
        self.uncounted = 0
        whole = {**self.skeleton.state_dict(), **self.tensors}  # in the order of the state_dict
        momentum = self.storage.views(self.storage.momentum, self.storage.parameters)
        return {
            "net": {k: v.clone(memory_format=torch.contiguous_format) for k, v in whole.items()},
            "momentum": {k: v.clone(memory_format=torch.contiguous_format) for k, v in momentum.items()},
            "tally": self.tally.clone(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._load(state["net"])
        for name, view in self.storage.views(self.storage.momentum, self.storage.parameters).items():
            view.copy_(state["momentum"][name])
        self.tally.copy_(state["tally"])


def layout_of(library: CDLL, spec: RunSpec) -> Layout:
    numbers = (c_int * (3 + len(MIRRORED)))()
    library.layout(numbers)
    lanes, images, chunk, *sizes = numbers
    assert sizes == [sizeof(kind) for kind in MIRRORED], "structs.py is not what kernels.h says"
    real = torch.float32 if spec.engine.precision == "fp32" else torch.bfloat16
    return Layout(lanes, images, chunk, spec.recipe.batch, real)


def unsuited(spec: RunSpec, batches: Batches, layout: Layout) -> str:
    """Why there are no kernels for this run; empty where there are."""
    if batches.images.pixels.device.type != "cpu":
        return "they are for CPUs"
    if spec.net.net not in ("plain", "residual"):
        return f"net={spec.net.net} has none"
    if spec.recipe.norm != "batch":
        return f"recipe.norm={spec.recipe.norm} has none"
    group, whole = spec.recipe.bn_group or spec.recipe.batch, layout.images * layout.chunk
    if group < spec.recipe.batch and group % whole:
        return f"recipe.bn_group={group} is not a multiple of {whole}"
    return "" if spec.recipe.batch > 1 else "recipe.batch=1"


def groups_of(spec: RunSpec, layout: Layout) -> tuple[int, int]:
    """(over how many sub-batches BN takes its statistics, chunks of each but the last), as degrade.nets.norms.parts."""
    batch = spec.recipe.batch
    group = min(spec.recipe.bn_group or batch, batch)
    whole, rest = divmod(batch, group)
    return whole + (rest > 1), -(-group // (layout.images * layout.chunk))


def source_of(images: Resident) -> Source:
    """Where pictures lie, and how they are scaled."""
    n, channels, height, width = images.pixels.shape
    del n
    mean = images.mean.expand(channels, height, width).contiguous()
    deviation = None if images.deviation is None else images.deviation.flatten().contiguous()
    source = Source(
        pixels=images.pixels.data_ptr(),
        levels=LEVELS.data_ptr(),
        mean=mean.data_ptr(),
        deviation=None if deviation is None else deviation.data_ptr(),
        channels=channels,
        height=height,
        width=width,
    )
    source.kept = (images, mean, deviation)  # C holds pointers to them
    return source


def sums(logits: Tensor, y: Tensor) -> Tensor:
    """(2,) float64: summed loss, mistakes."""
    loss = F.cross_entropy(logits, y, reduction="sum")
    return torch.stack((loss.double(), (logits.argmax(1) != y).sum()))
