"""Small expressions over named values, `layers * width <= 4096`: of constraints, and of `trials --where`.

The text is parsed into a syntax tree, and that into functions that compute it: arithmetic, comparisons,
`and`/`or`/`not`, names, constants and a few functions. Nothing else can run, and Python evaluates no text.
Arithmetic is on numbers only, and a whole number beyond the largest float is refused, so that no expression
takes long. `model.lr` is the `lr` of the group `model`; `config["batch-size"]` is for names that are no names
of Python's.
"""

from __future__ import annotations

import ast
import functools
import math
import numbers
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.values import show
from raysearch.errors import SpecError, unknown

TEXT_MAX = 10_000  # characters of an expression
PARTS_MAX = 1_000  # names, constants, operations and calls in it
DEPTH_MAX = 100  # of one inside another
SHOWN = 120  # characters of an expression in a message
WHOLE_MAX = 2**1024  # the largest float is just below it
DIGITS_MAX = 300  # that round() may be asked for

_AS_SPELT: Mapping[str, str] = {}
Values = Mapping[str, Any]
Evaluate = Callable[[Values], Any]


class _BeyondError(Exception):
    """A whole number is beyond the largest float."""


def _rounded(value: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > DIGITS_MAX:
        raise TypeError(f"round to {digits} digits: at most {DIGITS_MAX}")
    return round(value, digits)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": _rounded,
    "sqrt": math.sqrt,
}
HELP = "an expression is made of names, numbers, text, + - * / // % **, comparisons, in, and/or/not and " + (
    ", ".join(FUNCTIONS)
)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, ready to be computed.

    Attributes:
        text: as it was written.
        what: what it is, for messages: "constraint", "--where".
        names: the names that it speaks of, with `/` between group and member.
    """

    text: str
    what: str
    names: frozenset[str]
    _evaluate: Evaluate

    def value(self, values: Values) -> Any:
        """What it comes to for values by name.

        Raises:
            ArithmeticError, ValueError: it has no value: a division by zero, the logarithm of -1.
            SpecError: it makes no sense for these values, such as text times text.
        """
        try:
            return self._evaluate(values)
        except TypeError as error:
            raise self._cannot(values, str(error)) from None
        except _BeyondError:
            why = "a whole number in it is beyond 1.8e308, the largest number that is computed with"
            raise self._cannot(values, why) from None

    def _cannot(self, values: Values, why: str) -> SpecError:
        shown = ", ".join(f"{n} = {show(values[n])}" for n in sorted(self.names) if n in values)
        return SpecError(f"{self.what} {shortened(self.text)} cannot be computed for {shown}: {why}")


@functools.lru_cache(maxsize=1024)
def compiled(text: str, what: str, spelt: tuple[tuple[str, str], ...] = ()) -> Expression:
    """The expression of a text.

    Args:
        what: what it is, for messages.
        spelt: names as they are spelt in the text, each with the one that is meant.

    Raises:
        SpecError: it is no expression, speaks of nothing, holds what is not allowed, or is too large.
    """
    reader = Reader(text, what, dict(spelt))
    evaluate = reader.build(reader.tree)
    if not reader.names:
        raise SpecError(f"{what} {shortened(text)} names no hyper-parameter")
    return Expression(text, what, frozenset(reader.names), evaluate)


def shortened(text: str) -> str:
    """The text in quotes, its middle left out where it is long."""
    if len(text) <= SHOWN:
        return repr(text)
    return f"{text[: SHOWN // 2]!r} ... {text[-SHOWN // 2 :]!r} ({len(text):,} characters)"


# ---- the tree


def _parsed(text: str, what: str) -> ast.expr:
    if len(text) > TEXT_MAX:
        raise SpecError(f"{what} {shortened(text)} is too long: at most {TEXT_MAX:,} characters; split it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about text in quotes and comparisons with `is`
            return ast.parse(text.strip(), mode="eval").body
    except (RecursionError, MemoryError):
        raise SpecError(f"{what} {shortened(text)} is nested too deeply; split it") from None
    except (SyntaxError, ValueError) as error:
        hint = "; equality is ==" if "=" in text and "==" not in text else ""
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SpecError(f"{what} {shortened(text)} is not an expression: {why}{hint}") from None


def _check_size(tree: ast.expr, text: str, what: str) -> None:
    """Raises SpecError for an expression of too many parts, or too many inside one another."""
    parts = deepest = 0
    for depth, _ in _walk(tree):
        parts, deepest = parts + 1, max(deepest, depth)
    if parts > PARTS_MAX or deepest > DEPTH_MAX:
        raise SpecError(
            f"{what} {shortened(text)} is too large: {parts:,} parts, {deepest} inside one another; at most "
            f"{PARTS_MAX:,} and {DEPTH_MAX}; split it into several, or compare with `in [...]`"
        )


def _walk(tree: ast.expr) -> Iterator[tuple[int, ast.expr]]:
    """(depth, part) of all parts; without recursion, for a tree of any depth."""
    waiting = [(1, tree)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += [(depth + 1, part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]


class Reader:
    """Parses a text and makes functions of its parts; refuses what is not on the list.

    Attributes:
        tree: of the text; names: that the parts built so far speak of.
    """

    def __init__(self, text: str, what: str, meant: Mapping[str, str] = _AS_SPELT) -> None:
        self.names: set[str] = set()
        self.text, self._what, self._meant = text, what, meant
        self.tree = _parsed(text, what)
        _check_size(self.tree, text, what)

    def build(self, node: ast.expr) -> Evaluate:
        """The function of a part of the expression."""
        if isinstance(node, (ast.Attribute, ast.Subscript, ast.Name)):
            return self._name(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, type(None))):
            return _constant(node.value)
        if isinstance(node, (ast.Tuple, ast.List)):
            return _listed([self.build(part) for part in node.elts])
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _binary(_ARITHMETIC[type(node.op)], self.build(node.left), self.build(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            return _unary(_UNARY[type(node.op)], self.build(node.operand))
        if isinstance(node, ast.BoolOp):
            parts = [self.build(part) for part in node.values]
            return _every(parts) if isinstance(node.op, ast.And) else _any(parts)
        if isinstance(node, ast.Compare):
            compare = [_COMPARISONS[type(op)] for op in node.ops]
            return _compared(self.build(node.left), compare, [self.build(part) for part in node.comparators])
        if isinstance(node, ast.IfExp):
            return _either(self.build(node.test), self.build(node.body), self.build(node.orelse))
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._refused(node)

    def _name(self, node: ast.expr) -> Evaluate:
        name = _flat_name(node)
        if name is None:
            raise self._refused(node)
        name = self._meant.get(name, name)
        self.names.add(name)
        return operator.itemgetter(name)

    def _call(self, node: ast.Call) -> Evaluate:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self._refused(node)
        if node.func.id not in FUNCTIONS:
            what = unknown("function", node.func.id, FUNCTIONS)
            raise SpecError(f"{self._what} {shortened(self.text)}: {what}")
        return _called(FUNCTIONS[node.func.id], [self.build(part) for part in node.args])

    def _refused(self, node: ast.expr) -> SpecError:
        hint = "for ~ write not; " if isinstance(node, ast.UnaryOp) else ""
        part = shortened(ast.unparse(node))
        return SpecError(f"{self._what} {shortened(self.text)}: {part} is not allowed; {hint}{HELP}")


def _flat_name(node: ast.expr) -> str | None:
    """`a/b` for `a.b` or `config["a/b"]`; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        group = _flat_name(node.value)
        return None if group is None else f"{group}/{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "config":
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
    return None


# ---- what is computed


def _checked(value: Any) -> Any:
    """The value, if it is a number that may be computed with."""
    kind = type(value)
    if kind is float:
        return value
    if kind is not int and not isinstance(value, numbers.Real):
        raise TypeError(f"{show(value)} is no number")
    if isinstance(value, int) and not -WHOLE_MAX < value < WHOLE_MAX:
        raise _BeyondError
    return value


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and (a.bit_length() - 1) * b > WHOLE_MAX.bit_length():
        raise _BeyondError
    result = a**b
    if isinstance(result, complex):
        raise ValueError(f"{a} ** {b} is no real number")
    return result


def _bits(do: Callable[[int, int], Any], sign: str) -> Callable[[Any, Any], Any]:
    def joined(a: Any, b: Any) -> Any:
        if not (isinstance(a, int) and isinstance(b, int)):
            word = {"&": "; between conditions write and", "|": "; between conditions write or"}.get(sign, "")
            raise TypeError(f"{show(a)} {sign} {show(b)}: both must be whole numbers{word}")
        return do(a, b)

    return joined


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.BitAnd: _bits(operator.and_, "&"),
    ast.BitOr: _bits(operator.or_, "|"),
    ast.BitXor: _bits(operator.xor, "^"),
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: lambda value: -_checked(value),
    ast.UAdd: lambda value: +_checked(value),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _constant(value: Any) -> Evaluate:
    return lambda values: value


def _listed(parts: list[Evaluate]) -> Evaluate:
    return lambda values: [part(values) for part in parts]


def _binary(do: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: _checked(do(_checked(left(values)), _checked(right(values))))


def _unary(do: Callable[[Any], Any], operand: Evaluate) -> Evaluate:
    return lambda values: do(operand(values))


def _called(function: Callable[..., Any], parts: list[Evaluate]) -> Evaluate:
    return lambda values: function(*(part(values) for part in parts))


def _either(test: Evaluate, body: Evaluate, orelse: Evaluate) -> Evaluate:
    return lambda values: body(values) if test(values) else orelse(values)


def _every(parts: list[Evaluate]) -> Evaluate:
    """Python's `and`: the first value that is not true, or the last."""

    def evaluate(values: Values) -> Any:
        value: Any = True
        for part in parts:
            if not (value := part(values)):
                break
        return value

    return evaluate


def _any(parts: list[Evaluate]) -> Evaluate:
    """Python's `or`: the first value that is true, or the last."""

    def evaluate(values: Values) -> Any:
        value: Any = False
        for part in parts:
            if value := part(values):
                break
        return value

    return evaluate


def _compared(first: Evaluate, compare: list[Callable[[Any, Any], Any]], others: list[Evaluate]) -> Evaluate:
    """Python's `a < b < c`."""
    if len(compare) == 1:
        do, other = compare[0], others[0]
        return lambda values: do(first(values), other(values))

    def evaluate(values: Values) -> Any:
        left = first(values)
        for do, other in zip(compare, others, strict=True):
            right = other(values)
            if not do(left, right):
                return False
            left = right
        return True

    return evaluate
