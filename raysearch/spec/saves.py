"""Whether a function trainable shows, in its source and in what it calls, that it writes checkpoints."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from typing import Any

ASKS = ("get_checkpoint", "resume_path", "SearchTracker")  # where a function asks for its checkpoint
MOST = 200  # functions and classes that are looked at
_CALLBACK = re.compile(r"Report\w*Checkpoint|Checkpoint\w*Report|RayTrainReportCallback")
_LIBRARIES = ("torch", "numpy", "pandas", "scipy", "sklearn", "builtins", "raysearch", "ray")


def saves_checkpoints(function: Any) -> bool:
    """Whether a function, a helper that it calls, or a callback that it uses reports a checkpoint.

    Looked at is the source of what the function names: functions, classes and modules' attributes of the
    user's own modules, and those of their own. What has no source counts as writing none.
    """
    own = _behind(function)
    if (said := getattr(own, "saves_checkpoints", None)) is not None:
        return bool(said)
    return any(_shows(thing, thing is own) for thing in _reached(function))


def asks_for_checkpoint(function: Any) -> bool:
    """Whether a function, or what it names of the user's own, asks for the checkpoint to begin from.

    Looked at as in `saves_checkpoints`. What has no source counts as not asking.
    """
    own = _behind(function)
    if (said := getattr(own, "saves_checkpoints", None)) is not None:
        return bool(said)
    return any(_is_asking(thing, _seen(thing, thing is own)) for thing in _reached(function))


def _is_asking(thing: Any, source: str | None) -> bool:
    """Whether it is Ray's function under whatever name, or its source names that."""
    return getattr(thing, "__name__", "") in ASKS or (source is not None and _asks(source))


def _shows(thing: Any, is_own: bool) -> bool:
    """Whether a thing's source shows it; `is_own` is the trainable itself, whatever module it is from."""
    if getattr(thing, "__name__", "") in ASKS or _CALLBACK.search(getattr(thing, "__qualname__", "")):
        return True
    source = _seen(thing, is_own)
    return source is not None and ("checkpoint=" in source or _asks_or_gives(source))


def _seen(thing: Any, is_own: bool) -> str | None:
    return _source(thing) if _is_users(thing) or is_own else None


@functools.lru_cache(maxsize=512)
def _asks_or_gives(source: str) -> bool:
    calls = (node for node in _nodes(source) if isinstance(node, ast.Call))
    gives = any(_called(call) == "report" and len(call.args) > 1 for call in calls)
    return gives or _asks(source) or any(_CALLBACK.search(_name(node)) for node in _nodes(source))


@functools.lru_cache(maxsize=512)
def _asks(source: str) -> bool:
    return any(_name(node) in ASKS for node in _nodes(source))


def _nodes(source: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(textwrap.dedent(source)))
    except (SyntaxError, ValueError):
        return


def _name(node: ast.AST) -> str:
    """The name that a node is, or the last of `a.b.name`; empty for others."""
    return node.attr if isinstance(node, ast.Attribute) else str(getattr(node, "id", ""))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _source(thing: Any) -> str | None:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return None


def _reached(function: Any) -> Iterator[Any]:
    """The function and what it names, breadth first; partials and wrappers are looked behind."""
    waiting = [function, *_given(function)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST:
        thing = _behind(waiting.pop(0))
        if id(thing) in seen or isinstance(thing, types.ModuleType):
            continue
        seen.add(id(thing))
        yield thing
        waiting += _named(thing) if _is_users(thing) or len(seen) == 1 else _cells(thing)


def _given(function: Any) -> list[Any]:
    """What a partial gives its function, callable things only."""
    if not isinstance(function, functools.partial):
        return []
    return [value for value in (*function.args, *function.keywords.values()) if callable(value)]


def _is_users(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or ""
    return module.split(".")[0] not in _LIBRARIES


def _cells(function: Any) -> list[Any]:
    """The callable things that a function encloses."""
    cells = getattr(function, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells if _is_filled(cell)]


def _behind(thing: Any) -> Any:
    while isinstance(thing, functools.partial) or hasattr(thing, "__wrapped__"):
        thing = thing.func if isinstance(thing, functools.partial) else thing.__wrapped__
    return getattr(thing, "__func__", thing)


def _named(thing: Any) -> list[Any]:
    """Functions and classes among what a function, or a class's methods, name."""
    if inspect.isclass(thing):
        methods = [_behind(m) for m in vars(thing).values()]
        return [m for m in methods if inspect.isfunction(m)] + list(thing.__mro__[1:-1])
    if not inspect.isfunction(thing):
        return [] if inspect.isbuiltin(thing) else [type(thing)] if callable(thing) else []
    found = [thing.__globals__[name] for name in _names(thing.__code__) if name in thing.__globals__]
    attributes = [
        getattr(module, name)
        for module in found
        if isinstance(module, types.ModuleType) and module.__name__.split(".")[0] not in _LIBRARIES
        for name in _names(thing.__code__)
        if hasattr(module, name)
    ]
    return [v for v in (*_cells(thing), *found, *attributes) if callable(v)]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return callable(cell.cell_contents)
    except ValueError:
        return False


def _names(code: types.CodeType) -> list[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return [*code.co_names, *(name for c in inner for name in _names(c))]
