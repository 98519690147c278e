"""A whole SGD step in compiled kernels, on a CPU: the nets, states and curves of the eager backend, sooner.

torch's own operators lose time on a CPU to batch normalisation and, on small pictures, to the cost of each call; here
one call does all layers. kernels.c says how; tape.py and phases.py write a net down for it. `bench` also uses `build`;
`backends` uses `Native` and `check`.
"""

import copy
from collections.abc import Iterable, Mapping
from ctypes import CDLL, byref, c_int, pointer, sizeof
from typing import Any

import torch
from torch import Tensor, nn

from degrade.data.batches import Batches, Resident
from degrade.errors import UnavailableError
from degrade.nets.norms import average_statistics
from degrade.spec import RunSpec
from degrade.train.backends.native import build
from degrade.train.backends.native.phases import backward, forward, lay_out, pack_phases
from degrade.train.backends.native.storage import Storage, Tiling
from degrade.train.backends.native.structs import MIRRORED, Descent, Source, Step
from degrade.train.backends.native.tape import Tape
from degrade.train.devices import find_unsuited
from degrade.train.layout import format_of, pick_layout
from degrade.train.precision import autocast

_BN_MOMENTUM = 0.1  # of BN's running averages, as torch has it
_LEVELS = torch.arange(256).float().div_(255)  # byte -> fraction of full scale


class Native:
    """SGD as in the eager backend, on a CPU, for plain and residual nets with batch normalisation.

    The result does not depend on the number of threads. Raises UnavailableError where there are no kernels for a run.
    """

    def __init__(self, net: nn.Module, spec: RunSpec, batches: Batches) -> None:
        found = build.load(spec.engine.precision)
        self.kernels, self.fingerprint = found.library, found.fingerprint
        tiling = _tiling_of(self.kernels, spec)
        if reason := _why_unsuited(spec, batches, tiling):
            raise UnavailableError(reason)
        self.skeleton, self.layout = net, pick_layout(torch.device("cpu"))  # of what torch does beside the kernels
        self.recipe, self.batches, self.tiling = spec.recipe, batches, tiling
        self.lr, self.tally = torch.zeros(()), torch.zeros(2, dtype=torch.float64)
        self.precision = spec.engine.precision
        self.storage = Storage(net, tiling)
        self.tensors, self.uncounted = self.storage.tensors(), 0  # steps that are missing in BN's counts of batches
        self.groups, chunks = _groups_of(spec, tiling)
        self.tape = Tape(net, self.storage, batches.images.pixels.shape[1:], self.groups)
        self.ready, self.forward, self.backward = (pack_phases(way(self.tape)) for way in (lay_out, forward, backward))
        self.training, self.known = _source_of(batches.images), dict[int, Source]()
        self.training.pad = batches.pad
        self.squares = torch.zeros((), dtype=torch.float64)  # of the gradients of the last step
        self.descent = _descent_of(spec, self.squares)
        self.full = Step(
            images=tiling.batch,
            blocks=tiling.blocks,
            groups=self.groups,
            chunks_of_group=chunks,
            momentum=_BN_MOMENTUM,
            source=pointer(self.training),
            descent=pointer(self.descent),
            tally=self.tally.data_ptr(),
        )
        self._load(net.state_dict())

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self.skeleton.load_state_dict(tensors)
        for flat in (self.storage.values, self.storage.running):
            flat.zero_()  # padding is 0, whatever a diverged step has left there
        for name, view in self.tensors.items():
            view.copy_(tensors[name])
        self.uncounted = 0
        self._run(self.full, self.ready)

    def _run(self, step: Step, phases: Any) -> None:
        self.kernels.run(byref(step), phases, len(phases), torch.get_num_threads())

    def step(self, iteration: int) -> None:
        index, source = self.batches.index(iteration), self.training
        crops = self.batches.crops(iteration) if self.batches.pad or self.batches.flip else None
        source.index = index.data_ptr()
        source.down, source.right, source.flip = (each.data_ptr() for each in crops) if crops else (None, None, None)
        self.descent.lr = self.lr.item()
        self.squares.zero_()
        self._run(self.full, self.forward)
        self._run(self.full, self.backward)
        self.uncounted += self.groups

    def grad_norm(self) -> Tensor:
        return self.squares.sqrt()

    def copy(self) -> nn.Module:
        self._count()
        net = copy.deepcopy(self.skeleton)  # its values are old, except BN's counts
        with torch.no_grad():
            for name, tensor in (*net.named_parameters(), *net.named_buffers()):
                if name in self.tensors:
                    tensor.copy_(self.tensors[name])
        return net

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        form = format_of(self.layout, self.precision)
        net = self.copy().train().to(memory_format=form)
        with autocast(self.precision, torch.device("cpu")):
            average_statistics(net, (x.contiguous(memory_format=form) for x in batches))
        self._load(net.state_dict())

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        if id(images) not in self.known:
            self.known[id(images)] = _source_of(images)
        source, sums = self.known[id(images)], torch.zeros(2, dtype=torch.float64)
        for first in range(start, stop, self.tiling.batch):
            n = min(self.tiling.batch, stop - first)
            source.start = first
            blocks = -(-n // self.tiling.images)
            self._run(Step(images=n, blocks=blocks, source=pointer(source), tally=sums.data_ptr()), self.forward)
        return sums

    def _count(self) -> None:
        """Brings BN's counts of batches up to date. Of the skeleton's values, only these counts are kept up to date."""
        for count in self.skeleton.buffers():
            if not count.is_floating_point():
                count += self.uncounted
        self.uncounted = 0

    def state(self) -> dict[str, Any]:
        self._count()
        whole = {**self.skeleton.state_dict(), **self.tensors}  # in the order of the state_dict
        momentum = self.storage.views(self.storage.momentum, self.storage.parameters)
        return {
            "net": {k: v.clone(memory_format=torch.contiguous_format) for k, v in whole.items()},
            "momentum": {k: v.clone(memory_format=torch.contiguous_format) for k, v in momentum.items()},
            "tally": self.tally.clone(),
            "layout": self.layout,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.layout = state["layout"]
        self._load(state["net"])
        self.storage.momentum.zero_()
        for name, view in self.storage.views(self.storage.momentum, self.storage.parameters).items():
            view.copy_(state["momentum"][name])
        self.tally.copy_(state["tally"])


def _tiling_of(library: CDLL, spec: RunSpec) -> Tiling:
    numbers = (c_int * (3 + len(MIRRORED)))()
    library.layout(numbers)
    lanes, images, chunk, *sizes = numbers
    assert sizes == [sizeof(kind) for kind in MIRRORED], "structs.py is not what kernels.h says"
    real = torch.float32 if spec.engine.precision == "fp32" else torch.bfloat16
    return Tiling(lanes, images, chunk, spec.recipe.batch, real)


def _why_unsuited(spec: RunSpec, batches: Batches, tiling: Tiling) -> str:
    """Why there are no kernels for this run; "" where there are."""
    if batches.images.pixels.device.type != "cpu":
        return "they are for CPUs"
    if reason := find_unsuited(spec):
        return reason
    group, whole = spec.recipe.bn_group or spec.recipe.batch, tiling.images * tiling.chunk
    if group < spec.recipe.batch and group % whole:
        return f"recipe.bn_group={group} is not a multiple of {whole}"
    return ""


def _descent_of(spec: RunSpec, squares: Tensor) -> Descent:
    recipe, everywhere = spec.recipe, spec.recipe.decay_scope == "all"
    return Descent(
        momentum=recipe.momentum,
        decay=recipe.weight_decay,
        other_decay=recipe.weight_decay if everywhere else 0.0,
        caffe=recipe.momentum_form == "caffe",
        nesterov=recipe.nesterov,
        squares=squares.data_ptr(),
    )


def _groups_of(spec: RunSpec, tiling: Tiling) -> tuple[int, int]:
    """(number of BN's sub-batches, chunks of each but the last), split as by degrade.nets.norms.split_batch."""
    batch = spec.recipe.batch
    group = min(spec.recipe.bn_group or batch, batch)
    whole, rest = divmod(batch, group)
    return whole + (rest > 1), -(-group // (tiling.images * tiling.chunk))


def _source_of(images: Resident) -> Source:
    """Tells the kernels where pictures lie and how to scale them."""
    pixels, labels = images.pixels.contiguous(), images.labels.contiguous()
    channels, height, width = pixels.shape[1:]
    mean = images.mean.expand(channels, height, width).contiguous()
    deviation = None if images.deviation is None else images.deviation.flatten().contiguous()
    source = Source(
        pixels=pixels.data_ptr(),
        labels=labels.data_ptr(),
        levels=_LEVELS.data_ptr(),
        mean=mean.data_ptr(),
        deviation=None if deviation is None else deviation.data_ptr(),
        channels=channels,
        height=height,
        width=width,
    )
    source.kept = (images, pixels, labels, mean, deviation)  # C holds pointers to them
    return source
