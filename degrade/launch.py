"""Sweeps from the outside: show the runs, have a launcher train what is missing, show the errors."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from degrade import store, sweep, tables
from degrade.checked import digest
from degrade.errors import RunError, SpecError, Stopped
from degrade.screen import console
from degrade.spec import RunSpec
from degrade.store import OVER, RunDir, find, spec_at
from degrade.workers import default_jobs, train

if TYPE_CHECKING:
    from degrade.plan import Price


@dataclass(frozen=True, kw_only=True)
class How:
    """The options of `degrade sweep`."""

    dry_run: bool = False
    fail_fast: bool = False
    retry_failed: bool = False
    time_limit: str | None = None
    exclude: tuple[str, ...] = ()
    alone: bool = False  # `degrade train`: one run, no axes of the config


def launch(overrides: Sequence[str], how: How) -> int:
    """Trains what is missing. Returns the exit code: 1 where runs failed, 128 + the signal's number after a signal.

    States are read from the run folders, whatever launcher placed the runs. A run that failed before is tried again
    from its checkpoint; with `retry_failed`, nothing else is done.
    """
    code = 0
    with sweep.hydra():
        plan = limited(overrides, how) if how.time_limit is not None else expanded(overrides, how)
        if how.fail_fast:
            fail_fast(plan.config)
        tables.announce(plan.asked, plan.specs, plan.root)
        if how.dry_run:
            return 0
        store.make_root(plan.root)
        states = {job.spec.run: RunDir(plan.root, job.spec.run).read_state()["state"] for job in plan.jobs}
        wanted = ("failed",) if how.retry_failed else (set(states.values()) - set(OVER))
        missing = [job.overrides for job in plan.jobs if states[job.spec.run] in wanted]
        try:
            if missing:
                launcher_of(plan.config).launch(missing, initial_job_idx=0)
        except Stopped as stopped:
            code = 128 + stopped.signal
    failed = tables.summary(plan.specs, plan.root)
    return code or int(failed > 0)


def expanded(overrides: Sequence[str], how: How) -> sweep.Plan:
    plan = sweep.expand(overrides, exclude=how.exclude, axes_of_config=not how.alone)
    if how.alone and len(plan.jobs) > 1:
        raise SpecError(
            f"{' '.join(overrides)}: is {len(plan.jobs)} runs; `degrade train` does one, `degrade sweep` all"
        )
    return plan


def fail_fast(config: DictConfig) -> None:
    """Tells our launcher to stop at the first failure; others cannot."""
    chosen = config.hydra.runtime.choices["hydra/launcher"]
    if chosen != "workers":
        raise SpecError(f"--fail-fast: hydra/launcher={chosen} cannot; use hydra/launcher=workers, or leave it out")
    OmegaConf.update(config, "hydra.launcher.fail_fast", True)


def launcher_of(config: DictConfig) -> Launcher:
    """The launcher that `hydra/launcher=` names, ours or a third party's."""
    from hydra._internal.callbacks import Callbacks  # what launchers of others expect; Hydra has no public way to it

    context = HydraContext(config_loader=sweep.config_loader(), callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=job, config=config)


def job(config: DictConfig) -> dict[str, str]:
    """What a launcher runs: one composed configuration. The last place a DictConfig exists."""
    from degrade import experiment  # only a process that trains loads torch

    return experiment.run([sweep.spec_from(config)], Path(config.results).expanduser())


def price(overrides: Sequence[str], exclude: Sequence[str]) -> None:
    """`degrade plan`: the runs, what is done, and what the rest costs by a short measurement on this device."""
    with sweep.hydra():
        plan = sweep.expand(overrides, exclude=exclude)
    tables.announce(plan.asked, plan.specs, plan.root)
    missing = [spec for spec in plan.specs if not RunDir(plan.root, spec.run).over]
    if missing:
        cost, workers = costs(missing), workers_of(plan)
        for spec in missing:  # of a run that was begun, the rest
            left = 1 - RunDir(plan.root, spec.run).read_state().get("iteration", 0) / spec.recipe.iterations
            cost[spec.run] = replace(cost[spec.run], seconds=cost[spec.run].seconds * left)
        seconds = makespan(missing, cost, workers)
        tables.prices(missing, plan.root, cost, seconds, workers)


def limited(overrides: Sequence[str], how: How) -> sweep.Plan:
    """The sweep with as many iterations as fit in `--time-limit`; milestones scale with them.

    The number is written down, so that the same command later means the same runs, however fast the machine is then.
    """
    limit = seconds_of(how.time_limit or "")
    plan = expanded(overrides, how)
    asked, *others = {spec.recipe.iterations for spec in plan.specs}
    if others:
        raise SpecError("--time-limit: the runs have different recipe.iterations; give one number for all, or none")
    record = plan.root / "time-limits" / f"{digest([sorted(spec.run for spec in plan.specs), limit])}.json"
    if record.exists():
        iterations = json.loads(record.read_bytes())["iterations"]
    else:
        seconds = makespan(plan.specs, costs(plan.specs), workers_of(plan))
        iterations = min(asked, int(asked * limit / seconds))
        if iterations < 1:
            raise SpecError(f"--time-limit {how.time_limit}: less than one iteration of each run; allow more")
        if not how.dry_run:
            store.make_root(plan.root)
            record.parent.mkdir(exist_ok=True)
            store.write_json(record, {"limit": limit, "iterations": iterations, "runs": [s.run for s in plan.specs]})
    console.print(f"--time-limit {how.time_limit}: {iterations:,} iterations a run ({record})")
    return expanded([*overrides, f"recipe.iterations={iterations}"], how)


def costs(specs: Sequence[RunSpec]) -> "dict[str, Price]":
    from degrade.plan import Prices  # loads torch

    prices = Prices()
    return {spec.run: prices.of(spec) for spec in specs}


def makespan(specs: Sequence[RunSpec], cost: "dict[str, Price]", workers: int) -> float:
    from degrade.plan import makespan

    return makespan([cost[spec.run].seconds for spec in specs], workers)


def workers_of(plan: sweep.Plan) -> int:
    return plan.workers or default_jobs(on_cpu=all(spec.engine.device == "cpu" for spec in plan.specs))


def seconds_of(limit: str) -> float:
    """90s, 30m, 2h or 1.5h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", limit)
    if not found:
        raise SpecError(f"--time-limit {limit}: must be seconds, minutes or hours, as in 90s, 30m, 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def rerun(run: str, results: Path) -> int:
    """Trains a stored run once more, in reruns/<n>/ of its results folder, and says whether the curve is the same.

    Raises RunError for a run that is not over, or whose pictures have changed.
    """
    folder, root = find(run, results)
    if not folder.over:
        raise RunError(f"{folder.run}: is {folder.standing()['state']}; only what is finished can be compared with")
    spec = spec_at(folder)
    if sweep.prepared(spec.data).content != spec.data.content:
        raise RunError(f"{folder.run}: the pictures under {spec.data.root} are not those it was trained on any more")
    tries = (root / "reruns" / str(n) for n in range(1, 10**6))
    into = next(path for path in tries if not RunDir(path, spec.run).over)  # one that was stopped goes on
    try:
        train([spec], into, jobs=1)
    except Stopped as stopped:
        console.print(f"stopped; go on with: degrade rerun {folder.path}")
        return 128 + stopped.signal
    if tables.summary([spec], into):
        return 1
    again = RunDir(into, spec.run)
    said = "the same curve to the last bit"
    if not store.same_curve(folder.curve, again.curve):
        said = f"another curve; other hardware, threads or versions do that (compare {again.environment.name})"
    console.print(f"{again.path}: {said}")
    return 0
