"""Module names without a file: the facades of `raysearch`, and modules of earlier versions.

    from raysearch.memory import Memory            # a facade of raysearch.workflows.memory
    from raysearch.planning import make_plan       # of version 0.1: DeprecationWarning, names raysearch.plan

`add_to` puts a stand-in of each into `sys.modules`. A stand-in knows the names that it offers, and loads the
module behind it when someone takes one of them; any other name is an AttributeError that loads nothing
(pickle asks every module for every name).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any

FACADES = {
    "memory": "raysearch.workflows.memory",
    "plan": "raysearch.workflows.plan",
    "retest": "raysearch.workflows.retest",
    "scaling": "raysearch.workflows.scaling",
}
OFFERED = {
    "memory": ("Helped", "Memory", "MemoryContent", "Record", "helped", "importance_table", "record_of"),
    "plan": ("Advice", "Plan", "Situation", "advise", "make_plan"),
    "retest": (
        *("Damaged", "Due", "RetestVerdict", "due_in", "due_of", "history_frame", "judged", "record"),
        *("retest_spec", "unfinished"),
    ),
    "scaling": ("Transfer", "Transferred", "transfer"),
}
# What notebooks took from modules of version 0.1: module -> name -> the module that offers it now.
OLD: dict[str, dict[str, str]] = {
    "raysearch.helped": {"helped": "raysearch.memory"},
    "raysearch.histories": {"history_frame": "raysearch.retest"},
    "raysearch.planning": {"make_plan": "raysearch.plan"},
    "raysearch.recording": {"judged": "raysearch.retest", "record": "raysearch.retest"},
    "raysearch.remembering": {"importance_table": "raysearch.memory"},
    "raysearch.retesting": {"retest_spec": "raysearch.retest"},
    "raysearch.strategies.planning": {"advise": "raysearch.plan"},
    "raysearch.tracking.report": {"write_report": "raysearch.report"},
    "raysearch.tracking.sections": {"content_of": "raysearch.report"},
}
# Modules of version 0.1 that scripts are known to import from: module -> where it is now -> names.
MOVED = {
    "raysearch.checkpoints": {
        "raysearch.storage.checkpoints.local": "Checkpoints",
    },
    "raysearch.configspaces": {
        "raysearch.interop.configspace": "from_configspace is_configspace to_configspace",
    },
    "raysearch.executors.host": {
        "raysearch.core.error_text": "in_words print_traceback",
        "raysearch.storage.checkpoints.meta": "read_meta write_meta",
        "raysearch.worker.host": "Aborted Host Progress",
    },
    "raysearch.executors.loading": {
        "raysearch.spec.trainables": "can_pause is_class is_learner load_trainable",
        "raysearch.worker.shipping": "Shipped ship",
    },
    "raysearch.executors.recording": {
        "raysearch.worker.reports": "Trained check_metric is_only_an_end record",
    },
    "raysearch.journal": {
        "raysearch.storage.journal.journal": "Journal",
        "raysearch.storage.journal.reading": "batches_since read_events read_outcomes read_table tail",
    },
    "raysearch.paths": {
        "raysearch.storage.paths": "CheckpointPaths JournalPaths RunPaths",
    },
    "raysearch.readers": {
        "raysearch.interop.read_space": "read_space",
    },
    "raysearch.strategies.model": {
        "raysearch.strategies.samplers.gp_sampler": "ModelSampler",
    },
    "raysearch.strategies.rungs": {
        "raysearch.core.segment": "value_at",
        "raysearch.strategies.caviar.rungs": "Rung rung_levels",
    },
    "raysearch.sweeps": {
        "raysearch.interop.wandb_sweep": "is_sweep read_parameter read_parameters sweep_to_spec",
    },
    "raysearch.tables": {
        "raysearch.results.columns": "Segments Trials",
        "raysearch.results.frames": "config_columns curve_frame segment_frame storable trial_frame",
    },
    "raysearch.tree": {
        "raysearch.core.segment": "Config Mode Outcome Segment Status score segment_id trial_name",
    },
    "raysearch.version": {
        "raysearch.core.version": "__version__",
    },
    "raysearch.writers": {
        "raysearch.interop.write_space": "config_to_optuna optuna_to_config to_optuna to_ray",
    },
}
for _module, _homes in MOVED.items():
    OLD[_module] = {name: home for home, names in _homes.items() for name in names.split()}


class StandIn(ModuleType):
    """A module without a file, whose names come from other modules.

    Attributes:
        homes: name -> the module that has it.
        is_old: whether taking a name gives a DeprecationWarning.
    """

    homes: Mapping[str, str]
    is_old: bool

    def __init__(self, name: str, homes: Mapping[str, str], is_old: bool) -> None:
        super().__init__(name, f"Stands for {', '.join(sorted(set(homes.values())))}.")
        self.__dict__.update(homes=homes, is_old=is_old, __all__=[*homes])

    def __getattr__(self, name: str) -> Any:
        home = self.homes.get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if self.is_old:
            text = f"{self.__name__}.{name} is {home}.{name} now; the next release drops the old name"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(home), name)

    def __dir__(self) -> list[str]:
        return [*self.homes]


def add_to(modules: MutableMapping[str, ModuleType]) -> None:
    """Adds the stand-ins to `modules`, which is `sys.modules`."""
    for facade, target in FACADES.items():
        name = f"raysearch.{facade}"
        modules[name] = StandIn(name, dict.fromkeys(OFFERED[facade], target), is_old=False)
    for name, homes in OLD.items():
        modules[name] = StandIn(name, homes, is_old=True)
