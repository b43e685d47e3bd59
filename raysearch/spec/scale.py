"""The spec's `scale`: how large the searched model is, and the one that its settings are for.

    scale: {width: 64, target: 1024}                                # one dimension
    scale: {width: 64, depth: 4, target: {width: 1024, depth: 16}, parametrization: mup}

Each dimension reaches the trainable as an entry of its configuration, like those of `config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.values import plain
from raysearch.errors import LocatedError, SpecError, located, prefixed, unknown
from raysearch.space.names import dotted, flat_name
from raysearch.spec.readers import positive
from raysearch.strategies.scale_laws import PARAMETRIZATIONS, Along, along

OWN = ("target", "parametrization", "rules", "dimensions")
SAME, SEARCH = "same", "search"  # rules that are words
_KINDS = tuple(one.value for one in Along)


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a search and of its target.

    Attributes:
        proxy, target: dimension -> size.
        kinds: dimension -> what it is.
        parametrization: "mup" if the trainable uses `raysearch.torch.scaling`, else "standard".
        rules: hyper-parameter -> its own rule: exponents by dimension, "same", or "search".
    """

    proxy: Mapping[str, Any]
    target: Mapping[str, Any]
    kinds: Mapping[str, Along]
    parametrization: str
    rules: Mapping[str, Any]

    @property
    def growth(self) -> dict[str, float]:
        """Dimension -> how many times as large it is at the target."""
        return {name: self.target[name] / size for name, size in self.proxy.items()}


def read_scale(value: Any) -> dict[str, Any]:
    """The settings under `scale:` as plain values, with `target` as a mapping.

    Raises:
        SpecError: a size is no number above zero, or the target does not name the same dimensions.
        LocatedError: the same below a field.
    """
    with prefixed("scale"):
        return _read(value)


def _read(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping such as {{width: 64, target: 1024}}, not {value!r}")
    found = dict(plain(value))
    dimensions = [name for name in found if name not in OWN]
    if not dimensions:
        raise SpecError("names no dimension; give one and its target, such as {width: 64, target: 1024}")
    for name in dimensions:
        found[name] = _size(name, found[name])
    found["target"] = _target(found.get("target"), dimensions)
    with located("dimensions"):
        kinds = _mapping(found.pop("dimensions", {}))
    for name in kinds:
        if name not in dimensions:
            raise LocatedError(f"dimensions.{name}", unknown("dimension", name, dimensions))
        if kinds[name] not in _KINDS:
            raise LocatedError(f"dimensions.{name}", unknown("kind", str(kinds[name]), _KINDS))
    for name in dimensions:
        if name not in kinds and along(name) is None:
            raise LocatedError(
                name,
                f"its name does not say what it is; add dimensions: {{{name}: width}} ({', '.join(_KINDS)})",
            )
    if found.get("parametrization", PARAMETRIZATIONS[0]) not in PARAMETRIZATIONS:
        word = unknown("parametrization", str(found["parametrization"]), PARAMETRIZATIONS)
        raise LocatedError("parametrization", word)
    with prefixed("rules"):
        rules = {
            name: _rule(name, rule, dimensions) for name, rule in _mapping(found.pop("rules", {})).items()
        }
    return found | ({"dimensions": kinds} if kinds else {}) | ({"rules": rules} if rules else {})


def scale_of(settings: Mapping[str, Any]) -> Scale:
    """The scale that `read_scale` returned the settings of."""
    proxy = sizes_of(settings)
    said = settings.get("dimensions", {})
    kinds = {name: Along(said[name]) if name in said else along(name) for name in proxy}
    return Scale(
        proxy,
        settings["target"],
        {name: kind for name, kind in kinds.items() if kind is not None},
        settings.get("parametrization", PARAMETRIZATIONS[0]),
        settings.get("rules", {}),
    )


def sizes_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dimension -> its size in the search: what the trainable gets as entries of its configuration."""
    return {name: size for name, size in settings.items() if name not in OWN}


def with_sizes(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's `config` with the sizes of the search. Raises LocatedError where both have an entry."""
    for name in sizes_of(settings):
        if name in config:
            raise LocatedError(f"config.{name}", "is a dimension of scale too; leave it out of config")
    return {**config, **sizes_of(settings)}


def check_scale(settings: Mapping[str, Any], names: Any) -> None:
    """Raises LocatedError where scale contradicts the space.

    Args:
        names: of hyper-parameters, with `/` between group and member.
    """
    for name in sizes_of(settings):
        if name in {one.split("/")[0] for one in names}:
            raise LocatedError(
                f"scale.{name}", "is in the space too; a search has one size in each dimension"
            )
    for name in settings.get("rules", {}):
        if flat_name(name, names) not in names:
            raise LocatedError(f"scale.rules.{name}", unknown("hyper-parameter", name, map(dotted, names)))


def _target(value: Any, dimensions: list[str]) -> dict[str, Any]:
    if value is None:
        raise SpecError(
            f"has no target; add how large {', '.join(dimensions)} will be: {{..., target: 1024}}"
        )
    if not isinstance(value, Mapping):
        if len(dimensions) > 1:
            raise LocatedError(
                "target",
                f"{value!r} for {len(dimensions)} dimensions; name each: {{{dimensions[0]}: 1024, ...}}",
            )
        value = {dimensions[0]: value}
    for name in value:
        if name not in dimensions:
            raise LocatedError(f"target.{name}", unknown("dimension", str(name), dimensions))
    if missing := [name for name in dimensions if name not in value]:
        raise LocatedError(
            "target", f"says no {missing[0]}; give it too, the same as in the search if it stays"
        )
    return {name: _size(f"target.{name}", value[name]) for name in dimensions}


def _size(place: str, value: Any) -> Any:
    with located(place):
        number = positive(value)
    return value if isinstance(value, int) else number


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping, not {value!r}")
    return dict(value)


def _rule(name: str, rule: Any, dimensions: list[str]) -> Any:
    if rule in (SAME, SEARCH):
        return rule
    if not isinstance(rule, Mapping):
        raise LocatedError(
            name, f"{rule!r} is no rule: give same, search, or exponents such as {{{dimensions[0]}: -0.5}}"
        )
    for dimension, exponent in rule.items():
        if dimension not in dimensions:
            raise LocatedError(f"{name}.{dimension}", unknown("dimension", str(dimension), dimensions))
        if isinstance(exponent, bool) or not isinstance(exponent, (int, float)):
            raise LocatedError(f"{name}.{dimension}", f"{exponent!r} is no exponent, such as -1 or 0.5")
    return dict(rule)
