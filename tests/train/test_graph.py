"""The graph backend. All but the capture itself is tested on the CPU, with a capture that repeats the act."""

import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
import torch
from batched import batches
from conftest import gpu, on_gpu, tiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from degrade import data, nets
from degrade.bench.cases import noise
from degrade.data.batches import Batches, Resident, Window, scale_of
from degrade.errors import SpecError, UnavailableError
from degrade.spec import RunSpec
from degrade.train import backends
from degrade.train.backends.eager import Eager
from degrade.train.backends.graph import Act, Graph
from degrade.train.checkpoint import pack, unpack
from degrade.train.fit import Fit
from degrade.train.layout import LAYOUTS
from degrade.train.precision import settle

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PAPER = {"depth": 20, "width": 16}  # pictures are 3x32x32 on a GPU: the kernels of cuDNN that a user's runs have
# Operators that wait for the device, or whose result has a size that depends on the data.
WAITS = ("_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero", "masked_select", "_unique", "unique")
HOST = ("lift_fresh", "scalar_tensor", "pin_memory")  # values that come from the host
RECIPES = [
    {},
    {"augment": "crop_flip"},
    {"augment": "none"},
    {"momentum_form": "caffe", "nesterov": True, "decay_scope": "conv"},
    {"nesterov": True},
    {"bn_group": 8},
    {"norm": "none"},
]


def pretend(act: Act) -> Act:
    """Pretends to capture: does the act a few times, and returns a call that repeats it."""
    for _ in range(3):
        act()
    return act


def made(kind: type[Eager] | type[Graph], spec: RunSpec, device: torch.device = CPU, **options: Any) -> Any:
    """A backend on its own, and its pictures: on a GPU those of the paper's shape, since small ones take other kernels
    of cuDNN.
    """
    if device.type != "meta":
        settle(spec.engine.precision, device, deterministic=spec.engine.deterministic)
    images = data.load(spec.data).train if device.type != "cuda" else noise(300, 3, 32)
    resident = Resident(images, scale_of(images, spec.data.normalize), device)
    recipe = spec.recipe
    drawn = Batches(resident, batch=recipe.batch, seed=spec.seed, augment=recipe.augment)
    variant: dict[str, Any] = {"init": recipe.init, "norm": recipe.norm, "bn_group": recipe.bn_group}
    net = nets.build(spec.net, channels=images.pixels.shape[1], classes=10, seed=spec.seed, **variant)
    backend = kind(net, spec, drawn, **options)
    backend.lr.fill_(0.05)
    return backend


def bits(backend: Any) -> list[bytes]:
    state = backend.state()
    tensors = [*state["net"].values(), *state["momentum"].values(), state["tally"], backend.grad_norm()]
    return [tensor.cpu().numpy().tobytes() for tensor in tensors]


@pytest.mark.parametrize(("n", "batch"), [(50, 16), (50, 50), (48, 16), (7, 16), (1, 3), (5, 13)])
def test_a_window_gives_the_batches_that_are_meant(n, batch):
    """Across the borders of epochs, and where a batch is longer than an epoch."""
    drawn = batches(batch, n=n, size=8)
    window, counter = Window(drawn), torch.zeros((), dtype=torch.int64)
    for i in [*range(4 * n), 10**6, 3]:
        window.reach(i)
        counter.fill_(i)
        assert torch.equal(window.index(counter), drawn.index(i))
    for i in (0, 1, n, 10**6):
        window.reach(i)
        for ours, theirs in zip(window.at(torch.tensor(i)), drawn.at(i), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_graph_begins_where_its_net_does_and_steps_as_eager(recipe):
    spec = tiny(recipe=recipe)
    graph, eager = made(Graph, spec, capture=pretend), made(Eager, spec)
    assert bits(graph) == bits(eager)
    for i in range(15):  # 100 images in batches of 16: two borders
        graph.step(i)
        eager.step(i)
        assert bits(graph) == bits(eager), i


def test_the_iteration_asked_for_counts_wherever_the_counter_stands():
    graph, eager = made(Graph, tiny(), capture=pretend), made(Eager, tiny())
    for i in (40, 41, 3, 3, 4, 0):
        graph.step(i)
        eager.step(i)
        assert bits(graph) == bits(eager)


def test_a_state_moves_between_graph_and_eager():
    graph, eager = made(Graph, tiny(), capture=pretend), made(Eager, tiny())
    for i in range(5):
        eager.step(i)
    places = [p.data_ptr() for p in [*graph.net.parameters(), *graph.net.buffers(), graph.tally]]
    graph.restore(eager.state())
    assert places == [p.data_ptr() for p in [*graph.net.parameters(), *graph.net.buffers(), graph.tally]]
    for i in range(5, 9):
        eager.step(i)
        graph.step(i)
    assert bits(graph) == bits(eager)


def test_evaluation_is_that_of_eager_for_whole_batches_and_the_last():
    graph, eager = made(Graph, tiny(), capture=pretend), made(Eager, tiny())
    images, before = eager.batches.images, bits(graph)
    other, _, _ = data.load(tiny().data)
    small = Resident(other.limit(20), scale_of(other, "pixel"), CPU)
    for split, start, stop in [(images, 0, 40), (small, 0, 20), (images, 40, 80), (images, 80, 100), (images, 0, 40)]:
        assert torch.equal(graph.evaluate(split, start, stop), eager.evaluate(split, start, stop))
    assert bits(graph) == before
    assert graph.net.training


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": {"precise_bn": True, "warmup": "on", "warmup_window": 3, "warmup_cap": 8}},
        {"data": {"validation": 20}, "engine": {"probe": 4}},
    ],
    ids=str,
)
@pytest.mark.parametrize("kill", [0, 1, 5, 7, 12])
def test_a_training_by_graph_is_that_of_eager_wherever_it_is_taken_up(monkeypatch, changes, kill):
    """Points, probes and weights agree; each backend goes on from the state of the other."""
    monkeypatch.setitem(backends.BACKENDS, "graph", partial(Graph, capture=pretend))
    spec = tiny(**changes)

    def fit(kind: str) -> Fit:
        return Fit(replace(spec, engine=replace(spec.engine, backend=kind)), data.load(spec.data), device=CPU)

    whole, first, second = fit("eager"), fit("graph"), fit("eager")
    whole.advance(100)
    first.advance(kill)
    second.restore(first.state())
    second.advance(100)
    assert second.backend_name == "graph"
    assert bits(second.backend)[:-1] == bits(whole.backend)[:-1]  # the last gradient is no part of a state
    assert second.probes == whole.probes
    for ours, theirs in zip(second.points, whole.points, strict=True):
        assert replace(ours, images_per_second=0.0, seconds=0.0) == replace(theirs, images_per_second=0.0, seconds=0.0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_graph_takes_up_a_run_in_the_layout_that_it_had(layout):
    """What was captured in one layout is captured again in another."""
    graph, eager = made(Graph, tiny(), capture=pretend), made(Eager, tiny(), layout=layout)
    images = graph.eager.batches.images
    graph.evaluate(images, 0, 40)
    kept = graph.layout == layout
    for i in range(3):
        eager.step(i)
    graph.restore(eager.state())
    assert graph.layout == graph.state()["layout"] == layout
    assert bool(graph.splits) == kept  # evaluations were captured with tensors that are gone
    for i in range(3, 6):
        eager.step(i)
        graph.step(i)
        assert bits(graph) == bits(eager)
    assert torch.equal(graph.evaluate(images, 0, 40), eager.evaluate(images, 0, 40))
    assert graph.eager.flat.data_ptr() == next(graph.net.parameters()).data_ptr()


@dataclass(frozen=True)
class Call:
    """One operator, and the shapes of its inputs and outputs."""

    name: str
    taken: tuple[tuple[int, ...], ...]
    given: tuple[tuple[int, ...], ...]


@dataclass
class Record(TorchDispatchMode):
    """Records every operator that runs, also in the backward pass."""

    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        taken = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        name = func.name().removeprefix("aten::").partition(".")[0]
        if name.startswith(("index", "_index", "_unsafe_index")):
            assert all(tensor.dtype not in (torch.bool, torch.uint8) for tensor in taken[1:]), "an index by a mask"
        out = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves(out) if isinstance(each, torch.Tensor)]
        self.calls.append(Call(name, *(tuple(tuple(t.shape) for t in tensors) for tensors in (taken, given))))
        return out


def recorded(act: Act) -> list[Call]:
    with Record() as record:
        act()
    return record.calls


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("net", ["plain", "residual", "highway"])
def test_a_step_waits_for_nothing_and_is_the_same_operators_whatever_the_data(net, recipe, precision):
    spec = tiny(net=net, shortcut="none" if net == "plain" else "B", recipe=recipe, engine={"precision": precision})
    graph = made(Graph, spec, capture=lambda act: act)
    first = recorded(graph.replay)
    names = {call.name for call in first}
    assert {"convolution_backward", "argmax", "index"} <= names
    for name in names:
        assert not name.startswith((*WAITS, *HOST)), name
    graph.window.reach(77)
    graph.counter.fill_(77)
    graph.net.load_state_dict({k: v * 3 if v.is_floating_point() else v for k, v in graph.net.state_dict().items()})
    assert recorded(graph.replay) == first


def test_an_evaluation_waits_for_nothing_and_is_the_same_operators_wherever_it_starts():
    graph = made(Graph, tiny(), capture=lambda act: act)
    images = graph.eager.batches.images
    graph.evaluate(images, 0, 40)
    first = recorded(lambda: graph.evaluate(images, 0, 40))
    assert not [call.name for call in first if call.name.startswith((*WAITS, *HOST))]
    assert recorded(lambda: graph.evaluate(images, 40, 80)) == first


def test_the_check_sees_what_it_looks_for():
    x = torch.tensor([1.0, -1.0])
    for act in (lambda: x.sum().item(), lambda: x.nonzero(), lambda: x.masked_select(x > 0), lambda: x.unique()):
        assert any(call.name.startswith(WAITS) for call in recorded(act))
    with pytest.raises(AssertionError, match="mask"):
        recorded(lambda: x[x > 0])


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_step_runs_where_no_tensor_has_values(recipe, monkeypatch):
    """On torch's meta device it is an error to ask for a value or to leave a tensor on the host."""
    monkeypatch.setattr("degrade.train.backends.eager.autocast", lambda *_: torch.autocast("cpu", enabled=False))
    graph = made(Graph, tiny(recipe=recipe), torch.device("meta"), capture=pretend)
    graph.step(0)
    graph.step(9)
    assert graph.tally.is_meta


def test_a_graph_asked_for_without_a_gpu_is_one_line():
    spec = tiny(engine={"backend": "graph"})
    with pytest.raises(SpecError, match=r"engine\.backend=graph: a graph needs a CUDA device.*backend=auto"):
        Fit(spec, data.load(spec.data), device=CPU)


def refuse(act: Act) -> Act:
    pretend(act)
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_a_step_that_cannot_be_captured_leaves_the_net_as_it_was():
    spec, eager = tiny(), made(Eager, tiny())
    images, _, _ = data.load(spec.data)
    drawn = Batches(Resident(images, scale_of(images, "pixel"), CPU), batch=16, seed=0, augment="crop")
    net = nets.build(spec.net, channels=1, classes=10, seed=0)
    with pytest.raises(UnavailableError, match=r"cannot be captured \(operation not permitted.*capturing\)$"):
        Graph(net, spec, drawn, refuse)
    assert bits(Eager(net, spec, drawn)) == bits(eager)


def test_the_first_of_two_errors_of_a_capture_is_the_reason():
    """torch raises a second one where it ends the capture, which says nothing."""

    def breaks(act: Act) -> Act:
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    try:
        raise KeyError("somebody else's")
    except KeyError:
        with pytest.raises(UnavailableError, match=r"the step cannot be captured \(operation not permitted"):
            made(Graph, tiny(), capture=breaks)


def test_memory_that_ends_within_a_capture_is_out_of_memory():
    def full(act: Act) -> Act:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        made(Graph, tiny(), capture=full)


def test_an_evaluation_that_cannot_be_captured_is_done_without_a_graph_to_the_same_bits(capsys):
    graph, eager = made(Graph, tiny(), capture=pretend), made(Eager, tiny())
    graph.capture = refuse
    images = graph.eager.batches.images
    for start, stop in [(0, 40), (40, 80), (80, 100)]:
        assert torch.equal(graph.evaluate(images, start, stop), eager.evaluate(images, start, stop))
    assert capsys.readouterr().err.count("an evaluation cannot be captured") == 1
    graph.step(0)
    eager.step(0)
    assert bits(graph) == bits(eager)


def test_out_of_memory_is_no_reason_to_go_on_without_a_graph():
    def full(act: Act) -> Act:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        made(Graph, tiny(), capture=full)


@gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_on_a_gpu_a_graph_is_eager_to_the_bit(recipe, precision):
    spec = tiny(**PAPER, recipe={"batch": 128, **recipe}, engine={"precision": precision})
    graph, eager = made(Graph, spec, CUDA), made(Eager, spec, CUDA)
    assert bits(graph) == bits(eager)
    for i in [*range(15), 3, 40, 41]:
        graph.lr.fill_(0.1 / (i + 1))
        eager.lr.fill_(0.1 / (i + 1))
        graph.step(i)
        eager.step(i)
        assert bits(graph) == bits(eager), i


@gpu
def test_on_a_gpu_evaluation_by_a_graph_is_that_of_eager():
    graph, eager = made(Graph, tiny(**PAPER), CUDA), made(Eager, tiny(**PAPER), CUDA)
    for start, stop in [(0, 40), (40, 80), (80, 100), (0, 40)]:
        ours = graph.evaluate(graph.eager.batches.images, start, stop)
        assert torch.equal(ours, eager.evaluate(eager.batches.images, start, stop))
        graph.step(start)
        eager.step(start)
    assert bits(graph) == bits(eager)


@gpu
@pytest.mark.parametrize("kill", [1, 5, 6, 7, 11])
def test_on_a_gpu_a_run_taken_up_ends_with_the_same_bits(kill):
    spec = tiny(engine={"backend": "graph"})
    whole, first, second = (Fit(spec, data.load(spec.data), device=CUDA) for _ in range(3))
    whole.advance(1000)
    first.advance(kill)
    second.restore(unpack(pack(first.state())))  # as a file gives it: on the CPU
    second.advance(1000)
    assert bits(whole.backend)[:-1] == bits(second.backend)[:-1]
    assert [(p.loss, p.error) for p in whole.points] == [(p.loss, p.error) for p in second.points]


@on_gpu
def test_on_a_gpu_nothing_waits_between_two_points():
    spec = tiny(recipe={"eval_every": 1000, "iterations": 1000})
    fit = Fit(spec, data.load(spec.data), device=CUDA)
    fit.advance(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode is announced as a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        fit.advance(50)  # torch raises where the host waits
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")
    assert fit.iteration == 51
