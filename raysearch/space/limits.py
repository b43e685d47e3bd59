"""Limits on reported values, such as `latency_ms <= 20`: conditions that tell how far a value is beyond.

A limit is a condition in the language of constraints (`expressions`) over metrics: comparisons with `<`,
`<=`, `>`, `>=`, `==`, `!=`, joined by `and`, `or`, `not`. Nested metrics are named `outer.inner`.

The excess of `a <= b` is (a - b) / |b|, or a - b where b is 0: 0.15 is 15% beyond, -0.5 is half of the limit
to spare. Of `and` the greatest excess counts, of `or` the least. Infeasible trials are compared by the sum of
what is beyond (Deb et al. 2002, NSGA-II, section VI).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from raysearch.core.formatting import number
from raysearch.errors import SpecError
from raysearch.space.expressions import Evaluate, Reader, Values, shortened
from raysearch.space.names import dotted

WHAT = "limit"
Excess = Callable[[Values], float]
HELP = "a limit compares reported values, such as 'latency_ms <= 20 and memory_gb < 16'"


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition that what comes out of a training must meet.

    Attributes:
        text: as it was written.

    >>> limit = Limit("latency_ms <= 20")
    >>> limit.excess({"latency_ms": 23.0}), limit.excess({"latency_ms": 10.0})
    (0.15, -0.5)

    Raises:
        SpecError: it is no condition in the language of constraints.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise SpecError(f"limit {self.text!r} must be text; {HELP}")
        _ = self._read

    @property
    def names(self) -> frozenset[str]:
        """The metrics that it speaks of; nested ones as `outer/inner`."""
        return self._read[0]

    def excess(self, values: Mapping[str, float]) -> float:
        """How far values are beyond the limit, as a share of it; at most 0 within, +inf where unknown.

        Unknown is what lacks a metric, has it NaN, or has no value: a division by zero.

        Args:
            values: by name, with `/` between outer and inner.
        """
        names, excess = self._read
        if any(math.isnan(values.get(name, math.nan)) for name in names):
            return math.inf
        try:
            return excess(values)
        except (ArithmeticError, ValueError):
            return math.inf

    def in_words(self, values: Mapping[str, float]) -> str:
        """The limit and the values that it speaks of: `latency_ms <= 20 (latency_ms 23.1)`."""
        known = {name: number(values.get(name, math.nan), 4) for name in sorted(self.names)}
        return f"{self.text} ({', '.join(f'{dotted(name)} {value}' for name, value in known.items())})"

    @property
    def _read(self) -> tuple[frozenset[str], Excess]:
        return _read(self.text)


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[frozenset[str], Excess]:
    """(the metrics that a limit speaks of, its excess)."""
    reader = Reader(text, WHAT)
    excess = _excess(reader.tree, reader, False)
    if not reader.names:
        raise SpecError(f"limit {shortened(text)} names no reported value; {HELP}")
    return frozenset(reader.names), excess


def violation_of(excesses: Iterable[float]) -> float:
    """The sum of what is beyond limits; 0 within all of them."""
    return sum(max(0.0, excess) for excess in excesses)


# ---- the tree


def _excess(node: ast.expr, reader: Reader, is_negated: bool) -> Excess:
    """The excess of a condition, or of its negation."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _excess(node.operand, reader, not is_negated)
    if isinstance(node, ast.BoolOp):
        parts = [_excess(part, reader, is_negated) for part in node.values]
        return _joined(parts, isinstance(node.op, ast.And) != is_negated)
    if isinstance(node, ast.Compare):
        sides = [reader.build(side) for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        return _joined([_compared(op, a, b, is_negated, reader) for op, a, b in pairs], not is_negated)
    raise SpecError(
        f"limit {shortened(reader.text)}: {shortened(ast.unparse(node))} is no comparison; {HELP}"
    )


def _joined(parts: list[Excess], are_all_needed: bool) -> Excess:
    if len(parts) == 1:
        return parts[0]
    join = max if are_all_needed else min
    return lambda values: join(part(values) for part in parts)


def _compared(op: ast.cmpop, left: Evaluate, right: Evaluate, is_negated: bool, reader: Reader) -> Excess:
    if isinstance(op, (ast.Lt, ast.LtE)):
        return _below(left, right, isinstance(op, ast.Lt), is_negated)
    if isinstance(op, (ast.Gt, ast.GtE)):
        return _below(left, right, isinstance(op, ast.GtE), not is_negated)
    if isinstance(op, (ast.Eq, ast.NotEq)):
        return _equal(left, right, isinstance(op, ast.NotEq) != is_negated)
    raise SpecError(f"limit {shortened(reader.text)}: only < <= > >= == != compare reported values; {HELP}")


def _below(left: Evaluate, right: Evaluate, is_strict: bool, is_turned: bool) -> Excess:
    """Of `left <= right`, or `<`; turned, of its negation `left > right`, or `>=`."""
    sign = -1.0 if is_turned else 1.0
    is_open = is_strict != is_turned  # equality is beyond

    def excess(values: Values) -> float:
        a, b = float(left(values)), float(right(values))
        found = sign * (a - b) / (abs(b) or 1.0)
        if math.isnan(found):
            return math.inf
        return math.ulp(0.0) if found == 0.0 and is_open else found

    return excess


def _equal(left: Evaluate, right: Evaluate, is_other_wanted: bool) -> Excess:
    def excess(values: Values) -> float:
        a, b = float(left(values)), float(right(values))
        if is_other_wanted:
            return 1.0 if a == b else -1.0
        return abs(a - b) / (abs(b) or 1.0)

    return excess
