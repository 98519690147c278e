"""Which runs of a sweep a worker takes together, and in which order."""

from collections import deque
from collections.abc import Sequence

from degrade.spec import RunSpec

# Runs that share a GPU where engine.runs_per_gpu leaves it to us. By arithmetic, not measured: a lone step of
# ResNet-20 is some 200 kernels of 2 to 3 us, 0.5 ms, and its FLOPs and bytes take 0.15 to 0.2 ms of an H200.
AUTO_RUNS_PER_GPU = 4


class Queue:
    """Runs that wait for a worker, longest first, and which of them one worker takes together."""

    def __init__(self, specs: Sequence[RunSpec], workers: int, gpus: int) -> None:
        self.waiting = deque(sorted(specs, key=lambda spec: -spec.cost))
        self.workers, self.gpus = workers, gpus
        self.singly: set[str] = set()  # names of runs that go without others
        self.at_once = min(len(specs), self.workers * max(map(self._several, specs), default=1))

    def _several(self, spec: RunSpec) -> int:
        """How many runs one worker advances in turn: `engine.runs_per_gpu`, `auto` shared out over a GPU's workers."""
        asked = spec.engine.runs_per_gpu
        if isinstance(asked, int):
            return asked
        if not self.gpus or spec.engine.device == "cpu":
            return 1
        return max(1, AUTO_RUNS_PER_GPU * min(self.gpus, self.workers) // self.workers)

    def pack(self) -> list[RunSpec]:
        """The longest run, and after it the longest that can go beside it: as many as leave some for other workers."""
        first = self.waiting.popleft()
        if first.run in self.singly:
            return [first]
        most = min(self._several(first), -(-(len(self.waiting) + 1) // self.workers))
        fitting = [spec for spec in self.waiting if _pack_key(spec) == _pack_key(first) and spec.run not in self.singly]
        pack = [first, *fitting[: most - 1]]
        self.waiting = deque(spec for spec in self.waiting if spec not in pack)
        return pack

    def put_back(self, specs: Sequence[RunSpec]) -> None:
        """Runs to be tried once more, each by itself, before the others."""
        self.singly |= {spec.run for spec in specs}
        self.waiting.extendleft(reversed(specs))


def _pack_key(spec: RunSpec) -> tuple[object, ...]:
    """What runs of one pack have in common: the pictures, and what torch settles for a whole process."""
    engine = spec.engine
    return spec.data, engine.precision, engine.deterministic, engine.device, engine.threads, engine.runs_per_gpu
