"""The spec of a search: one YAML file, or the same fields as keyword arguments, read and checked once.

    spec = load_spec("search.yaml", ["strategy.samples=50"])
    spec = make_spec(trainable=train, space={"lr": {"loguniform": [1e-4, 1.0]}}, metric="loss",
                     mode="min", strategy={"name": "caviar", "samples": 50, "max_iterations": 27})

Every mistake is a SpecError that says where it stands: `search.yaml [space.lr]: unknown domain ...`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from raysearch.core.budget import Budget
from raysearch.core.segment import Mode
from raysearch.core.stop_when import StopWhen
from raysearch.core.user_paths import user_path
from raysearch.core.values import check_depth, is_number, plain
from raysearch.core.yaml_io import read_mapping, read_yaml, write_yaml
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.interop import read_space
from raysearch.space.constraints import Constraint
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space
from raysearch.spec import program
from raysearch.spec.fields import READERS
from raysearch.spec.goals import check_goals, take_objectives
from raysearch.spec.names import default_name, qualified, trainable_name
from raysearch.spec.overrides import apply_overrides, pairs_of
from raysearch.spec.resource_request import REQUESTS, says_share, with_request
from raysearch.spec.scale import check_scale, sizes_of, with_sizes
from raysearch.spec.workers import Workers
from raysearch.storage import exports
from raysearch.strategies.base import Recipe, Strategy, abilities_of, started
from raysearch.strategies.samplers.base import Source, behind

__all__ = ["Budget", "SearchSpec", "Workers", "apply_overrides", "load_spec", "make_spec", "trainable_name"]

_FIELDS = {name: f"{name}_s" for name in ("stall_timeout", "storage_timeout")}
_KEYS = {field: key for key, field in _FIELDS.items()}
_REQUIRED = {
    "trainable": "the class or function that trains, as module:attribute or path/to/file.py:attribute",
    "metric": "the name under which the trainable reports what is to be improved (several: objectives)",
    "mode": "min if lower is better, max if higher is",
    "space": "the hyper-parameters, such as lr: {loguniform: [1.0e-4, 1.0]}",
    "strategy": "how to search, such as {name: caviar, samples: 100, max_iterations: 81}",
}


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """A complete description of a search: the same spec gives the same search.

    Attributes:
        name: of the run and its folder in the storage.
        trainable: "module:attribute", "file.py:attribute", or the class or function itself.
        metric: which of the reported metrics is compared.
        mode: "min" or "max": which direction of it is better.
        objectives: metric -> "min" or "max", where there are several: the first is `metric`, which leads.
        limits: on reported values, such as "latency_ms <= 20"; what is beyond them ranks behind all within.
        strategy: a recipe from `raysearch.strategies`.
        storage: folder or URL in which runs are kept.
        storage_timeout_s: storage that fails, or is full, is tried again for so long before the search ends.
        stop_when: such as {gain_below: 0.002, cost: {gpu_hours: 5}}: once so much more is forecast to gain
            less, nothing new is tried, and the search ends with its finish; see `StopWhen`.
        priority: against other searches on the cluster, which is divided in its proportion.
        max_share: the most of the cluster that this search takes, also when it is alone; 0.5 is half.
        seed: of every random choice.
        baseline: the configuration used today; trained too, and compared with.
        wandb: mode (auto, online, offline, off), project, entity, group, tags; empty sends nothing.
        sinks: further places that get the run while it goes on: tensorboard, mlflow, module:attribute.
        notify: whom to tell what of the search: see `raysearch.spec.notify`; empty tells nobody.
        isolate: a fresh process for each trial.
        fuse: a worker trains many models of a Learner at once where they allow it.
        stall_timeout_s: a trial that has not reported for so long has failed.
        retries: how often a failed trial is tried again.
        quota: bytes that checkpoints may take.
        seed_as: name of the config entry in which the trainable gets its seed.
        config: entries that every configuration gets besides the space's.
        fingerprint: of the data, for `raysearch due`: `files` (hashed, their rows counted), `rows`, and
            entries of one's own.
        memory: folder or URL of finished searches to begin from; None to begin afresh.
        known_good: configurations that are tried first.
        priors: where good values are believed to lie: a domain for each hyper-parameter, and `confidence`.
        scale: sizes of the searched model by dimension, and `target`, that of the one it is for; they reach
            the trainable like `config`. `raysearch transfer` makes the settings and the spec of the target.
        notes: notices about reinterpreted settings, shown once.

    >>> spec = raysearch.load_spec("runs/digits/spec.yaml")
    >>> spec.name, spec.metric, spec.mode, spec.baseline
    ('digits', 'loss', 'min', {'lr': 0.5})
    >>> print(spec.to_yaml())
    name: digits
    ...
    """

    name: str
    trainable: Any
    metric: str
    mode: Mode
    space: Space
    strategy: Recipe
    workers: Workers = field(default_factory=Workers)
    storage: str = "runs"
    storage_timeout_s: float = 60.0
    budget: Budget = field(default_factory=Budget)
    priority: float = 1.0
    max_share: float = 1.0
    seed: int = 0
    baseline: Mapping[str, Any] | None = None
    wandb: Mapping[str, Any] = field(default_factory=dict)
    sinks: Sequence[str] = ()
    notify: Mapping[str, Any] = field(default_factory=dict)
    isolate: bool = False
    fuse: bool = True
    stall_timeout_s: float | None = None
    retries: int = 1
    quota: int | None = None
    seed_as: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    memory: str | None = None
    known_good: tuple[Mapping[str, Any], ...] = ()
    priors: Mapping[str, Any] = field(default_factory=dict)
    objectives: Mapping[str, Mode] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    stop_when: StopWhen | None = None
    scale: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raises LocatedError where two fields contradict each other."""
        groups = {name.split("/")[0] for name in self.space.names}
        for key in self.config:
            if key in groups:
                raise LocatedError(f"config.{key}", "is in the space too; leave it out of one of them")
        if self.seed_as in groups or self.seed_as in self.config:
            where = "space" if self.seed_as in groups else "config"
            raise LocatedError("seed_as", f"{self.seed_as!r} is in the {where} too, and would be overwritten")
        if self.baseline is not None and (why := self.space.why_not(self.baseline)) is not None:
            raise LocatedError("baseline", f"{why}; the baseline must lie in the space: widen it")
        for number, config in enumerate(self.known_good):
            if (why := self.space.why_not(config)) is not None:
                raise LocatedError(f"known_good[{number}]", f"{why}; it must lie in the space")
        check_scale(self.scale, self.space.names)
        check_goals(self.goals, self.metric, self.mode, self.space.names, self.config)
        self.budget.check(*self.workers.held())
        self._check_stop_when()
        if self.space.constraints:
            with located("space.constraints"):
                self.space.sample(self.seed, 0)

    def _check_stop_when(self) -> None:
        rule = self.stop_when
        if rule is None:
            return
        if not abilities_of(self.strategy).closes:
            why = f"strategy {self.strategy.name} cannot be ended by a forecast; caviar can"
            raise LocatedError("stop_when", f"{why}. Leave it out, or limit the budget")
        if self.goals.several:
            raise LocatedError("stop_when", "the gain of several objectives is no number; give one metric")
        rule.check(self.budget, *self.workers.held())

    @property
    def goals(self) -> Objectives:
        """What is compared: the objectives, or the metric alone, and the limits."""
        return Objectives(self.objectives or {self.metric: self.mode}, self.limits)

    def started(self) -> Strategy:
        """Its strategy at its beginning. Raises SpecError where that cannot begin so."""
        return started(self.strategy, self.space, self.goals, self.seed, self.baseline)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; a trainable, strategy or sampler that is an object becomes its name."""
        metric = {"metric": self.metric, "mode": self.mode}
        return {
            "name": self.name,
            "trainable": program.form_of(self.trainable) or trainable_name(self.trainable),
            **({"objectives": dict(self.objectives)} if self.objectives else metric),
            **({"limits": [limit.text for limit in self.limits]} if self.limits else {}),
            "space": self.space.to_dict(),
            "strategy": _strategy_form(self.strategy),
            "workers": self.workers.to_dict(),
            "storage": self.storage,
            "storage_timeout": self.storage_timeout_s,
            "budget": dataclasses.asdict(self.budget),
            **({"stop_when": self.stop_when.to_dict()} if self.stop_when is not None else {}),
            "priority": self.priority,
            "max_share": self.max_share,
            "seed": self.seed,
            "baseline": None if self.baseline is None else plain(self.baseline),
            "wandb": plain(self.wandb),
            "sinks": [*self.sinks],
            "notify": plain(self.notify),
            "isolate": self.isolate,
            "fuse": self.fuse,
            "stall_timeout": self.stall_timeout_s,
            "retries": self.retries,
            "quota": self.quota,
            "seed_as": self.seed_as,
            "config": {k: v for k, v in plain(self.config).items() if k not in sizes_of(self.scale)},
            **({"scale": plain(self.scale)} if self.scale else {}),
            "fingerprint": plain(self.fingerprint),
            "memory": self.memory,
            "known_good": [plain(config) for config in self.known_good],
            "priors": plain(self.priors),
        }

    def to_yaml(self) -> str:
        """The resolved spec as YAML; `load_spec` reads an equal one back."""
        return write_yaml(self.to_dict())


def make_spec(**settings: Any) -> SearchSpec:
    """The spec of keyword arguments named like the fields of SearchSpec.

    A `space` may be a mapping (also with Ray Tune domains in it), a Space, a ConfigSpace or a W&B
    sweep; `strategy` a name, a mapping with `name`, or a recipe; `workers` a number or a mapping;
    `constraints` may stand beside `space`.

    Raises:
        LocatedError: with the dotted path of the setting that is wrong.
    """
    given = {_alias(key): value for key, value in settings.items()}
    notes = program.taken_from(given)
    take_objectives(given)
    for key in given:
        if key not in READERS:
            raise LocatedError(key, unknown("field", key, READERS))
    fields: dict[str, Any] = {}
    constraints = given.pop("constraints", None)
    if "trainable" in given and given.get("name") is None:
        given["name"] = default_name(given["trainable"])
    for required, help_text in _REQUIRED.items():
        if given.get(required) is None:
            raise LocatedError(required, f"is missing: {help_text}")
    for key, value in given.items():
        with located(key):
            check_depth(value)
            if key == "space":
                fields[key] = _space(value, constraints, notes)
            elif value is not None:
                fields[_FIELDS.get(key, key)] = READERS[key](value)
    if fields.get("scale"):
        fields["config"] = with_sizes(fields.get("config", {}), fields["scale"])
    if isinstance(fields["trainable"], program.Program):
        own = [*fields.get("config", {}), *(name.split("/")[0] for name in fields["space"].names)]
        names = {*own, fields.get("seed_as") or ""} - {""}
        fields["trainable"] = fields["trainable"].for_search(fields["metric"], names)
    elif not isinstance(fields["trainable"], str):
        constants = fields.get("config", {})
        configs = [{**constants, **fields["space"].sample(0, i)} for i in range(REQUESTS)]
        fields["workers"], note = with_request(
            fields.get("workers", Workers()), fields["trainable"], configs, says_share(given.get("workers"))
        )
        notes += [note] if note else []
    return SearchSpec(**fields, notes=tuple(notes))


def load_spec(path: str | os.PathLike[str], overrides: Sequence[str] | Mapping[str, Any] = ()) -> SearchSpec:
    """The spec in a YAML file, which may be a W&B sweep file.

    >>> spec = raysearch.load_spec("runs/digits/spec.yaml", ["strategy.samples=50", "name=larger"])
    >>> spec.name, spec.strategy.samples
    ('larger', 50)

    Args:
        overrides: replace settings of the file: `strategy.samples=50`,
            `space.lr={loguniform: [1e-4, 1]}`, or the same as a mapping from dotted path to value.

    Raises:
        SpecError: with the file's name and the line, or the dotted path, of what is wrong.
    """
    file = user_path(path)
    try:
        settings, notes = _read_file(file)
        pairs = pairs_of(overrides)
        if read_space.is_sweep(settings):  # the space is there to be changed only after it is read
            apply_overrides(settings, {k: v for k, v in pairs.items() if not k.startswith("space.")})
            notes += read_space.sweep_to_spec(settings)
        apply_overrides(settings, pairs)
        notes += program.taken_from(settings)
        _anchor_trainable(settings, file)
        if isinstance(settings.get("space"), str):
            settings["space"] = _space_in(file.parent / settings["space"])
        if settings.get("name") is None:
            settings["name"] = _stem(file)
        spec = make_spec(**settings)
    except LocatedError as error:
        raise SpecError(f"{file.name} [{error.place}]: {error.text}") from error
    return dataclasses.replace(spec, notes=(*notes, *spec.notes))


def _read_file(file: Path) -> tuple[dict[str, Any], list[str]]:
    """(the fields that stand in a spec's file, notes on it)."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{file}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{file} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error.strerror or error}") from None
    settings = read_yaml(text, file.name)
    if not isinstance(settings, dict):
        what = "is empty" if settings is None else f"holds {type(settings).__name__}, not a mapping"
        raise SpecError(f"{file.name} {what}; it needs {', '.join(_REQUIRED)}")
    for key in settings:
        if not isinstance(key, str):
            raise SpecError(f"{file.name} [{key}]: {unknown('field', key, READERS)}")
    is_edited = exports.PLANNED in text and exports.differs(text, settings.get("strategy"), exports.PLANNED)
    what = f"{file.name} [strategy], of `raysearch plan --write`"
    return settings, [exports.edited(what, "write the plan again")] if is_edited else []


def _anchor_trainable(settings: dict[str, Any], file: Path) -> None:
    """Makes `model.py:Model` absolute if it lies beside the spec, so that it is found from anywhere."""
    text = settings.get("trainable")
    if isinstance(text, Mapping):
        settings["trainable"] = program.read_program(text).anchored(file.parent)
    if isinstance(text, str) and ".py:" in text:
        script, _, attribute = text.rpartition(":")
        beside = (file.parent / user_path(script)).absolute()
        if beside.exists():
            settings["trainable"] = f"{beside}:{attribute}"


def _space_in(file: Path) -> Any:
    """The space in another YAML file: under `space:`, a W&B sweep's, or all that is in it."""
    written = read_mapping(file, "space", "a mapping of names to domains")
    if read_space.is_sweep(written):
        return {"method": "random", "parameters": written["parameters"]}
    return written.get("space", written)


def _stem(file: Path) -> str:
    """A run's name made of a file's: `my search.yaml` gives `my-search`."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", file.stem).strip("-.") or "search"


def _alias(key: str) -> str:
    return _KEYS.get(key, key)


def _space(value: Any, constraints: Any, notes: list[str]) -> Space:
    space, more = read_space.read_space(value, strict=True)
    notes += more
    if constraints is None:
        return space
    listed = [constraints] if isinstance(constraints, (str, Constraint)) else constraints
    if not isinstance(listed, (list, tuple)):
        raise LocatedError("constraints", f"{constraints!r} is not a list of expressions")
    try:
        with located("constraints"):
            more_constraints = [c if isinstance(c, Constraint) else Constraint(c) for c in listed]
        return Space(space.domains, space.conditions, (*space.constraints, *more_constraints))
    except LocatedError as error:
        raise LocatedError("constraints", error.text) from None


def _strategy_form(recipe: Recipe) -> dict[str, Any]:
    from raysearch.strategies import registry

    form: dict[str, Any] = {"name": recipe.name if registry.is_named(recipe) else qualified(recipe)}
    for f in dataclasses.fields(cast(Any, recipe)):
        if f.init:
            form[f.name] = _plain_or_name(getattr(recipe, f.name))
    return form


def _plain_or_name(value: Any) -> Any:
    if isinstance(value, Source):
        return qualified(behind(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain_or_name(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    try:
        return plain(value)
    except SpecError:
        if is_number(value):  # it has no name
            raise
        return qualified(value)
