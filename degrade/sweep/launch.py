"""Sweeps from the outside: show the runs, have a launcher train what is missing, show the errors."""

import os
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degrade.errors import DegradeError, NewerError, RunError, SpecError, Stopped, one_line
from degrade.spec import RunSpec
from degrade.spec.rules import digest
from degrade.store import folder, seal
from degrade.store.files import at_home, inside, read
from degrade.store.folder import RunDir
from degrade.store.state import OVER
from degrade.sweep import compose, expand, rerun
from degrade.sweep.cost import Prices, makespan
from degrade.sweep.estimate import measured
from degrade.sweep.workers import default_jobs, gpus
from degrade.views import tables
from degrade.views.terminal import console, share


@dataclass(frozen=True, kw_only=True)
class How:
    """The options of `degrade sweep`."""

    dry_run: bool = False
    fail_fast: bool = False
    retry_failed: bool = False
    reprobe: bool = False
    time_limit: str | None = None
    exclude: tuple[str, ...] = ()
    alone: bool = False  # `degrade train`: one run, no axes of the config


def launch(overrides: Sequence[str], how: How) -> int:
    """Trains what is missing. Returns the exit code: 0 where every run has a result, 1 where one failed or is not done,
    128 + the signal's number after a signal.

    States are read from the run folders, whatever launcher placed the runs. A run that failed before is tried again
    from its checkpoint; with `retry_failed`, nothing else is done. Finished runs that lack a probe that is asked for
    are trained again beside the first, with `reprobe` or if a person at the terminal says so.
    """
    code = failed = 0
    with expand.hydra():
        plan = limited(overrides, how) if how.time_limit is not None else expanded(overrides, how)
        if how.fail_fast:
            fail_fast(plan.config)
        tables.announce(plan.asked, plan.specs, plan.root)
        probed = () if how.retry_failed else plan.specs
        again = how.reprobe or rerun.offer(rerun.unprobed(probed, plan.root), plan.root, ask=not how.dry_run)
        if how.dry_run:
            return 0
        states = {job.spec.run: RunDir(plan.root, job.spec.run).standing()["state"] for job in plan.jobs}
        wanted = ("failed",) if how.retry_failed else (set(states.values()) - set(OVER))
        missing = [job.overrides for job in plan.jobs if states[job.spec.run] in wanted]
        if missing or again:
            folder.make_root(plan.root)
        try:
            if missing:
                launched(plan.config, missing)
            if again:
                bare = rerun.unprobed(probed, plan.root)  # with those that have just been mended
                failed = rerun.reprobe(bare, plan.root, jobs=plan.workers, fail_fast=how.fail_fast)
        except Stopped as stopped:
            code = 128 + stopped.signal
        except RunError:  # a run failed that could not write so: what the others came to is shown all the same
            tables.summary(plan.specs, plan.root)
            raise
    failed += tables.summary(plan.specs, plan.root)
    return code or int(tables.undone(plan.specs, plan.root) + failed > 0)


def expanded(overrides: Sequence[str], how: How) -> expand.Plan:
    plan = expand.expand(overrides, exclude=how.exclude, axes_of_config=not how.alone)
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


def launched(config: DictConfig, missing: Sequence[Sequence[str]]) -> None:
    """Has a launcher train what is missing. What goes wrong in one of others, for a value that it does not like, is one
    line; all of it where HYDRA_FULL_ERROR is set, as Hydra has it.
    """
    name = config.hydra.runtime.choices["hydra/launcher"]
    try:
        launcher_of(config).launch(missing, initial_job_idx=0)
    except (DegradeError, Stopped, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        if name == "workers" or "HYDRA_FULL_ERROR" in os.environ:
            raise
        raise SpecError(f"hydra/launcher={name}: {one_line(error)}; look at hydra.* keys, or leave it out") from error


def launcher_of(config: DictConfig) -> Launcher:
    """The launcher that `hydra/launcher=` names, ours or a third party's."""
    from hydra._internal.callbacks import Callbacks  # what launchers of others expect; Hydra has no public way to it

    context = HydraContext(config_loader=compose.config_loader(), callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=job, config=config)


def job(config: DictConfig) -> dict[str, str]:
    """What a launcher runs: one composed configuration. The last place a DictConfig exists."""
    from degrade.train import run  # only a process that trains loads torch

    spec, root = expand.spec_from(config), at_home(config.results)
    try:
        return run.run([spec], root)
    except RunError as error:
        if RunDir(root, spec.run).standing()["state"] == "damaged":  # its state stays as it is, and says no reason
            console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise


def price(overrides: Sequence[str], exclude: Sequence[str]) -> None:
    """`degrade plan`: the runs, what is done, and what the rest costs by a short measurement on this device."""
    with expand.hydra():
        plan = expand.expand(overrides, exclude=exclude)
    tables.announce(plan.asked, plan.specs, plan.root)
    rerun.offer(rerun.unprobed(plan.specs, plan.root), plan.root, ask=False)
    missing = [spec for spec in plan.specs if not RunDir(plan.root, spec.run).over]
    if missing:
        workers = workers_of(plan)
        prices = priced(missing, workers)
        cost = {spec.run: prices.of(spec) for spec in missing}
        for spec in missing:  # of a run that was begun, the rest
            left = 1 - share(RunDir(plan.root, spec.run).standing())
            cost[spec.run] = replace(cost[spec.run], seconds=cost[spec.run].seconds * left)
        seconds = prices.load + makespan([cost[spec.run].seconds for spec in missing], workers)
        tables.prices(missing, plan.root, cost, seconds, workers)


def limited(overrides: Sequence[str], how: How) -> expand.Plan:
    """The sweep with as many iterations as fit in `--time-limit`; milestones scale with them.

    The number is written down, so that the same command later means the same runs, however fast the machine is then.
    """
    limit = seconds_of(how.time_limit or "")
    plan = expanded(overrides, how)
    asked, *others = {spec.recipe.iterations for spec in plan.specs}
    if others:
        raise SpecError("--time-limit: the runs have different recipe.iterations; give one number for all, or none")
    name = f"{digest([sorted(spec.run for spec in plan.specs), limit])}.json"
    record = inside(plan.root, "time-limits", name)
    if record.exists():
        iterations = recorded(record)
    else:
        iterations = fitting(plan.specs, asked, limit, workers_of(plan))
        if iterations < 1:
            raise SpecError(f"--time-limit {how.time_limit}: less than one iteration of each run; allow more")
        if not how.dry_run:
            folder.make_root(plan.root)
            record.parent.mkdir(exist_ok=True)
            folder.write_json(record, {"limit": limit, "iterations": iterations, "runs": [s.run for s in plan.specs]})
    console.print(f"--time-limit {how.time_limit}: {iterations:,} iterations a run ({record})")
    return expanded([*overrides, f"recipe.iterations={iterations}"], how)


def recorded(record: Path) -> int:
    """Raises RunError for what this command has not written."""
    try:
        iterations = seal.of_json(read(record)).get("iterations")
        if isinstance(iterations, int) and iterations > 0:
            return iterations
        reason = f"iterations cannot be {iterations!r}"
    except (OSError, ValueError, NewerError) as error:
        reason = str(error)
    raise RunError(f"{record}: {reason}; remove it to measure anew")


def priced(specs: Sequence[RunSpec], workers: int) -> Prices:
    on_cpu = all(spec.engine.device == "cpu" for spec in specs)
    with console.status("measuring a few steps"):
        return measured(specs, workers, gpus=0 if on_cpu else gpus())


def fitting(specs: Sequence[RunSpec], asked: int, limit: float, workers: int) -> int:
    """The most iterations a run, up to `asked`, with which all end within `limit` seconds; 0 where one is too many.

    Not in proportion: every run ends with an evaluation, and every worker begins by loading its libraries.
    """
    prices = priced(specs, workers)

    def late(iterations: int) -> bool:
        scaled = (replace(spec, recipe=replace(spec.recipe, iterations=iterations)) for spec in specs)
        return prices.load + makespan([prices.of(spec).seconds for spec in scaled], workers) > limit

    return bisect_left(range(1, asked + 1), True, key=late)


def workers_of(plan: expand.Plan) -> int:
    return plan.workers or default_jobs(on_cpu=all(spec.engine.device == "cpu" for spec in plan.specs))


def seconds_of(limit: str) -> float:
    """90s, 30m, 2h or 1.5h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", limit)
    if not found:
        raise SpecError(f"--time-limit {limit}: must be seconds, minutes or hours, as in 90s, 30m, 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
