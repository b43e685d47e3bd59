"""Conditions: when a hyper-parameter is there at all (`beta2`, when the optimizer is adamw)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.values import fresh, identity, is_number, plain, same, show
from raysearch.errors import SpecError, unknown
from raysearch.space.base import Domain
from raysearch.space.categorical import Choice, Ordinal

ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}
OPERATORS = ("in", "ne", *ORDERED)
CASES_MAX = 256  # of one condition, those of the groups around it multiplied in


@dataclass(frozen=True, slots=True)
class Test:
    """A claim about another hyper-parameter: `op` is in, ne, ge, gt, le or lt.

    Attributes:
        name: whose value is looked at.
        value: what it is compared with; a tuple for "in" (any of these) and "ne" (none of these).
    """

    __test__ = False  # not a test case, in spite of its name

    name: str
    op: str
    value: Any
    _keys: frozenset[Hashable] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise SpecError(unknown("comparison", self.op, OPERATORS))
        value = plain(self.value)
        object.__setattr__(self, "value", value if self.op in ORDERED else tuple(value))
        keys = () if self.op in ORDERED else map(identity, value)
        object.__setattr__(self, "_keys", frozenset(keys))

    def holds(self, value: Any, domain: Domain) -> bool:
        """Whether `value` of `domain` passes; named steps compare by their place in the order."""
        if self.op not in ORDERED:
            return (identity(value) in self._keys) is (self.op == "in")
        return ORDERED[self.op](_rank(value, domain), _rank(self.value, domain))

    def check(self, domain: Domain) -> None:
        """Raises SpecError if no value of `domain` can be compared so, or an allowed value cannot occur."""
        if self.op not in ORDERED:
            for value in self.value:
                if (why := domain.why_not(value)) is not None:
                    raise SpecError(f"{self.name} = {show(value)} never occurs: {show(value)} {why}")
        elif isinstance(domain, Choice) and not (isinstance(domain, Ordinal) or _numbers(domain)):
            raise SpecError(f"{self.name} has no order to compare with {self.op}; list the values instead")
        elif not _numbers(domain):
            if (why := domain.why_not(self.value)) is not None:
                raise SpecError(f"{self.name} cannot be compared with {show(self.value)}: it {why}")
        elif not is_number(self.value):
            raise SpecError(f"{self.name} is a number and cannot be compared with {show(self.value)}")


def _numbers(domain: Domain) -> bool:
    """Whether all values of `domain` are numbers."""
    if isinstance(domain, Choice):
        return all(is_number(v) for v in domain.values)
    return domain.is_numeric or is_number(getattr(domain, "value", None))


def _rank(value: Any, domain: Domain) -> Any:
    """What to compare: a number itself, a named step's place."""
    return domain.index(value) if isinstance(domain, Choice) and not _numbers(domain) else value


@dataclass(frozen=True, slots=True)
class Condition:
    """True where all tests of at least one of the `cases` pass; a test of an inactive name fails."""

    cases: tuple[tuple[Test, ...], ...]

    def __post_init__(self) -> None:
        _check_count(len(self.cases))

    @property
    def names(self) -> tuple[str, ...]:
        """Names it looks at, in the order they are mentioned."""
        return tuple(dict.fromkeys(test.name for case in self.cases for test in case))

    def holds(self, values: Mapping[str, Any], domains: Mapping[str, Domain]) -> bool:
        """Whether it is met by `values`, which hold the active names only."""
        for case in self.cases:
            for test in case:
                if test.name not in values or not test.holds(values[test.name], domains[test.name]):
                    break
            else:
                return True
        return False

    def check(self, domains: Mapping[str, Domain]) -> None:
        """Raises SpecError for names that are not in `domains`, and tests that make no sense there."""
        for test in (t for case in self.cases for t in case):
            if test.name not in domains:
                raise SpecError(unknown("name", test.name, domains))
            test.check(domains[test.name])

    def form(self, group: str = "") -> Any:
        """The condition as it is written in YAML under `when`; inside a group names begin with `/`."""
        cases = [_case_form(case, "/" if group else "") for case in self.cases]
        return cases[0] if len(cases) == 1 else cases

    def also(self, other: Condition) -> Condition:
        """The condition that both this one and `other` are met."""
        _check_count(len(self.cases) * len(other.cases))
        return Condition(tuple((*a, *b) for a in self.cases for b in other.cases))

    @classmethod
    def parse(cls, form: Any, resolve: Callable[[str], str] = str) -> Condition:
        """Reads `{optimizer: adamw, layers: {ge: 2}}`, or a list of such of which one must be met.

        Args:
            resolve: turns a name as written into the flat one.
        """
        forms = form if isinstance(form, (list, tuple)) else [form]
        if not forms or not all(isinstance(f, Mapping) and f for f in forms):
            raise SpecError(f"when must be a mapping such as {{optimizer: adamw}}, not {form!r}")
        _check_count(len(forms))
        return cls(tuple(tuple(_tests(f, resolve)) for f in forms))


def _check_count(cases: int) -> None:
    if cases > CASES_MAX:
        raise SpecError(
            f"when: {cases:,} cases; at most {CASES_MAX}, where lists in groups inside one another multiply: "
            "list values of one name ({optimizer: [a, b]}) in place of cases"
        )


def _tests(form: Mapping[Any, Any], resolve: Callable[[str], str]) -> list[Test]:
    tests = []
    for key, value in form.items():
        if not isinstance(key, str):
            raise SpecError(f"when: {key!r} is not text; put the name in quotes")
        if isinstance(value, Mapping):
            if not value:
                raise SpecError(f"when: {key} is compared with nothing; known: {', '.join(OPERATORS)}")
            tests += [Test(resolve(key), op, _operand(op, v)) for op, v in value.items()]
        else:
            tests.append(Test(resolve(key), "in", _operand("in", value)))
    return tests


def _operand(op: str, value: Any) -> Any:
    if op in ORDERED:
        return value
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _case_form(case: tuple[Test, ...], prefix: str) -> dict[str, Any]:
    """One mapping for the tests of a case; two of the same name and comparison become one."""
    tests: dict[str, dict[str, Any]] = {}
    for test in case:
        entry = tests.setdefault(prefix + test.name, {})
        value = test.value if test.op not in entry else _both(test.op, entry[test.op], test.value)
        entry[test.op] = value
    return {name: _short(entry) for name, entry in tests.items()}


def _both(op: str, a: Any, b: Any) -> Any:
    """The operand for which `op` says what it says for `a` and for `b`."""
    if op == "in":
        return tuple(v for v in a if any(same(v, w) for w in b))
    if op == "ne":
        return (*a, *b)
    if is_number(a) and is_number(b):
        return max(a, b) if op in ("ge", "gt") else min(a, b)
    raise SpecError(f"one name is compared twice with {op} ({show(a)}, {show(b)}); write one comparison")


def _short(tests: dict[str, Any]) -> Any:
    """`adamw` for `{in: [adamw]}`, `[a, b]` for `{in: [a, b]}`; lists instead of tuples."""
    plainly = {op: v if op in ORDERED else [fresh(x) for x in v] for op, v in tests.items()}
    if set(plainly) != {"in"}:
        return plainly
    values = plainly["in"]
    return values[0] if len(values) == 1 and not isinstance(values[0], (list, dict)) else values
