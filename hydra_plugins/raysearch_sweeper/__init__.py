"""Hydra's door to raysearch: `python train.py --multirun hydra/sweeper=raysearch 'lr=interval(0.001, 0.1)'`.

Hydra loads this module whenever it starts, so it imports nothing of raysearch before a sweep begins.
Annotations are no texts here: Hydra executes it before it is in `sys.modules`, where dataclasses look.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class RaysearchSweeperConf:
    """What `hydra.sweeper` holds; `raysearch.integrations.hydra.Settings` says what each field means."""

    _target_: str = "hydra_plugins.raysearch_sweeper.RaysearchSweeper"
    samples: Any = None
    max_iterations: int = 1
    metric: str = "value"
    mode: Any = None
    strategy: Any = None
    workers: Any = None
    executor: str = "tune"
    address: Any = None
    local: bool = False
    name: Any = None
    storage: str = "runs"
    seed: int = 0
    seed_as: Any = None
    length_as: Any = None
    resume: Any = None
    spec: Any = None
    params: dict[str, Any] | None = None
    n_trials: Any = None  # these four as Optuna's sweeper calls them
    n_jobs: Any = None
    direction: Any = None
    study_name: Any = None


class RaysearchSweeper(Sweeper):
    """Searches with the trials of an application as jobs, each of which begins when a worker is free."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what a sweep needs."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Searches; returns the `raysearch.Results`.

        Raises:
            CompactHydraException: a setting or an override is wrong, or the search failed; says what to do.
        """
        from raysearch.errors import RaysearchError
        from raysearch.integrations import hydra

        plain = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in self._settings.items()
        }
        assert self.hydra_context is not None
        assert self.config is not None
        try:
            application = hydra.Application(self.config, self.hydra_context, self.task_function)
            return hydra.sweep(application, hydra.Settings.of(plain), arguments)
        except RaysearchError as error:
            raise CompactHydraException(str(error)) from error


ConfigStore.instance().store(
    group="hydra/sweeper", name="raysearch", node=RaysearchSweeperConf, provider="raysearch_sweeper"
)
