"""The eager step as one CUDA graph: one call starts hundreds of small kernels on a GPU.

Only the capture needs a GPU. It captures the eager backend's step as a function of tensors that stay where they are,
and any `Capture` can take the place of the real one.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from degrade.data.batches import Batches, Resident, Window
from degrade.errors import UnavailableError
from degrade.spec import RunSpec
from degrade.train import streams
from degrade.train.backends.eager import Eager

_WARMUP_STEPS = 3  # steps done before the capture: libraries load meanwhile, and choose their algorithms
Act = Callable[[], None]
# an act on tensors that stay where they are -> a call that repeats it; may act meanwhile
Capture = Callable[[Act], Act]
_MakeEager = Callable[[nn.Module, RunSpec, Batches, str | None], Eager]
_broken = list[str]()  # why captures broke in this process


def has_broken() -> bool:
    """Whether a capture broke in this process. torch up to 2.11 then keeps what it had set up for the capture."""
    return bool(_broken)


class Graph:
    """SGD as in the eager backend, to the bit, replayed as one graph: augmentation, both passes, update, tallies.

    A graph repeats exactly what it captured, so all that changes from step to step lies on the device: `counter` ()
    int64, the iteration, which the graph itself raises; the order of the images; the learning rate. Between two replays
    the host fills in the rate and, at the borders of epochs, the order.
    Raises UnavailableError where there is no CUDA device, or where the step cannot be captured.
    """

    def __init__(
        self,
        net: nn.Module,
        spec: RunSpec,
        batches: Batches,
        capture: Capture | None = None,
        layout: str | None = None,
        make: _MakeEager = Eager,
    ) -> None:
        """`make`: makes the step that is captured."""
        device = batches.images.pixels.device
        self.capture = capture or _CudaCapture(device)
        self.eager, self.window = make(net, spec, batches, layout), Window(batches)
        self.net, self.lr, self.tally = self.eager.net, self.eager.lr, self.eager.tally
        self.layout, self.fingerprint = self.eager.layout, self.eager.fingerprint
        self.counter = torch.zeros((), dtype=torch.int64, device=device)
        self.splits = dict[int, _SplitGraph]()
        self.replay = self._capture_step()
        self.next = 0  # what `counter` holds

    def _capture_step(self) -> Act:
        """Captures the step as one call, and undoes what the capture did to the net."""
        before = self.state()
        self.window.reach(0)
        try:
            return self._capture(self._act, "the step")
        finally:
            self.restore(before)
            self.eager.grad.zero_()
            self.counter.zero_()

    def _capture(self, act: Act, what: str) -> Act:
        """Captures an act. Raises UnavailableError where that fails, unless it is for memory: no act would need less.

        Where a capture breaks, torch raises a second error at its end. The first says why.
        """
        outside = sys.exception()
        try:
            return self.capture(act)
        except RuntimeError as error:
            first: BaseException = error
            while first.__context__ is not None and first.__context__ is not outside:
                first = first.__context__
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            why = (str(first).strip() or type(first).__name__).partition("\n")[0]
            raise UnavailableError(f"{what} cannot be captured ({why})") from error

    def _act(self) -> None:
        self.eager.learn(*self.window.at(self.counter))
        self.counter += 1

    def step(self, iteration: int) -> None:
        self.window.reach(iteration)
        if iteration != self.next:
            self.counter.fill_(iteration)
        self.replay()
        self.next = iteration + 1

    def grad_norm(self) -> Tensor:
        return self.eager.grad_norm()

    def copy(self) -> nn.Module:
        return self.eager.copy()

    def average_statistics(self, batches: Iterable[Tensor]) -> None:
        self.eager.average_statistics(batches)

    def evaluate(self, images: Resident, start: int, stop: int) -> Tensor:
        """As Eager's. Each split has a graph, for batches of the size that was asked for first.

        Where an evaluation cannot be captured, it is done without a graph, to the same bits.
        """
        if id(images) not in self.splits:
            self.splits[id(images)] = self._capture_split(images, stop - start)
        split = self.splits[id(images)]
        if stop - start != split.size:  # the last batch
            return self.eager.evaluate(images, start, stop)
        split.start.fill_(start)
        split.replay()
        return split.sums.clone()

    def _capture_split(self, images: Resident, size: int) -> "_SplitGraph":
        """Captures the evaluation of `size` images of a split as one call."""
        start, places = torch.zeros_like(self.counter), torch.arange(size, device=self.counter.device)
        sums = torch.zeros_like(self.tally)

        def act() -> None:
            sums.copy_(self.eager.measure(*images.clean(start + places)))

        try:
            return _SplitGraph(images, size, start, sums, self._capture(act, "an evaluation"))
        except UnavailableError as error:
            print(f"no graph: {error}; it goes on without", file=sys.stderr, flush=True)
            return _SplitGraph(images, 0, start, sums, act)

    def state(self) -> dict[str, Any]:
        return self.eager.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Copies in place, so that the graphs stay. A graph holds one layout: for another, all is captured again."""
        if state["layout"] == self.layout:
            self.eager.restore(state)
            return
        self.splits.clear()
        self.replay = _forget
        self.eager.restore(state)
        self.layout = self.eager.layout
        self.replay = self._capture_step()


def _forget() -> None:
    """In the place of a graph whose tensors are gone."""
    raise AssertionError("no graph was captured")


class _SplitGraph(NamedTuple):
    """The images of a split, and a call that measures `size` of them, from `start` () int64 on, into `sums` (2,)."""

    images: Resident  # kept, so that no other gets its id
    size: int
    start: Tensor
    sums: Tensor
    replay: Act


class _CudaCapture:
    """Captures acts on one CUDA device.

    All graphs of one capture share their memory: they never run at once, and leave nothing in it that is needed later.
    They have their own stream as long as the capture lives (degrade.train.streams). `thread_local` lets other threads,
    as the one of the backward pass, ask for memory meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise UnavailableError(f"a graph needs a CUDA device, and this run is on the {device.type}")
        self.device, self.pool = device, torch.cuda.graph_pool_handle()
        self.stream, self._return = streams.take_for(self, device)

    def __call__(self, act: Act) -> Act:
        now, graph = torch.cuda.current_stream(self.device), torch.cuda.CUDAGraph()
        self.stream.wait_stream(now)
        try:
            with torch.cuda.stream(self.stream):
                for _ in range(_WARMUP_STEPS):
                    act()
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                act()
        except BaseException as error:
            _broken.append(str(error))
            self._replace_stream()
            raise
        finally:
            torch.cuda.set_stream(now)  # torch up to 2.11 leaves the capture's stream current where a capture broke
            now.wait_stream(self.stream)
        return graph.replay

    def _replace_stream(self) -> None:
        """Takes another stream: one on which a capture broke may not be usable, so nobody gets it again."""
        self._return.detach()
        self.stream, self._return = streams.take_for(self, self.device)
