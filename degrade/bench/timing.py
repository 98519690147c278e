"""The rounds: times all loops of one case in turn, and makes a row of each loop."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from degrade.bench.apart import Apart, Round
from degrade.bench.cases import Case
from degrade.bench.limit import Peak
from degrade.bench.ours import Ours, Shares, engine_of, shares
from degrade.bench.peer import Peer
from degrade.data.images import Note
from degrade.errors import SpecError

_PEER = "peer"  # the beginning of the names of its loops


@dataclass(frozen=True)
class How:
    """The settings that all cases of a measurement share."""

    device: torch.device
    threads: int
    workers: tuple[int, ...]  # of the peer's loader: each number is tried, and the best counts
    seconds: float  # of one loop in one round
    rounds: int


@dataclass(frozen=True)
class Row:
    """One loop at one case."""

    loop: str
    images_per_second: float  # median over rounds
    least: float
    most: float
    rounds: tuple[float, ...]  # images/s of each
    step: float  # seconds, of the median round
    ratio: float  # images/s over images/s of the best peer
    of_limit: float  # FLOP/s over the peak in its precision; 0 where there is no peak
    memory: int  # the most bytes held
    run: float  # seconds of the recipe's iterations; for our loops, with all work besides the steps
    shares: Shares | None  # None for a peer, which does only steps here


@dataclass(frozen=True)
class Measured:
    """A case and its rows."""

    case: Case
    flops: float  # of a training step, per image
    rows: tuple[Row, ...]
    unavailable: dict[str, str]  # loop -> why

    @property
    def peer(self) -> Row:
        return _best_peer(self.rows)


def _best_peer(rows: Sequence[Row]) -> Row:
    return max((row for row in rows if row.loop.startswith(_PEER)), key=lambda row: row.images_per_second)


def _precision_of(loop: str) -> str:
    return "fp32" if loop.startswith(_PEER) else loop.rsplit("-", 1)[1]


def time_case(case: Case, loops: Sequence[str], how: How, peaks: Mapping[str, Peak], note: Note) -> Measured:
    """Times the peers and `loops` in interleaved rounds, each in its own process."""
    with ExitStack() as stack:
        made = {
            f"{_PEER}, {n} workers": partial(Peer, case, how.device, workers=n, threads=how.threads)
            for n in how.workers
        }
        ours = {loop: partial(Ours, case, engine_of(loop, how.device.type, how.threads)) for loop in loops}
        apart = {name: stack.enter_context(Apart(make)) for name, make in {**made, **ours}.items()}
        refused: dict[str, str] = {}
        for name, process in list(apart.items()):
            note(case.name, 0, how.rounds + 1)
            try:
                process.ask("warm", how.seconds)
            except SpecError as error:
                refused[name] = str(error)
                del apart[name]
        rounds = _interleave_rounds(case, apart, how, note)
        memory = {name: process.ask("memory", str(how.device)) for name, process in apart.items()}
        steps = {name: median(each.seconds / each.steps for each in rounds[name]) for name in apart}
        spent = {name: shares(case, steps[name], apart[name].ask("aside")) for name in ours if name in apart}
    base = max(_rate(rounds[name]) for name in made)
    rows = tuple(_make_row(name, rounds[name], base, case, peaks, memory[name], spent.get(name)) for name in apart)
    return Measured(case, case.flops, rows, refused)


def _interleave_rounds(case: Case, apart: Mapping[str, Apart], how: How, note: Note) -> dict[str, list[Round]]:
    """loop -> its rounds. Every other round goes backwards, so that a machine that slows down slows all loops alike."""
    rounds = {name: list[Round]() for name in apart}
    for number in range(how.rounds):
        for name in list(apart)[:: 1 if number % 2 == 0 else -1]:
            rounds[name].append(apart[name].ask("round", how.seconds))
        note(case.name, number + 2, how.rounds + 1)
    return rounds


def _rate(rounds: Sequence[Round]) -> float:
    return median(each.images / each.seconds for each in rounds)


def _make_row(
    name: str,
    rounds: Sequence[Round],
    base: float,
    case: Case,
    peaks: Mapping[str, Peak],
    memory: int,
    spent: Shares | None,
) -> Row:
    rates, step = (
        tuple(each.images / each.seconds for each in rounds),
        median(each.seconds / each.steps for each in rounds),
    )
    peak = peaks.get(_precision_of(name))
    return Row(
        loop=name,
        images_per_second=median(rates),
        least=min(rates),
        most=max(rates),
        rounds=rates,
        step=step,
        ratio=median(rates) / base,
        of_limit=median(rates) * case.flops / peak.flops if peak else 0.0,
        memory=memory,
        run=spent.total if spent else case.recipe.iterations * step,
        shares=spent,
    )
