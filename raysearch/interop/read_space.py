"""Search spaces of other libraries, read as they are: Ray Tune, Optuna, ConfigSpace, W&B sweeps.

An object is known by the module of its class, so no library is imported to look at it; the way back
(`to_ray`, `to_optuna`, `to_configspace`) imports the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.values import TUPLES, check_depth, exact, has_tuple, identity, plain, show
from raysearch.errors import SpecError, located
from raysearch.interop import configspace
from raysearch.interop.configspace import to_configspace
from raysearch.interop.optuna_domains import optuna_domain
from raysearch.interop.wandb_sweep import is_sweep, read_parameters, sweep_to_spec
from raysearch.interop.write_space import config_to_optuna, optuna_to_config, to_optuna, to_ray
from raysearch.space import parsing
from raysearch.space.domains import (
    Choice,
    Domain,
    Fixed,
    LogRandInt,
    LogUniform,
    Normal,
    RandInt,
    Uniform,
)
from raysearch.space.names import RESERVED, WHEN
from raysearch.space.space import Space

__all__ = [
    "config_to_optuna",
    "is_sweep",
    "optuna_to_config",
    "read_space",
    "sweep_to_spec",
    "to_configspace",
    "to_optuna",
    "to_ray",
]


def read_space(value: Any, place: str = "space", strict: bool = False) -> tuple[Space, list[str]]:
    """The space that `value` describes, and in words what was understood differently.

    Args:
        value: a Space; a mapping in our form, which may hold Ray Tune domains, Optuna distributions or
            our own as objects; a ConfigSpace; a W&B sweep.
        strict: refuse a choice of Ray Tune's that lists 1 and 1.0, which are one value here; else a note
            says so.

    Raises:
        SpecError: saying what cannot be read, and where it stood.
    """
    if isinstance(value, Space):
        return value, []
    with located(place):
        check_depth(value)
    if configspace.is_configspace(value):
        return configspace.from_configspace(value, place)
    if not isinstance(value, Mapping):
        raise SpecError(
            f"{value!r} is no search space; give a mapping such as {{'lr': {{'loguniform': [1e-4, 1.0]}}}}"
        )
    if is_sweep(value) and isinstance(value.get("method"), str):
        notes = [
            f"{key}: of the W&B sweep only its parameters are read as a space; {key!r} has no effect here"
            for key in value
            if key not in ("parameters", "method", "name", "description")
        ]
        form = read_parameters(value["parameters"], f"{place}.parameters", notes)
        return Space.from_dict(form, place), notes
    reader = _Foreign(_has_ray(value), strict)
    return Space.from_dict(reader.whole(value, place), place), reader.notes


@dataclass(slots=True)
class _Foreign:
    """Puts our domains in the place of foreign ones.

    Attributes:
        loose: lists and empty mappings are constants, as Ray Tune has it.
        strict: values that cannot be told apart are refused.
        notes: what was understood differently.
    """

    loose: bool
    strict: bool
    notes: list[str] = field(default_factory=list)

    def whole(self, form: Mapping[Any, Any], place: str) -> dict[Any, Any]:
        """The form at the top, where `constraints` are expressions."""
        texts = form.get(RESERVED)
        if not isinstance(texts, (str, list, tuple)):
            return self.group(form, place)
        members = {key: value for key, value in form.items() if key != RESERVED}
        return {**self.group(members, place), RESERVED: texts}

    def group(self, form: Mapping[Any, Any], place: str) -> dict[Any, Any]:
        return {
            key: value if key == WHEN else self.member(value, f"{place}.{key}") for key, value in form.items()
        }

    def _is_native(self, form: Mapping[Any, Any]) -> bool:
        """Whether a mapping is a domain in our form; by Ray's rules a bare scalar is a group's constant."""
        marked = {key: value if key == "fixed" else _marked(value, self.loose) for key, value in form.items()}
        return parsing.names_domain(marked) or parsing.is_misspelt(marked)

    def member(self, value: Any, place: str) -> Any:
        with located(place):
            if has_tuple(_listed(value)):
                self.notes.append(f"{place}: {TUPLES}")
            if (alike := _alike(value)) is not None:
                if self.strict:
                    raise SpecError(alike)
                self.notes.append(f"{place}: {alike}")
            if (origin := _origin(value)) is not None:
                return _READERS[origin](value)
            if isinstance(value, Mapping) and self._is_native(value):
                return value
            if _is_grid(value):
                self.notes.append(
                    f"{place}: grid_search is read as a choice: values are drawn, not enumerated"
                )
                return _weighted(value["grid_search"])
            if self.loose and (
                isinstance(value, (list, tuple)) or (isinstance(value, Mapping) and not value)
            ):
                return Fixed(value)
            if self.loose and not isinstance(value, (Mapping, Domain)):
                return Fixed(value)
            return self.group(value, place) if isinstance(value, Mapping) else value


def _origin(value: Any) -> str | None:
    """Which library a domain object comes from."""
    module = type(value).__module__
    if module.startswith("ray.tune.search.sample") or module == "ray.tune.sample":
        return "ray"
    return "optuna" if module.startswith("optuna.distributions") else None


def _alike(value: Any) -> str | None:
    """What is wrong with a choice of Ray Tune's that lists a whole number and the same one as a float."""
    listed = value["grid_search"] if _is_grid(value) else getattr(value, "categories", None)
    if (_origin(value) != "ray" and not _is_grid(value)) or not isinstance(listed, (list, tuple)):
        return None
    seen: dict[Any, Any] = {}
    for each in map(plain, listed):
        if exact(first := seen.setdefault(identity(each), each)) != exact(each):
            return (
                f"{show(first)} and {show(each)} are one value here; where the code tells them apart, list "
                "names such as 'one' and 'all', and look the values up there"
            )
    return None


def _listed(value: Any) -> Any:
    """What a domain lists, or a constant as it is: where tuples may stand."""
    if _origin(value) is not None:
        return getattr(value, "categories", getattr(value, "choices", None))
    if isinstance(value, Mapping):
        listed = [value[key] for key in ("choice", "ordinal", "grid_search") if key in value]
        return [value["fixed"]] if "fixed" in value else next(iter(listed), None)
    return None if isinstance(value, Domain) else [value]


def _marked(value: Any, loose: bool) -> Any:
    """A form in which each foreign domain, and each constant where `loose`, is one of our domains."""
    if isinstance(value, Mapping):
        return {key: _marked(member, loose) for key, member in value.items()}
    is_constant = loose and not isinstance(value, (list, tuple, Domain))
    return Fixed(None) if is_constant or _origin(value) is not None else value


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def _has_ray(value: Any) -> bool:
    """Whether there is anything of Ray Tune's in a mapping: then it is read by Ray's rules."""
    if isinstance(value, Mapping):
        return _is_grid(value) or any(map(_has_ray, value.values()))
    return _origin(value) == "ray"


def _read_ray(domain: Any) -> Domain:
    """Our domain for a `ray.tune` one."""
    sampler, q = domain.get_sampler(), None
    if hasattr(sampler, "get_sampler"):  # Quantized
        sampler, q = sampler.get_sampler(), sampler.q
    shapes = {cls.__name__ for cls in type(sampler).__mro__}
    kind = type(domain).__name__
    if kind == "Float":
        if "Normal" in shapes:
            return Normal(sampler.mean, sampler.sd, q=q)
        return (LogUniform if "LogUniform" in shapes else Uniform)(domain.lower, domain.upper, q)
    if kind == "Integer":
        return _ray_integer(domain, "LogUniform" in shapes, q)
    if kind == "Categorical":
        return _weighted(domain.categories)
    if kind == "Function":
        raise SpecError(
            "tune.sample_from runs code that no sampler can learn from; for a value that is there only "
            "with another one use `when`, to rule combinations out use constraints, and compute what "
            "follows from other values in the trainable"
        )
    raise SpecError(f"{domain!r} is a Ray Tune domain that is not known")


def _ray_integer(domain: Any, log: bool, q: int | None) -> Domain:
    """Ray leaves the upper bound out, except with a step other than 1."""
    q = None if q in (None, 1) else q
    high = domain.upper if q else domain.upper - 1
    if high < domain.lower:
        raise SpecError(
            f"Ray's randint({domain.lower}, {domain.upper}) leaves its upper bound out and so is empty"
        )
    return (LogRandInt if log else RandInt)(domain.lower, high, q)


def _weighted(values: Any) -> Choice:
    """A choice in which a value given several times is that much more likely."""
    if not isinstance(values, (list, tuple)):
        raise SpecError(f"{values!r} is not a list of values")
    listed = [plain(v) for v in values]
    distinct = {identity(v): v for v in reversed(listed)}
    counts = [sum(identity(v) == key for v in listed) for key in reversed(distinct)]
    weights = tuple(map(float, counts)) if len(distinct) < len(listed) else None
    return Choice(tuple(reversed(distinct.values())), weights)


def _read_optuna(distribution: Any) -> Domain:
    """Our domain for an `optuna.distributions` one."""
    kind = type(distribution).__name__
    if kind == "CategoricalDistribution":
        return optuna_domain(kind, {"choices": distribution.choices})
    return optuna_domain(kind, {name: getattr(distribution, name) for name in ("low", "high", "log", "step")})


_READERS: dict[str, Callable[[Any], Domain]] = {"ray": _read_ray, "optuna": _read_optuna}
