"""`degrade plan`: what a sweep would train, and what it would cost here, by a short measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from degrade.spec import RunSpec
from degrade.store.results import board
from degrade.store.state import Board
from degrade.sweep import expand, launchers, rerun
from degrade.sweep.cost import Price, Prices, makespan
from degrade.sweep.estimate import measure_kinds
from degrade.train.devices import gpus, refuse_missing
from degrade.train.processes import default_jobs
from degrade.views import tables
from degrade.views.sheets import Sheet, Show
from degrade.views.steps import count_hidden, most_rows
from degrade.views.tables import size
from degrade.views.terminal import console, duration, show

COST_COLUMNS = {  # of the table `costs`
    "run": "name of the run",
    "iterations": "SGD steps of the whole schedule",
    "epochs": "passes over the training set",
    "seconds": "of training, probes and evaluation that are left, beside as many others as there are workers",
    "memory": "bytes at the peak: resident in the worker process, or of the GPU where it trains on one",
    "disk": "bytes when it is finished: two checkpoints and the curve",
}


def price(overrides: Sequence[str], exclude: Sequence[str], show: Show = show) -> None:
    """Shows the runs, how they stand, and what the rest costs by a short measurement on this device."""
    with expand.hydra():
        plan = expand.expand(overrides, exclude=exclude, recall=True)
        launchers.choose(plan)  # it may refuse a word
        if plan.unseen:  # the list comes first, since it needs no pictures
            _show_runs(plan, board(plan.specs, plan.root), show)
            plan = expand.expand(overrides, exclude=exclude)
    stand = board(plan.specs, plan.root)
    missing = [spec for spec in plan.specs if not stand[spec.run].over]
    _show_runs(plan, stand, show)
    rerun.offer(rerun.find_unprobed(plan.specs, plan.root, stand), plan.root, ask=False)
    if missing:
        workers = count_workers(plan)
        prices = measure_prices(missing, workers)
        cost: dict[str, Price] = {}
        for spec in missing:  # a run that has begun costs only its rest
            whole = prices.of(spec)
            cost[spec.run] = replace(whole, seconds=whole.seconds * (1 - stand[spec.run].share))
        seconds = prices.load + makespan([each.seconds for each in cost.values()], workers)
        show([_cost_sheet(plan, missing, cost, seconds, workers)])


def _show_runs(plan: expand.Plan, stand: Board, show: Show) -> None:
    """Shows the runs. Raises SpecError before, for a run that needs what this machine lacks."""
    for spec in plan.specs:
        if not stand[spec.run].over:
            refuse_missing(spec)
    show([tables.runs(plan.asked, plan.specs, stand, plan.root)])


def _cost_sheet(
    plan: expand.Plan, specs: Sequence[RunSpec], cost: Mapping[str, Price], seconds: float, workers: int
) -> Sheet:
    """Makes a sheet of what each missing run costs, and all of them together."""
    records = [{"run": spec.run, "iterations": spec.recipe.iterations, **asdict(cost[spec.run])} for spec in specs]
    rows = [_cells(spec, cost[spec.run]) for spec in specs[: most_rows()]]
    disk = size(sum(each.disk for each in cost.values()))
    said = f"{len(specs)} runs to do: about {duration(seconds)} on {workers} workers, {disk} in {plan.root}"
    columns = ("run", ">iterations", ">epochs", ">time", ">memory")
    return Sheet(columns=columns, rows=rows, lines=(*count_hidden(len(specs)), said), name="costs", records=records)


def _cells(spec: RunSpec, cost: Price) -> tuple[str, ...]:
    first = (spec.run, f"{spec.recipe.iterations:,}", f"{cost.epochs:.1f}")
    return *first, duration(cost.seconds), size(cost.memory)


def measure_prices(specs: Sequence[RunSpec], workers: int) -> Prices:
    """Prices these runs, measured side by side, as `workers` of them will run."""
    on_cpu = all(spec.engine.device == "cpu" for spec in specs)
    with console.status("measuring a few steps"):
        return measure_kinds(specs, workers, gpus=0 if on_cpu else gpus())


def count_workers(plan: expand.Plan) -> int:
    """Counts the worker processes of a sweep."""
    return plan.workers or default_jobs(on_cpu=all(spec.engine.device == "cpu" for spec in plan.specs))
