"""ConfigSpace's spaces, both ways, conditions included; its forbidden clauses become constraints."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any

from raysearch.core.values import fresh, is_number, plain
from raysearch.errors import SpecError, located, prefixed
from raysearch.space.conditions import ORDERED, Condition, Test
from raysearch.space.constraints import Constraint
from raysearch.space.domains import (
    Choice,
    Domain,
    Fixed,
    Interval,
    LogRandInt,
    LogUniform,
    Normal,
    Ordinal,
    RandInt,
    Uniform,
)
from raysearch.space.expressions import FUNCTIONS
from raysearch.space.space import Space

Cases = tuple[tuple[Test, ...], ...]
STEPS_AT_MOST = 1000  # a stepped domain with more values than this cannot be listed


def is_configspace(value: Any) -> bool:
    """Whether `value` is a ConfigurationSpace, found out without importing ConfigSpace."""
    return any(
        cls.__module__.startswith("ConfigSpace.") and cls.__name__ == "ConfigurationSpace"
        for cls in type(value).__mro__
    )


def from_configspace(source: Any, place: str = "space") -> tuple[Space, list[str]]:
    """The space of a ConfigurationSpace, and in words what was understood differently.

    Raises:
        SpecError: for what has no counterpart here.
    """
    notes: list[str] = []
    domains: dict[str, Domain] = {}
    for name, parameter in source.items():
        with located(f"{place}.{name}"):
            if "/" in name:
                raise SpecError(f"the name {name!r} holds a '/', which separates group and member here")
            domains[name] = _domain(parameter, notes)
    conditions: dict[str, Condition] = {}
    for found in source.conditions:
        child, condition = found.child.name, Condition(_cases(found))
        conditions[child] = conditions[child].also(condition) if child in conditions else condition
    with located(f"{place}.constraints"):
        texts = [text for clause in source.forbidden_clauses for text in _forbidden(clause)]
    with prefixed(place):
        return Space(domains, conditions, [Constraint(text) for text in texts]), notes


def _domain(parameter: Any, notes: list[str]) -> Domain:
    kind = type(parameter).__name__
    log = getattr(parameter, "log", False)
    if kind == "CategoricalHyperparameter":
        return _choice(parameter)
    if kind == "OrdinalHyperparameter":
        return Ordinal(tuple(parameter.sequence))
    if kind in ("Constant", "UnParametrizedHyperparameter"):
        return Fixed(parameter.value)
    low, high = plain(parameter.lower), plain(parameter.upper)
    if kind == "NormalFloatHyperparameter" and not log:
        return Normal(parameter.mu, parameter.sigma, low, high)
    if not kind.startswith("Uniform"):
        notes.append(f"{parameter.name}: {kind} is read as uniform between its bounds")
    if "Integer" in kind:
        return (LogRandInt if log else RandInt)(low, high)
    if "Float" in kind:
        return (LogUniform if log else Uniform)(low, high)
    raise SpecError(f"{kind} is not known here")


def _choice(parameter: Any) -> Choice:
    weights = None if parameter.weights is None else [float(w) for w in parameter.weights]
    if weights is None:
        return Choice(tuple(parameter.choices))
    kept = [(v, w) for v, w in zip(parameter.choices, weights, strict=True) if w > 0]
    return Choice(tuple(v for v, _ in kept), tuple(w for _, w in kept))


def _cases(condition: Any) -> Cases:
    """The condition as a list of cases, in each of which all tests must pass."""
    kind = type(condition).__name__
    if kind == "OrConjunction":
        return tuple(case for part in condition.components for case in _cases(part))
    if kind == "AndConjunction":
        cases: Cases = ((),)
        for part in condition.components:
            cases = tuple((*a, *b) for a in cases for b in _cases(part))
        return cases
    parent = condition.parent
    if kind == "InCondition":
        return ((Test(parent.name, "in", tuple(plain(v) for v in condition.values)),),)
    value = plain(condition.value)
    if kind == "EqualsCondition":
        return ((Test(parent.name, "in", (value,)),),)
    if kind == "NotEqualsCondition":
        return ((Test(parent.name, "ne", (value,)),),)
    op = {"GreaterThanCondition": "gt", "LessThanCondition": "lt"}.get(kind)
    if op is None:
        raise SpecError(f"the condition {condition} is of a kind that is not known here")
    return ((_ordered(parent, op, value),),)


def _ordered(parent: Any, op: str, value: Any) -> Test:
    """ConfigSpace compares ordinals by place, whatever their values."""
    if type(parent).__name__ == "OrdinalHyperparameter":
        return Test(parent.name, "in", tuple(_beyond(parent.sequence, op, value)))
    return Test(parent.name, op, value)


def _beyond(sequence: Any, op: str, value: Any) -> list[Any]:
    values = [plain(v) for v in sequence]
    place = values.index(value)
    return [v for k, v in enumerate(values) if ORDERED[op](k, place)]


_RELATIONS = {
    "ForbiddenEqualsRelation": "==",
    "ForbiddenLessThanRelation": "<",
    "ForbiddenLessThanEqualsRelation": "<=",
    "ForbiddenGreaterThanRelation": ">",
    "ForbiddenGreaterThanEqualsRelation": ">=",
}
_CLAUSES = {
    "ForbiddenLessThanClause": "lt",
    "ForbiddenLessThanEqualsClause": "le",
    "ForbiddenGreaterThanClause": "gt",
    "ForbiddenGreaterThanEqualsClause": "ge",
}
_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _forbidden(clause: Any) -> list[str]:
    """Constraints that say what a forbidden clause says: one for each thing that is forbidden."""
    if type(clause).__name__ == "ForbiddenOrConjunction":
        return [text for part in clause.components for text in _forbidden(part)]
    return [f"not ({_clause(clause)})"]


def _clause(clause: Any) -> str:
    kind = type(clause).__name__
    if kind in ("ForbiddenAndConjunction", "ForbiddenOrConjunction"):
        word = " and " if "And" in kind else " or "
        return word.join(f"({_clause(part)})" for part in clause.components)
    if kind in _RELATIONS:
        for side in (clause.left, clause.right):
            if kind != "ForbiddenEqualsRelation" and not is_number(plain(side.default_value)):
                raise SpecError(f"{clause}: {side.name} has named values, which constraints cannot compare")
        return f"{_reference(clause.left.name)} {_RELATIONS[kind]} {_reference(clause.right.name)}"
    name = _reference(clause.hyperparameter.name)
    if kind == "ForbiddenInClause":
        return f"{name} in {[plain(v) for v in clause.values]!r}"
    if kind == "ForbiddenEqualsClause":
        return f"{name} == {plain(clause.value)!r}"
    if kind not in _CLAUSES:
        raise SpecError(f"the forbidden clause {clause} is of a kind that is not known here")
    op, value = _CLAUSES[kind], plain(clause.value)
    if type(clause.hyperparameter).__name__ == "OrdinalHyperparameter":
        return f"{name} in {_beyond(clause.hyperparameter.sequence, op, value)!r}"
    return f"{name} {_SIGNS[op]} {value!r}"


def _reference(name: str) -> str:
    """How an expression names a hyper-parameter."""
    plain_name = name.isidentifier() and not keyword.iskeyword(name) and name not in {*FUNCTIONS, "config"}
    return name if plain_name else f"config[{name!r}]"


def to_configspace(space: Space, seed: int | None = None) -> Any:
    """The space as a ConfigurationSpace, conditions included; groups as `group/member`.

    Raises:
        SpecError: for constraints, and for steps that would have to be listed by the thousand.
    """
    import ConfigSpace

    if space.constraints:
        raise SpecError(
            f"ConfigSpace cannot say {space.constraints[0].text!r}; hand over the space without constraints "
            "and leave out what Space.satisfies refuses"
        )
    target = ConfigSpace.ConfigurationSpace(seed=seed)
    parameters = {name: _parameter(name, domain) for name, domain in space.domains.items()}
    target.add(*parameters.values())
    for name, condition in space.conditions.items():
        cases = [
            _all([_condition(t, parameters[name], parameters) for t in case]) for case in condition.cases
        ]
        target.add(cases[0] if len(cases) == 1 else ConfigSpace.OrConjunction(*cases))
    return target


def _all(tests: list[Any]) -> Any:
    import ConfigSpace

    return tests[0] if len(tests) == 1 else ConfigSpace.AndConjunction(*tests)


def _condition(test: Test, child: Any, parameters: dict[str, Any]) -> Any:
    import ConfigSpace

    parent = parameters[test.name]
    if test.op == "in":
        return ConfigSpace.InCondition(child, parent, list(test.value))
    if test.op == "ne":
        return _all([ConfigSpace.NotEqualsCondition(child, parent, v) for v in test.value])
    strict: dict[str, Callable[..., Any]] = {
        "gt": ConfigSpace.GreaterThanCondition,
        "lt": ConfigSpace.LessThanCondition,
    }
    if test.op in strict:
        return strict[test.op](child, parent, test.value)
    either = [
        strict[{"ge": "gt", "le": "lt"}[test.op]](child, parent, test.value),
        ConfigSpace.EqualsCondition(child, parent, test.value),
    ]
    return ConfigSpace.OrConjunction(*either)


def _parameter(name: str, domain: Domain) -> Any:
    import ConfigSpace

    if isinstance(domain, Fixed):
        return ConfigSpace.Constant(name, fresh(domain.value))
    if isinstance(domain, Ordinal):
        return ConfigSpace.OrdinalHyperparameter(name, list(domain.values))
    if isinstance(domain, Choice):
        return ConfigSpace.CategoricalHyperparameter(name, list(domain.values), weights=domain.weights)
    if isinstance(domain, Interval):
        return _interval(name, domain)
    if type(domain) is Normal and domain.low is not None and domain.high is not None and domain.q is None:
        return ConfigSpace.NormalFloatHyperparameter(name, domain.mean, domain.sd, domain.low, domain.high)
    raise SpecError(f"{name}: ConfigSpace has nothing for {domain.describe()}; give it bounds and no step")


def _interval(name: str, domain: Interval) -> Any:
    import ConfigSpace

    if domain.cardinality == 1:
        return ConfigSpace.Constant(name, domain.value_at(0.5))
    if domain.q is not None:
        if (domain.cardinality or 0) > STEPS_AT_MOST:
            raise SpecError(f"{name}: ConfigSpace has no steps, and {domain.describe()} is too many to list")
        first, last = domain.steps or (0, 0)
        values = [domain.value_at(domain.to_unit(k * domain.q)) for k in range(first, last + 1)]
        return ConfigSpace.OrdinalHyperparameter(name, values)
    cls = (
        ConfigSpace.UniformIntegerHyperparameter if domain.integer else ConfigSpace.UniformFloatHyperparameter
    )
    return cls(name, domain.low, domain.high, log=domain.log)
