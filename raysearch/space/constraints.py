"""Constraints: expressions that every configuration must meet, such as `layers * width <= 4096`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.errors import SpecError, unknown
from raysearch.space.expressions import Expression, compiled, shortened
from raysearch.space.names import flat_name


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition that every configuration must meet, as text (see `expressions`).

    It says nothing about configurations in which one of its names is inactive: those pass.
    """

    text: str
    spelt: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)  # and the name meant

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise SpecError(f"constraint {self.text!r} must be text, such as 'layers * width <= 4096'")
        _ = self._expression

    @property
    def names(self) -> frozenset[str]:
        """Names that the expression speaks of, with `/` between group and member."""
        return self._expression.names

    def resolved(self, known: Iterable[str]) -> Constraint:
        """The same, in which `a.b` is the name `a.b` where it is one of `known`, and else `a/b`."""
        listed = list(known)
        names = sorted(compiled(self.text, "constraint").names)
        spelt = ((name, flat_name(name, listed)) for name in names)
        return Constraint(self.text, tuple(pair for pair in spelt if pair[0] != pair[1]))

    def check_names(self, known: Iterable[str]) -> None:
        """Raises SpecError if the expression speaks of a name that is not among `known`."""
        known = set(known)
        for name in sorted(self.names - known):
            raise SpecError(f"constraint {shortened(self.text)}: {unknown('name', name, known)}")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the constraint is met; True if one of its names is not in `values`.

        What has no value (a division by zero, the logarithm of a negative number) does not hold.

        Args:
            values: by flat name, `group/member`.

        Raises:
            SpecError: if the expression makes no sense for these values, such as text times text.
        """
        expression = compiled(self.text, "constraint", self.spelt)
        for name in expression.names:
            if name not in values:
                return True
        try:
            return bool(expression.value(values))
        except (ArithmeticError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            return False

    @property
    def _expression(self) -> Expression:
        return compiled(self.text, "constraint", self.spelt)


def meets(constraints: Iterable[Constraint], values: Mapping[str, Any]) -> bool:
    """Whether values by flat name meet every constraint."""
    return all(constraint.holds(values) for constraint in constraints)
