"""`hydra/launcher=workers`: the runs of a sweep on this machine. Thin: degrade.sweep.launchers does the work.

Hydra executes every plugin module at each start, so nothing heavy is imported here.
"""

from collections.abc import Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class WorkersLauncher(Launcher):
    """Spawned processes; each trains one run after another."""

    def __init__(self, fail_fast: bool = False) -> None:
        self.fail_fast = fail_fast

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from degrade.sweep import expand
        from degrade.sweep.launchers import Workers

        specs = [expand.compose_spec(overrides) for overrides in job_overrides]
        Workers(self.config.jobs, self.fail_fast).launch(specs, expand.read_root(self.config))
        return []  # how a run ended stands in its folder


ConfigStore.instance().store(
    group="hydra/launcher",
    name="workers",
    node={"_target_": "hydra_plugins.degrade.workers.WorkersLauncher", "fail_fast": False},
    provider="degrade",
)
