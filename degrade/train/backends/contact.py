"""What is fastest on a GPU, measured at the first contact with it: the graph of torch's step or the fused step, how
tensors lie, and cuDNN's benchmark.

The answer is kept in the user's cache. It belongs to the GPU, the libraries, our kernels, the precision and
engine.deterministic. The fused step is also compared with torch there, and trains no run where it is wrong.
"""

import hashlib
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from degrade.errors import DegradeError, NewerError, PassingError, RunError, UnavailableError, one_line
from degrade.spec import EngineSpec, NetSpec, RecipeSpec, RunSpec
from degrade.store import seal
from degrade.store.files import user_cache
from degrade.train.backends.compare import build_net, find_wrong, make_batches, measure_distances
from degrade.train.backends.fused import Fused, fingerprint
from degrade.train.backends.graph import Graph
from degrade.train.backends.native.passing import name_passing
from degrade.train.backends.native.shelf import Shelf
from degrade.train.layout import LAYOUTS, format_of, pick_layout
from degrade.train.precision import settle
from degrade.train.processor import read_cudnn

MEASURED: dict[str, type[Graph]] = {"graph": Graph, "fused": Fused}  # the first is taken where the others gain nothing
_ORDER = sorted(LAYOUTS, key=lambda layout: layout != pick_layout(torch.device("cuda")))  # a GPU's own first
_FORMAT = 1  # of an answer, and of how it is measured
_TIMED = RunSpec(net=NetSpec(depth=20), recipe=RecipeSpec())  # at the paper's shape, 128 pictures of 3x32x32
_SIDE = 32
_STEPS, _BURSTS = 20, 5  # the fastest burst counts: others may use the GPU meanwhile
_GAIN = 1.02  # times faster that a way must be to be taken before an earlier one
_TRIES = 2  # of the fused step, where a process died meanwhile


class Way(NamedTuple):
    """One way to train."""

    backend: str
    layout: str  # of degrade.train.layout
    benchmark: bool  # whether cuDNN tries its algorithms, and takes the fastest

    @property
    def name(self) -> str:
        return f"{self.backend} {self.layout}{' benchmark' * self.benchmark}"


@dataclass(frozen=True)
class Answer:
    """What was measured of the ways to train."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])  # of a step, by the name of the way
    missing: dict[str, str] = field(default_factory=dict[str, str])  # backend -> why it trains nothing here

    def pick(self, backends: Iterable[str]) -> Way:
        """The fastest way of some backends. Raises UnavailableError where there is none."""
        known = [way for way in _list_ways(backends, _ORDER, benchmark=True) if way.name in self.seconds]
        if not known:
            raise UnavailableError("; ".join(self.missing[each] for each in backends if each in self.missing))
        best = min(self.seconds[way.name] for way in known)
        return next(way for way in known if self.seconds[way.name] <= _GAIN * best)

    def describe(self, way: Way) -> dict[str, Any]:
        """What stands beside a run that trains in that way."""
        taken = {"backend": way.backend, "layout": way.layout, "benchmark": way.benchmark}
        return {**taken, "seconds": self.seconds, "missing": self.missing}


_KNOWN = dict[str, Answer]()  # of this process, by the name of the file


def ask(engine: EngineSpec, device: torch.device) -> Answer:
    """The answer for an engine on a device, from before or a new one.

    Raises PassingError for what may be gone the next time, since another answer can lead to other bits.
    """
    name = _name_answer(engine, device)
    if name not in _KNOWN:
        _KNOWN[name] = _look_up(name, engine, device)
    return _KNOWN[name]


def _look_up(name: str, engine: EngineSpec, device: torch.device) -> Answer:
    try:
        shelf = Shelf(user_cache() / "gpus")
    except (OSError, RunError):  # no folder of ours: each process measures anew
        return _measure(engine, device, "")
    try:
        with shelf.locked(name):
            answer = _read(shelf, name)
            if answer is None:
                with _trial(shelf, name) as died:
                    answer = _measure(engine, device, died)
                if "graph" not in answer.missing:  # a capture can also break for a reason that passes
                    _keep(shelf, name, answer)
            return answer
    finally:
        shelf.close()


def _name_answer(engine: EngineSpec, device: torch.device) -> str:
    """The file of an answer: it has another name wherever another answer may be right."""
    try:
        ours = fingerprint()
    except ImportError:  # without Triton
        ours = ""
    about = (torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device), torch.__version__)
    libraries = (torch.version.cuda, read_cudnn(), ours)
    total = repr((_FORMAT, *about, *libraries, engine.precision, engine.deterministic))
    return f"{engine.precision}-{hashlib.sha256(total.encode()).hexdigest()[:16]}.json"


def _read(shelf: Shelf, name: str) -> Answer | None:
    """An answer from before; None where there is none, or it cannot be read."""
    try:
        content = shelf.read(name)
        values = {} if content is None else seal.of_json(content)
        seconds = {str(key): float(value) for key, value in values["seconds"].items()}
        return Answer(seconds, {str(key): str(value) for key, value in values["missing"].items()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError, NewerError):
        return None


def _keep(shelf: Shelf, name: str, answer: Answer) -> None:
    try:
        shelf.write(name, seal.to_json(asdict(answer)))
    except OSError:  # the next process measures again
        return


@contextmanager
def _trial(shelf: Shelf, name: str) -> Generator[str]:
    """Marks meanwhile that the fused step is tried. Yields why it is not tried again, where processes died of it."""
    mark = f"{name}.trial"
    try:
        tries = len(shelf.read(mark) or b"")
    except (OSError, ValueError):
        tries = 0
    with suppress(OSError):  # a folder may take no files
        shelf.write(mark, b"." * (tries + 1))
    said = f"{_TRIES} processes ended while they tried it; to try again, remove {shelf.path / name}"
    try:
        yield said if tries >= _TRIES else ""
    finally:
        shelf.remove(mark)  # what raised an error is alive


def _measure(engine: EngineSpec, device: torch.device, died: str) -> Answer:
    """Times all ways, and compares the fused step with torch first. `died`: why the fused step is not tried."""
    answer = Answer(missing={"fused": died} if died else {})
    benchmarked = torch.backends.cudnn.benchmark
    try:
        for backend in MEASURED:
            if backend in answer.missing:
                continue
            try:
                if backend == "fused":
                    _demand_right(engine.precision, device)
                settle(engine.precision, device, deterministic=engine.deterministic)
                layouts = _list_layouts(engine.precision)
                for way in _list_ways([backend], layouts, benchmark=not engine.deterministic):
                    answer.seconds[way.name] = time_way(way, engine, device)
            except UnavailableError as error:
                answer.missing[backend] = str(error)
            except (DegradeError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # Triton, its compilers and the GPU have no common type for what they refuse
                if backend != "fused":
                    raise
                answer.missing[backend] = _explain(error)
    finally:
        settle(engine.precision, device, deterministic=engine.deterministic)
        torch.backends.cudnn.benchmark = benchmarked
    return answer


def _explain(error: Exception) -> str:
    """Why Triton's kernels cannot be had. Raises PassingError where the same may work the next time."""
    if name_passing(str(error)):
        said = f"engine.backend: the fused kernels cannot be built now ({one_line(error)})"
        raise PassingError(f"{said}, and other backends have other bits; mend that, and the same command goes on")
    return f"its kernels cannot be built or run ({one_line(error)})"


def _list_layouts(precision: str) -> list[str]:
    """The layouts that differ in a precision."""
    formats = [format_of(layout, precision) for layout in _ORDER]
    return [layout for place, layout in enumerate(_ORDER) if formats.index(formats[place]) == place]


def _list_ways(backends: Iterable[str], layouts: Iterable[str], *, benchmark: bool) -> list[Way]:
    """The ways in the order in which they are taken where none gains. `benchmark`: with and without."""
    asked = set(backends)
    tried = (False, True) if benchmark else (False,)
    return [Way(name, layout, on) for name in MEASURED if name in asked for layout in layouts for on in tried]


def _demand_right(precision: str, device: torch.device) -> None:
    """Raises UnavailableError where the fused step is wrong on this device, in any layout."""
    for layout in _list_layouts(precision):
        distances = measure_distances(partial(Fused, layout=layout), precision, device)
        if wrong := find_wrong(distances, precision):
            raise UnavailableError(f"it is wrong here, {layout}: {wrong}")


def time_way(way: Way, engine: EngineSpec, device: torch.device) -> float:
    """Seconds of a step. cuDNN's benchmark stays as the way has it."""
    torch.backends.cudnn.benchmark = way.benchmark
    spec = RunSpec(net=_TIMED.net, recipe=_TIMED.recipe, engine=engine)
    batches = make_batches(spec, device, _SIDE, _SIDE)
    backend = MEASURED[way.backend](build_net(spec), spec, batches, layout=way.layout)
    spent: list[float] = []
    for _ in range(1 + _BURSTS):
        begin = time.perf_counter()
        for step in range(_STEPS):
            backend.step(step)
        backend.tally.tolist()  # waits for the device
        spent.append((time.perf_counter() - begin) / _STEPS)
    return min(spent[1:])  # the first wakes the device
