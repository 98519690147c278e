"""A sweep from the outside: shows the runs, has a launcher train what is missing, shows how the runs ended."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from degrade.errors import RunError, SpecError, Stopped
from degrade.spec import RunSpec
from degrade.store.folder import RunDir
from degrade.store.results import board, make_root
from degrade.store.state import OVER, Board
from degrade.sweep import expand, launchers, limit, rerun
from degrade.views import tables
from degrade.views.sheets import Show
from degrade.views.terminal import moves, show

# A study of one seed -> the same study with several.
_SEEDED = {"study=quickstart": "study=quickstart3", "study=fig6": "study=fig6_seeds"}


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


def launch(overrides: Sequence[str], how: How, show: Show = show) -> int:
    """Trains what is missing. Returns the exit code: 0 where every run has a result, 1 where one failed or is not done,
    128 + the signal's number after a signal.

    States are read from the run folders, whatever launcher placed the runs: once before, and once after something was
    trained. A run that failed before is tried again from its checkpoint; `retry_failed` trains such runs only.
    Finished runs without the probe that is asked for are trained again beside the first, with `reprobe` or if a person
    at the terminal agrees. `show` gets the sheets.
    """
    with expand.hydra():
        plan = _plan_sweep(overrides, how, recall=True)
        if plan.unseen and not how.dry_run:
            launchers.choose(plan, fail_fast=how.fail_fast).check(plan.unseen)  # before anything is fetched or decoded
            plan = _plan_sweep(overrides, how)
        launcher = launchers.choose(plan, fail_fast=how.fail_fast)
        before = board(plan.specs, plan.root)
        missing = _choose_missing(plan.specs, before, how)
        launcher.check(missing)
        # the live table has the same rows
        brief = bool(missing) and not how.dry_run and moves() and isinstance(launcher, launchers.Workers)
        show([tables.runs(plan.asked, plan.specs, before, plan.root, brief=brief)])
        probed = () if how.retry_failed else plan.specs
        bare = rerun.find_unprobed(probed, plan.root, before)
        again = how.reprobe or rerun.offer(bare, plan.root, ask=not how.dry_run)
        if how.dry_run:
            return 0
        if missing or again:
            make_root(plan.root)
        for spec in plan.specs:
            if spec.data.label and before[spec.run].name != "new":
                RunDir(plan.root, spec.run).relabel(spec.data.label)
        code = failed = 0
        try:
            if missing:
                launcher.launch(missing, plan.root)
            if again:
                bare = rerun.find_unprobed(probed, plan.root, board(probed, plan.root))  # also runs just mended
                failed = rerun.reprobe(bare, plan.root, jobs=plan.workers, fail_fast=how.fail_fast, show=show)
        except Stopped as stopped:
            code = 128 + stopped.signal
        except RunError:  # a run failed and could not write so: how the others ended is shown anyway
            show(tables.ends(plan.specs, board(plan.specs, plan.root), plan.root))
            raise
        after = board(plan.specs, plan.root) if missing or again else before
        seeded = _suggest_seeds(overrides)
        show([*tables.ends(plan.specs, after, plan.root, seeded), tables.remainder(after)])
    broken = sum(state.broken for state in after.values())
    return code or int(len(tables.unfinished_states(after)) + broken + failed > 0)


def _choose_missing(specs: Sequence[RunSpec], before: Board, how: How) -> list[RunSpec]:
    """Picks the runs to train."""
    if how.retry_failed:
        return [spec for spec in specs if before[spec.run].name == "failed"]
    return [spec for spec in specs if before[spec.run].name not in OVER]


def _suggest_seeds(overrides: Sequence[str]) -> str:
    """The command that trains three seeds or more of the same sweep."""
    words = [_SEEDED.get(word, word) for word in overrides if not word.startswith("seed=")]
    return shlex.join(["degrade", "sweep", *words, *([] if {*words} & {*_SEEDED.values()} else ["seed=0,1,2"])])


def _plan_sweep(overrides: Sequence[str], how: How, *, recall: bool = False) -> expand.Plan:
    """Expands a command line. `recall`: fetches and decodes no pictures, unless a time limit has to be measured."""
    plan = _expand_runs(overrides, how, recall=recall and how.time_limit is None)
    if how.time_limit is None:
        return plan
    iterations = limit.choose_iterations(plan, how.time_limit, dry_run=how.dry_run)
    others = [word for word in overrides if not word.startswith("recipe.iterations=")]
    return _expand_runs([*others, f"recipe.iterations={iterations}"], how)


def _expand_runs(overrides: Sequence[str], how: How, *, recall: bool = False) -> expand.Plan:
    plan = expand.expand(overrides, exclude=how.exclude, axes_of_config=not how.alone, recall=recall)
    if how.alone and len(plan.jobs) > 1:
        said = f"is {len(plan.jobs)} runs; `degrade train` does one, `degrade sweep` all"
        raise SpecError(f"{' '.join(overrides)}: {said}")
    return plan
