"""How a space is written in YAML, and back: `lr: {loguniform: [1.0e-4, 1.0], when: {optimizer: sgd}}`.

A bare scalar is a fixed value. A mapping that names a domain is that domain; any other mapping is a
group, whose members are called `group/member` inside and nested dicts outside. A list under
`constraints` at the top holds expressions.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from raysearch.core.values import plain, show_all
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.conditions import Condition
from raysearch.space.constraints import Constraint
from raysearch.space.domains import KINDS, Choice, Domain, Fixed
from raysearch.space.names import RESERVED, WHEN, check_depth, flat_name

_SWEEP_KEYS = {"distribution", "values", "probabilities", "min", "max", "mu", "sigma", "q"}
_OPTIONS = ("q", "low", "high", "weights", WHEN)


@dataclass(slots=True)
class Parts:
    """What a space is made of, by flat name."""

    domains: dict[str, Domain] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    constraints: list[Constraint] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """Collects the parts of a form; conditions are read last, when all names are known."""

    place: str
    parts: Parts = field(default_factory=Parts)
    whens: list[tuple[str, str, Any]] = field(default_factory=list)  # (flat name, group, form)

    def group(self, form: Mapping[Any, Any], prefix: str, whens: tuple[tuple[str, Any], ...]) -> None:
        """Reads the members of a group; `whens` are the conditions of the groups around them."""
        with located(self.place):
            check_depth(prefix.count("/") + 1)
        for key, value in form.items():
            place = self.at(f"{prefix}{key}")
            with located(place):
                _check_key(key)
                self.member(prefix + key, prefix, value, whens)

    def member(self, name: str, prefix: str, value: Any, whens: tuple[tuple[str, Any], ...]) -> None:
        if isinstance(value, Mapping) and WHEN in value:
            whens = (*whens, (prefix, value[WHEN]))
            value = {k: v for k, v in value.items() if k != WHEN}
        if isinstance(value, Mapping):
            _check_mapping(value)
        if isinstance(value, Mapping) and not _is_domain(value):
            self.group(value, name + "/", whens)
            return
        self.parts.domains[name] = parse_domain(value)
        self.whens += [(name, group, when) for group, when in whens]

    def conditions(self) -> None:
        """Reads what stood under `when`."""
        for name, group, form in self.whens:
            with located(self.at(name)):
                condition = Condition.parse(form, lambda key, g=group: self.resolve(key, g))  # type: ignore[misc]
                before = self.parts.conditions.get(name)
                self.parts.conditions[name] = condition if before is None else before.also(condition)

    def resolve(self, key: str, group: str) -> str:
        """The flat name for `key` written in `group`: its own member first, then those further out."""
        if key.startswith("/"):
            return key[1:]
        known = self.parts.domains
        while group:
            if (name := flat_name(group + key, known)) in known:
                return name
            group = group[: group.rstrip("/").rfind("/") + 1]
        return flat_name(key, known)

    def at(self, name: str) -> str:
        return ".".join(filter(None, (self.place, name.replace("/", "."))))


def parse(form: Mapping[Any, Any], place: str = "space") -> Parts:
    """Reads a space in its YAML form; domains may also stand in it as objects.

    Raises:
        LocatedError: saying where the wrong value stood, below `place`.
    """
    if not isinstance(form, Mapping):
        raise LocatedError(place, f"must be a mapping from names to domains, not {form!r}")
    reader = _Reader(place)
    members = dict(form)
    constraints = members.get(RESERVED, [])
    if isinstance(constraints, (list, tuple, str)):
        members.pop(RESERVED, None)
        listed = [constraints] if isinstance(constraints, str) else constraints
        with located(reader.at(RESERVED)):
            reader.parts.constraints = [c if isinstance(c, Constraint) else Constraint(c) for c in listed]
    reader.group(members, "", ())
    reader.conditions()
    return reader.parts


def write(parts: Parts) -> dict[str, Any]:
    """The YAML form; `parse` gives the same parts back."""
    form: dict[str, Any] = {}
    for name, domain in parts.domains.items():
        *groups, last = name.split("/")
        into = form
        for group in groups:
            into = into.setdefault(group, {})
        when = parts.conditions.get(name)
        bare = isinstance(domain, Fixed) and when is None and not isinstance(domain.value, (list, dict))
        bare = bare and not (groups and last in KINDS)
        into[last] = domain.value if isinstance(domain, Fixed) and bare else domain.form()
        if when is not None:
            into[last][WHEN] = when.form("/".join(groups))
    if parts.constraints:
        form[RESERVED] = [c.text for c in parts.constraints]
    return form


def parse_domain(form: Any) -> Domain:
    """One domain from its YAML form, without `when`.

    Raises:
        SpecError: for unknown domains and options, and values that the domain refuses.
    """
    if isinstance(form, Domain):
        return form
    if isinstance(form, (list, tuple)):
        raise SpecError(
            f"is a bare list; write {{choice: {plain(form)}}} to search over its values, "
            f"or {{fixed: {plain(form)}}} for a constant"
        )
    if not isinstance(form, Mapping):
        return Fixed(form)
    kinds = [k for k in form if k in KINDS]
    if len(kinds) != 1:
        raise _no_single_kind(form, kinds)
    kind = kinds[0]
    options = {k: v for k, v in form.items() if k != kind}
    return _build(kind, form[kind], options)


def _build(kind: str, given: Any, options: dict[str, Any]) -> Domain:
    """Domain `kind` from what stood beside its name: positional values, or a mapping of its fields."""
    cls = KINDS[kind]
    known = [f.name for f in _fields(kind)]
    if cls is Fixed:
        options["value"] = given
    elif isinstance(given, Mapping):
        options |= given
    elif issubclass(cls, Choice):
        options["values"] = given
    elif not isinstance(given, (list, tuple)) or len(given) > len(known):
        raise SpecError(f"{kind} takes {_signature(kind)}, not {given!r}")
    else:
        options |= dict(zip(known, given, strict=False))
    for name in options:
        if name not in known:
            raise SpecError(unknown(f"option of {kind}", name, [*known, WHEN]))
    for f in _fields(kind):
        if f.default is MISSING and f.name not in options:
            raise SpecError(f"{kind} takes {_signature(kind)}; {f.name} is missing from {given!r}")
    return cls(**options)


def _fields(kind: str) -> list[Field[Any]]:
    """The fields that a domain's constructor takes."""
    cls: Any = KINDS[kind]
    return [f for f in fields(cls) if f.init]


def _signature(kind: str) -> str:
    """`[low, high] and optionally q`."""
    needed = ", ".join(f.name for f in _fields(kind) if f.default is MISSING)
    more = ", ".join(f.name for f in _fields(kind) if f.default is not MISSING)
    return f"[{needed}]" + (f" and optionally {more}" if more else "")


def _check_key(key: Any) -> None:
    """Raises SpecError unless `key` can name a hyper-parameter or group."""
    if not isinstance(key, str):
        raise SpecError(
            f"the name {key!r} is not text; put it in quotes (YAML reads on, yes and 1 otherwise)"
        )
    if not key or "/" in key:
        raise SpecError(f"the name {key!r} cannot be used: for a group write a nested mapping, without '/'")


def _check_mapping(form: Mapping[Any, Any]) -> None:
    """Raises SpecError for a mapping that is empty, or is a parameter of a W&B sweep."""
    if not form:
        raise SpecError("is an empty group; give it members, or write {fixed: {}} for an empty mapping")
    if set(form) <= _SWEEP_KEYS and set(form) & {"values", "distribution", "max"}:
        raise SpecError(
            f"{dict(form)!r} is in the form of a W&B sweep; write {{choice: [...]}}, "
            "{uniform: [low, high]} and so on, or hand in the whole sweep with its method and parameters"
        )


def names_domain(form: Mapping[Any, Any]) -> bool:
    """Whether a mapping names a domain by one of its keys; a group's member may be called like one."""
    return any(key in KINDS and not _is_member(key, value) for key, value in form.items())


def _is_member(kind: str, value: Any) -> bool:
    """Whether what stands beside a domain's name is a hyper-parameter or group that is called so."""
    if isinstance(value, Domain):
        return True
    if not isinstance(value, Mapping) or KINDS[kind] is Fixed or {f.name for f in _fields(kind)} & set(value):
        return False
    return names_domain(value) or any(isinstance(v, (Mapping, Domain)) for v in value.values())


def _is_domain(form: Mapping[Any, Any]) -> bool:
    """Whether a mapping is meant as a domain rather than a group, misspelt ones included."""
    if any(key in KINDS for key in form):
        return names_domain(form)
    keys = [k for k in form if k not in _OPTIONS]
    return is_misspelt(form) or (len(keys) == 1 and isinstance(form[keys[0]], (list, tuple)))


def is_misspelt(form: Mapping[Any, Any]) -> bool:
    """Whether the one key of a mapping, options aside, is nearly a domain's name: `logunifrom`."""
    keys = [k for k in form if k not in _OPTIONS]
    if len(keys) != 1 or keys[0] in KINDS or not isinstance(form[keys[0]], (list, tuple, Mapping)):
        return False
    return bool(difflib.get_close_matches(str(keys[0]), KINDS, n=1, cutoff=0.8))


def _no_single_kind(form: Mapping[Any, Any], kinds: list[Any]) -> SpecError:
    if kinds:
        return SpecError(f"names {len(kinds)} domains, {show_all(kinds)}; a hyper-parameter has one")
    keys = [k for k in form if k not in _OPTIONS]
    return SpecError(unknown("domain", keys[0], KINDS) if keys else f"{form!r} names no domain")
