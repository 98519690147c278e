"""Who trains the runs of a sweep: launchers with one interface. A new one is a class here and a line in LAUNCHERS.

`hydra/launcher=NAME` chooses a launcher. Launchers of Hydra and of third parties take words instead of runs: `Words`
hands them the words that asked for each run.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from degrade.errors import DegradeError, RunError, SpecError, Stopped, nearest, one_line
from degrade.spec import RunSpec
from degrade.spec.rules import convert
from degrade.store.folder import RunDir
from degrade.sweep import compose, expand, workers
from degrade.train.devices import refuse_missing
from degrade.views.terminal import console


class Launcher(Protocol):
    """Trains runs somewhere. How each run ended stands in its folder."""

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Raises SpecError, before anything starts, for a run that cannot be trained there."""
        ...

    def launch(self, specs: Sequence[RunSpec], root: Path) -> None:
        """Returns when there is nothing left to wait for. Raises Stopped after a signal, and RunError where a run
        failed and could not write so."""
        ...


@dataclass(frozen=True)
class Workers:
    """Processes on this machine, each with one run, or pack of runs, at a time."""

    jobs: int | None = None  # None: one a core, or one a GPU
    fail_fast: bool = False

    def check(self, specs: Sequence[RunSpec]) -> None:
        for spec in specs:
            refuse_missing(spec)

    def launch(self, specs: Sequence[RunSpec], root: Path) -> None:
        workers.train(specs, root, jobs=self.jobs, fail_fast=self.fail_fast)


@dataclass(frozen=True)
class Words:
    """A launcher that takes words: Hydra's own `basic`, or a third party's."""

    config: DictConfig
    words: Mapping[str, Sequence[str]]  # run -> the key=value words that asked for it

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Its machines may have what this one lacks."""

    def launch(self, specs: Sequence[RunSpec], root: Path) -> None:
        """As `Launcher.launch`. An error of the launcher becomes one line, unless HYDRA_FULL_ERROR is set."""
        name = self.config.hydra.runtime.choices["hydra/launcher"]
        try:
            self._make().launch([self.words[spec.run] for spec in specs], initial_job_idx=0)
        except (DegradeError, Stopped, HydraException, OmegaConfBaseException):
            raise
        except Exception as error:
            if "HYDRA_FULL_ERROR" in os.environ:
                raise
            raise SpecError(
                f"hydra/launcher={name}: {one_line(error)}; look at hydra.* keys, or leave it out"
            ) from error

    def _make(self) -> HydraLauncher:
        from hydra._internal.callbacks import Callbacks  # launchers expect it; Hydra offers it nowhere public

        context = HydraContext(config_loader=compose.config_loader(), callbacks=Callbacks())
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=_train, config=self.config)


def _train(config: DictConfig) -> dict[str, str]:
    """Trains one composed configuration: the task of a launcher that takes words."""
    from degrade.train import run  # only a process that trains loads torch

    spec, root = expand.to_spec(config), expand.read_root(config)
    try:
        return run.run([spec], root, made=True)
    except RunError as error:
        if RunDir(root, spec.run).standing().name == "damaged":  # its state gives no reason
            console.print(str(error), style="red", highlight=False, soft_wrap=True)
        raise


LAUNCHERS: dict[str, Callable[[expand.Plan, bool], Launcher]] = {  # that take runs; from (the sweep, --fail-fast)
    "workers": lambda plan, fail_fast: Workers(plan.workers, _read_options(plan, fail_fast=fail_fast)["fail_fast"]),
}


def _read_options(plan: expand.Plan, **known: bool) -> dict[str, bool]:
    """Reads hydra.launcher.*: a key is on if it is on there or in `known`.

    Raises SpecError for other keys and types.
    """
    given = {str(key): value for key, value in plan.config.hydra.launcher.items() if key != "_target_"}
    for key, value in given.items():
        if key not in known:
            raise SpecError(f"hydra.launcher.{key}: no such key; {nearest(key, known)}")
        convert(f"hydra.launcher.{key}", value, bool)
    return {key: on or bool(given.get(key)) for key, on in known.items()}


def choose(plan: expand.Plan, *, fail_fast: bool = False) -> Launcher:
    """Makes the launcher that a command line names.

    Raises SpecError where `fail_fast` is set and it cannot do that, and for a word to Hydra that changes nothing.
    """
    name = plan.config.hydra.runtime.choices["hydra/launcher"]
    _refuse_dead(plan.words, own=name in LAUNCHERS)
    if name in LAUNCHERS:
        return LAUNCHERS[name](plan, fail_fast)
    if fail_fast:
        raise SpecError(f"--fail-fast: hydra/launcher={name} cannot; use hydra/launcher=workers, or leave it out")
    return Words(plan.config, {job.spec.run: job.overrides for job in plan.jobs})


_LIVE = re.compile(
    r"hydra(/launcher|\.launcher\..*|\.sweeper\.params.*)"
)  # what our own launchers read of Hydra's keys


def _refuse_dead(words: Sequence[str], *, own: bool) -> None:
    """Raises SpecError for a word to Hydra that changes nothing. Launchers of others may read all but hydra.run."""
    for word in words:
        key = compose.parse_override(word).key_or_group
        if re.match(r"hydra[./]", key) and (key.startswith("hydra.run.") or (own and not _LIVE.fullmatch(key))):
            way_out = "results=FOLDER says where results go" if key.endswith((".dir", "subdir")) else "leave it out"
            raise SpecError(f"{word}: changes nothing here; {way_out}")
