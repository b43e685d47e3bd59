"""Constraints: small expressions over hyper-parameters, such as `layers * width <= 4096`.

The text is parsed into a syntax tree of which only arithmetic, comparisons, `and`/`or`/`not`, names,
constants and a few functions are let through; nothing else can run. `model.lr` is the `lr` of the
group `model`; `config["batch-size"]` is for names that are no Python names.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from raysearch.errors import SpecError, unknown
from raysearch.space.names import flat_name

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
}
_ALLOWED = (
    ast.Expression,
    ast.BoolOp,
    ast.boolop,
    ast.BinOp,
    ast.operator,
    ast.UnaryOp,
    ast.unaryop,
    ast.Compare,
    ast.cmpop,
    ast.Call,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Tuple,
    ast.List,
    ast.IfExp,
)
_HELP = (
    "a constraint is made of names, numbers, text, + - * / // % **, comparisons, in, and/or/not and "
    + ", ".join(FUNCTIONS)
)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition that every configuration must meet, as text.

    It says nothing about configurations in which one of its names is inactive: those pass.
    """

    text: str
    spelt: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)  # and the name meant

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise SpecError(f"constraint {self.text!r} must be text, such as 'layers * width <= 4096'")
        _compiled(self.text)

    @property
    def names(self) -> frozenset[str]:
        """Names that the expression speaks of, with `/` between group and member."""
        return _compiled(self.text, self.spelt)[1]

    def resolved(self, known: Iterable[str]) -> Constraint:
        """The same, in which `a.b` is the name `a.b` where it is one of `known`, and else `a/b`."""
        listed = list(known)
        spelt = tuple((name, flat_name(name, listed)) for name in sorted(_compiled(self.text)[1]))
        return Constraint(self.text, tuple(pair for pair in spelt if pair[0] != pair[1]))

    def check_names(self, known: Iterable[str]) -> None:
        """Raises SpecError if the expression speaks of a name that is not among `known`."""
        known = set(known)
        for name in sorted(self.names - known):
            raise SpecError(f"constraint {self.text!r}: {unknown('name', name, known)}")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the constraint is met; True if one of its names is not in `values`.

        What has no value (a division by zero, the logarithm of a negative number) does not hold.

        Args:
            values: by flat name, `group/member`.

        Raises:
            SpecError: if the expression makes no sense for these values, such as text times text.
        """
        code, names = _compiled(self.text, self.spelt)
        for name in names:
            if name not in values:
                return True
        try:
            return bool(eval(code, _GLOBALS, values))
        except (ArithmeticError, ValueError):
            return False
        except TypeError as error:
            shown = ", ".join(f"{n} = {values[n]!r}" for n in sorted(names))
            raise SpecError(f"constraint {self.text!r} cannot be computed for {shown}: {error}") from None


_GLOBALS: dict[str, Any] = {"__builtins__": {}, **FUNCTIONS}


@functools.lru_cache(maxsize=1024)
def _compiled(text: str, spelt: tuple[tuple[str, str], ...] = ()) -> tuple[CodeType, frozenset[str]]:
    """Code that reads flat names, and those names. Raises SpecError for anything not allowed.

    `spelt` has names as they are spelt in the text, each with the one that is meant.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = "; equality is ==" if "=" in text and "==" not in text else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SpecError(f"constraint {text!r} is not an expression: {what}{hint}") from None
    names: set[str] = set()
    flat = ast.fix_missing_locations(_Flatten(text, names, dict(spelt)).visit(tree))
    if not names:
        raise SpecError(f"constraint {text!r} names no hyper-parameter")
    return compile(flat, "<constraint>", "eval"), frozenset(names)


class _Flatten(ast.NodeTransformer):
    """Turns `a.b` and `config["a/b"]` into the name `a/b`; refuses what is not on the list."""

    def __init__(self, text: str, names: set[str], meant: Mapping[str, str]) -> None:
        self.text = text
        self.meant = meant
        self.names = names

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.Attribute, ast.Subscript, ast.Name)):
            return self._name(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Constant) and not isinstance(node.value, (int, float, str, type(None))):
            raise self._refused(node)
        if not isinstance(node, _ALLOWED):
            raise self._refused(node)
        return self.generic_visit(node)

    def _name(self, node: ast.Attribute | ast.Subscript | ast.Name) -> ast.Name:
        name = _flat_name(node)
        if name is None:
            raise self._refused(node)
        name = self.meant.get(name, name)
        self.names.add(name)
        return ast.copy_location(ast.Name(id=name, ctx=ast.Load()), node)

    def _call(self, node: ast.Call) -> ast.Call:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self._refused(node)
        if node.func.id not in FUNCTIONS:
            what = unknown("function", node.func.id, FUNCTIONS)
            raise SpecError(f"constraint {self.text!r}: {what}")
        node.args = [self.visit(arg) for arg in node.args]
        return node

    def _refused(self, node: ast.AST) -> SpecError:
        return SpecError(f"constraint {self.text!r}: {ast.unparse(node)!r} is not allowed; {_HELP}")


def _flat_name(node: ast.AST) -> str | None:
    """`a/b` for `a.b` or `config["a/b"]`; None for any other node."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        group = _flat_name(node.value)
        return None if group is None else f"{group}/{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "config":
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
    return None


def meets(constraints: Iterable[Constraint], values: Mapping[str, Any]) -> bool:
    """Whether values by flat name meet every constraint."""
    return all(constraint.holds(values) for constraint in constraints)
