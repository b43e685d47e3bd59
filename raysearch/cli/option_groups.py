"""Options that several commands share, in groups: a command takes a dataclass, its user sees the options.

@grouped
def plan(spec: options.Spec, where: Where) -> None:     # SPEC --executor --local --address
    how = where.how()
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.core.user_paths import user_path
from raysearch.errors import SpecError, unknown

if TYPE_CHECKING:
    from raysearch.core.budget import Spent
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command, in which the fields of each parameter that is a dataclass are options."""
    own = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        p.name: p.annotation for p in own.parameters.values() if dataclasses.is_dataclass(p.annotation)
    }
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        made = {name: group(**{f: given.pop(f) for f in fields[name]}) for name, group in groups.items()}
        command(**given, **made)

    shown: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        shown += fields[parameter.name].values() if parameter.name in groups else [parameter]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shown]
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


@dataclass(frozen=True, slots=True)
class Where:
    """Where a search runs: on Ray workers of a cluster, or in this process."""

    executor: options.By = options.Executor.tune
    local: options.Local = False
    address: options.Address = None

    def how(self, checks: bool = True) -> How:
        """The `How` of these options.

        Raises:
            SpecError: two of the options contradict each other, or an address holds a key.
        """
        from raysearch.storage.object_store import check_cluster_address

        if self.address:
            check_cluster_address(self.address)
        if self.local and self.address:
            raise SpecError(
                f"--local starts a cluster, --address {self.address} uses one that is there: give one of them"
            )
        if self.executor is options.Executor.inline and (self.local or self.address):
            raise SpecError("--executor inline uses no cluster: leave out --local and --address")
        from raysearch.run.options import How

        return How(executor=self.executor.value, local=self.local, address=self.address, checks=checks)


@dataclass(frozen=True, slots=True)
class SpecChanges:
    """What a launch changes in the spec that it reads."""

    name: options.Name = None
    storage: options.Storage = None
    workers: options.Workers = None
    samples: options.Samples = None
    sets: options.Sets = None
    memory: options.Memory = None

    def typed(self) -> dict[str, Any]:
        """The options as the user typed them, by name."""
        names = {"sets": "--set"}
        return {names.get(f.name, f"--{f.name}"): getattr(self, f.name) for f in dataclasses.fields(self)}

    def load(self, spec: str) -> SearchSpec:
        """The changed spec of a file, or of an example.

        Raises:
            SpecError: there is no such file or example, or a field is wrong.
        """
        changes = {
            "name": self.name,
            "storage": self.storage,
            "strategy.samples": self.samples,
            "memory": self.memory,
        }
        sets = [f"{key}={json.dumps(value)}" for key, value in changes.items() if value is not None]
        return load(spec, self.workers, [*sets, *(self.sets or [])])


@dataclass(frozen=True, slots=True)
class MoreBudget:
    """New limits of a run's budget: N in all, or +N on top of what it has spent."""

    hours: options.Hours = None
    gpu_hours: options.GpuHours = None
    cpu_hours: options.CpuHours = None
    money: options.Money = None

    def given_to(self, spec: SearchSpec, spent: Spent) -> SearchSpec:
        """The spec with these limits; those that were not given stay."""
        budget = spec.budget
        for field in dataclasses.fields(self):
            if (amount := getattr(self, field.name)) is not None:
                budget = budget.extended(field.name, amount, spent)
        return dataclasses.replace(spec, budget=budget)


def load(spec: str, workers: int | None = None, sets: list[str] | None = None) -> SearchSpec:
    """The spec of a file, or of an example, with `--set` and `--workers`."""
    from raysearch.spec.search_spec import load_spec

    return with_workers(load_spec(spec_file(spec), sets or []), workers)


def spec_file(spec: str) -> Path:
    """The file that SPEC means: itself, or an example's.

    Raises:
        SpecError: neither; names the examples.
    """
    from raysearch import examples

    if user_path(spec).is_file() or spec.endswith((".yaml", ".yml")):
        return user_path(spec)
    if spec in examples.names():
        return examples.path(spec)
    raise SpecError(f"there is no file {spec!r}, and {unknown('example', spec, examples.names())}")


def with_workers(spec: SearchSpec, count: int | None) -> SearchSpec:
    """The spec with so many workers; as it is if None."""
    if count is None:
        return spec
    return dataclasses.replace(spec, workers=spec.workers.with_count(count))
