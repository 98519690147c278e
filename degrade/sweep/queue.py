"""The order in which workers take the runs of a sweep, and which runs one worker takes together."""

from collections import deque
from collections.abc import Sequence

from degrade.spec import RunSpec

# Runs that share a GPU where engine.runs_per_gpu=auto. By arithmetic, not measured: a lone step of
# ResNet-20 is some 200 kernels of 2 to 3 us, 0.5 ms, and its FLOPs and bytes take 0.15 to 0.2 ms of an H200.
AUTO_RUNS_PER_GPU = 4


class Queue:
    """Runs that wait for a worker, longest first. A worker takes a pack of runs at a time."""

    def __init__(self, specs: Sequence[RunSpec], workers: int, gpus: int) -> None:
        self.waiting = deque(sorted(specs, key=lambda spec: -spec.cost))
        self.workers, self.gpus = workers, gpus
        self.singly: set[str] = set()  # names of runs that get a worker to themselves
        self.at_once = min(len(specs), self.workers * max(map(self._several, specs), default=1))

    def _several(self, spec: RunSpec) -> int:
        """Counts the runs that a worker advances in turn: `engine.runs_per_gpu`; a GPU's workers share out `auto`."""
        asked = spec.engine.runs_per_gpu
        if isinstance(asked, int):
            return asked
        if not self.gpus or spec.engine.device == "cpu":
            return 1
        return max(1, AUTO_RUNS_PER_GPU * min(self.gpus, self.workers) // self.workers)

    def pack(self) -> list[RunSpec]:
        """Takes the longest run and the longest that can go beside it, but leaves some for other workers."""
        first = self.waiting.popleft()
        if first.run in self.singly:
            return [first]
        most = min(self._several(first), -(-(len(self.waiting) + 1) // self.workers))
        fitting = [spec for spec in self.waiting if _pack_key(spec) == _pack_key(first) and spec.run not in self.singly]
        pack = [first, *fitting[: most - 1]]
        self.waiting = deque(spec for spec in self.waiting if spec not in pack)
        return pack

    def put_back(self, specs: Sequence[RunSpec]) -> None:
        """Puts runs back, to be tried once more before the others, each by itself."""
        self.singly |= {spec.run for spec in specs}
        self.waiting.extendleft(reversed(specs))


def _pack_key(spec: RunSpec) -> tuple[object, ...]:
    """A key that the runs of a pack share: the pictures, and what torch settles for a whole process."""
    engine = spec.engine
    return spec.data, engine.precision, engine.deterministic, engine.device, engine.threads, engine.runs_per_gpu
