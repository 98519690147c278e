"""Takes a few steps of a run on this machine, as a worker does: how long they take, and the peak of memory."""

import gc
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from degrade import data
from degrade.spec import RunSpec
from degrade.store.folder import RunDir
from degrade.store.results import make_root
from degrade.sweep.cost import SAMPLED_DEPTHS, Sample, Samples
from degrade.train.checkpoint import pack
from degrade.train.fit import Fit
from degrade.train.probe import probe
from degrade.train.processor import pick_device

_QUICK = 0.1  # seconds of a step; a third depth is measured only below that
PATIENCE = 0.4  # seconds of steps that a measurement takes
_LEAST = 3  # steps at least, however long: the first may be slow


def sample_depths(spec: RunSpec, load: float = 0.0) -> Samples:
    """Samples SAMPLED_DEPTHS below the spec's depth, and that depth unless it is above them all. `load`: see Sample."""
    deepest, found = spec.net.depth, dict[int, Sample]()
    for depth in [
        *(depth for depth in SAMPLED_DEPTHS if depth < deepest),
        *([deepest] if deepest <= SAMPLED_DEPTHS[-1] else []),
    ]:
        if len(found) > 1 and list(found.values())[-1].step > _QUICK:
            break
        found[depth] = measure(replace(spec, net=replace(spec.net, depth=depth)), load)
    return found


def measure(spec: RunSpec, load: float = 0.0) -> Sample:
    """Measures steps, evaluations and a checkpoint. Leaves nothing behind."""
    never = replace(spec.recipe, iterations=10**9, eval_every=10**9)
    device = pick_device(spec.engine.device)
    _forget(device)
    start = time.perf_counter()
    fit = Fit(replace(spec, recipe=never, engine=replace(spec.engine, probe=0)), data.load(spec.data), device=device)
    fit.advance(1)
    begin, few = time.perf_counter() - start, min(250, len(fit.test))
    step = _time(fit, lambda: fit.advance(1))
    image = _time(fit, lambda: fit.backend.evaluate(fit.test, 0, few)) / few
    look = (
        _time(fit, lambda: probe(fit.backend.copy(), *fit.batches.at(0), layout=fit.backend.layout))
        if spec.engine.probe
        else 0.0
    )
    checkpoint = _save_checkpoint(fit)
    for images in (fit.train, fit.test):  # a whole run reads every page, so that counts as memory
        images.pixels.max()
    memory = _read_peak(device)
    return Sample(load=load, begin=begin, step=step, image=image, probe=look, memory=memory, checkpoint=checkpoint)


def _time(fit: Fit, act: Callable[[], object]) -> float:
    """Takes the median of the seconds that `act` takes."""
    spent: list[float] = []
    while sum(spent) < PATIENCE or len(spent) < _LEAST:
        begin = time.perf_counter()
        act()
        if fit.device.type == "cuda":
            torch.cuda.synchronize(fit.device)
        spent.append(time.perf_counter() - begin)
    return median(spent)


def _save_checkpoint(fit: Fit) -> int:
    """Writes a checkpoint and a curve, since that takes memory too. Returns the bytes of the checkpoint."""
    with tempfile.TemporaryDirectory() as root:
        folder = RunDir(Path(root), fit.spec.run)
        make_root(folder.root)
        with folder.claimed():
            folder.write_curve(fit.spec, fit.points)
            folder.write_checkpoint(pack(fit.state()))
            return folder.checkpoint.stat().st_size


def _forget(device: torch.device) -> None:
    """Forgets the peak of earlier measurements on a GPU. A process's own peak stays, so nets go from small to large."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _read_peak(device: torch.device) -> float:
    """Reads the peak in bytes: what torch has held of a GPU, or what was resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    status = Path("/proc/self/status")  # on Linux, ru_maxrss starts at the peak of the parent
    if status.exists():
        (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * float(kilobytes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
