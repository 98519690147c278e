"""`--time-limit`: the iterations a run with which a whole sweep ends within a time. Milestones scale with them."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from degrade.errors import NewerError, RunError, SpecError
from degrade.spec import RunSpec
from degrade.spec.rules import digest
from degrade.store import seal
from degrade.store.files import inside, read
from degrade.store.folder import write_json
from degrade.store.results import make_root
from degrade.sweep.cost import makespan
from degrade.sweep.expand import Plan
from degrade.sweep.price import count_workers, measure_prices
from degrade.views.terminal import console


def choose_iterations(plan: Plan, limit: str, *, dry_run: bool) -> int:
    """Chooses the iterations of each run.

    The number is stored, so that the same command means the same runs later, however fast the machine is then.
    Raises SpecError for a bad time, for runs of different schedules, and where there is no time for one step.
    """
    seconds = _parse_seconds(limit)
    asked, *others = {spec.recipe.iterations for spec in plan.specs}
    if others:
        raise SpecError("--time-limit: the runs have different recipe.iterations; give one number for all, or none")
    name = f"{digest([sorted(spec.run for spec in plan.specs), seconds])}.json"
    record = inside(plan.root, "time-limits", name)
    if record.exists():
        found = read_record(record)
    else:
        found = _fit_iterations(plan.specs, asked, seconds, count_workers(plan))
        if found < 1:
            raise SpecError(f"--time-limit {limit}: less than one iteration of each run; allow more")
        if not dry_run:
            make_root(plan.root)
            record.parent.mkdir(exist_ok=True)
            write_json(record, {"limit": seconds, "iterations": found, "runs": [s.run for s in plan.specs]})
    console.print(f"--time-limit {limit}: {found:,} iterations a run ({record})")
    return found


def read_record(record: Path) -> int:
    """Reads the stored number of iterations. Raises RunError for a file that this command did not write."""
    try:
        iterations = seal.of_json(read(record)).get("iterations")
        if isinstance(iterations, int) and iterations > 0:
            return iterations
        reason = f"iterations cannot be {iterations!r}"
    except (OSError, ValueError, NewerError) as error:
        reason = str(error)
    raise RunError(f"{record}: {reason}; remove it to measure anew")


def _fit_iterations(specs: Sequence[RunSpec], asked: int, limit: float, workers: int) -> int:
    """Finds the most iterations a run, up to `asked`, with which all end within `limit` seconds; 0 if one is too many.

    Time is not proportional to iterations: a run ends with an evaluation, and a worker first loads its libraries.
    """
    prices = measure_prices(specs, workers)

    def late(iterations: int) -> bool:
        scaled = (replace(spec, recipe=replace(spec.recipe, iterations=iterations)) for spec in specs)
        return prices.load + makespan([prices.of(spec).seconds for spec in scaled], workers) > limit

    return bisect_left(range(1, asked + 1), True, key=late)


def _parse_seconds(limit: str) -> float:
    """Parses 90s, 30m, 2h or 1.5h. Raises SpecError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", limit)
    if not found:
        raise SpecError(f"--time-limit {limit}: must be seconds, minutes or hours, as in 90s, 30m, 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
