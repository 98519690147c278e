"""Times our loops beside the loop of common practice, the peer, in one run, and checks that ours compute the same.

Other rooms use `Asked` and `measure` here, and `writing` for the tables and the JSON of a Report. benchmarks/README.md
says how to read the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from degrade.bench.cases import paper, quickstart
from degrade.bench.exact import NETS, QUICK_NETS, Exactness, compare_with_float64, parse_net
from degrade.bench.limit import Peak, peaks
from degrade.bench.machine import Machine, cores, machine
from degrade.bench.same import STEPS, Sameness, compare_loops, find_available
from degrade.bench.timing import How, Measured, time_case
from degrade.data import quiet
from degrade.data.images import Note
from degrade.errors import SpecError, pick
from degrade.spec import EngineSpec, NetSpec
from degrade.spec.parts import CHOICES
from degrade.train.backends import BACKENDS
from degrade.train.processor import pick_device

LOOPS = tuple(f"{backend}-{precision}" for backend in BACKENDS for precision in CHOICES["engine.precision"])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to measure, and how long."""

    depths: tuple[int, ...] = (20, 56, 110)  # the paper's, Table 6
    only: tuple[str, ...] = ()  # names of LOOPS; empty: all
    device: str = "auto"
    threads: int | None = None  # None: all cores, as for a run alone
    seconds: float = 0.8  # of one loop in one round; at least one step
    rounds: int = 5
    check: bool = False  # only sameness, exactness, and that every loop runs; no times
    steps: int = STEPS  # in the comparison with eager fp32
    float64: tuple[str, ...] = ()  # nets to compare with float64; empty: QUICK_NETS with `check`, else NETS

    def __post_init__(self) -> None:
        """Raises SpecError for values that cannot be."""
        for depth in self.depths:
            NetSpec(depth=depth)
        for loop in self.only:
            pick(dict.fromkeys(LOOPS), loop, "--only")
        for net in self.float64:
            parse_net(net)
        EngineSpec(threads=self.cores, device=self.device)
        if not self.depths:
            raise SpecError("--depth=: names no depth; use 20,56,110")
        if not 0 < self.seconds < 3600:
            raise SpecError(f"--seconds={self.seconds:g}: must be above 0, and below an hour")
        if self.rounds < 1:
            raise SpecError(f"--rounds={self.rounds}: must be at least 1")

    @property
    def cores(self) -> int:
        return cores() if self.threads is None else self.threads


@dataclass(frozen=True)
class Report:
    """All results of a measurement."""

    machine: Machine
    threads: int
    seconds: float  # of one loop in one round
    rounds: int
    peaks: dict[str, Peak]  # by precision; empty where only sameness is asked
    same: tuple[Sameness, ...]
    exact: tuple[Exactness, ...]
    unavailable: dict[str, str]  # loop -> why it cannot be had here
    cases: tuple[Measured, ...]
    timed: bool  # false: the rounds were too short to tell times

    @property
    def ok(self) -> bool:
        """Whether every loop computes the same as eager fp32, and is as near to float64 as plain torch."""
        return all(row.ok for row in (*self.same, *self.exact))


def measure(asked: Asked, command: str = "", note: Note = quiet) -> Report:
    """Measures sameness and exactness, then the limit, then the rounds of each case. `note` hears of the progress.

    Raises SpecError where none of the loops can be had.
    """
    device = pick_device(asked.device)
    loops, refused = find_available(asked.only or LOOPS, device.type)
    if not loops:
        raise SpecError(f"--only={','.join(asked.only)}: cannot be had here: {'; '.join(refused.values())}")
    here = machine(device, command)
    same = compare_loops(loops, device.type, steps=asked.steps, note=note)
    nets = asked.float64 or (QUICK_NETS if asked.check else NETS)
    exact = compare_with_float64(loops, device.type, nets, note)
    how = How(device, asked.cores, (0, here.cores), asked.seconds, asked.rounds)
    if asked.check:
        how = replace(how, workers=(0,), seconds=min(asked.seconds, 0.2), rounds=1)
        cases = [quickstart(depth) for depth in asked.depths[:1]]
        found: dict[str, Peak] = {}
    else:
        cases = [*map(paper, asked.depths), *map(quickstart, asked.depths)]
        found = peaks(device, asked.cores, asked.seconds / 2, note)
    measured = tuple(time_case(case, loops, how, found, note) for case in cases)
    return Report(
        here, how.threads, how.seconds, how.rounds, found, tuple(same), tuple(exact), refused, measured, not asked.check
    )


__all__: Sequence[str] = ["LOOPS", "Asked", "Report", "measure"]
