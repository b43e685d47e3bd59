"""Names of trainables, and of runs after them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.spec.program import Program

NAME_MAX = 80  # characters of a trainable's name in that of a run


def trainable_name(trainable: Any) -> str:
    """`module:qualname` of a class or function; text as it is.

    A part in <>, as in `module:train.<partial>`, says that it cannot be found again by this name.
    """
    if isinstance(trainable, str):
        return trainable
    if isinstance(trainable, Mapping):  # a program: see raysearch.spec.program
        return str(trainable.get("program", "program"))
    if isinstance(trainable, functools.partial):
        return f"{qualified(trainable.func)}.<partial>"
    of_an_object = inspect.ismethod(trainable) and not inspect.isclass(trainable.__self__)
    is_named = hasattr(trainable, "__qualname__") and not of_an_object
    return qualified(trainable) if is_named else f"{qualified(trainable)}.<object>"


def qualified(value: Any) -> str:
    """`module:qualname` of a class or function, or of an object's class."""
    owner = value if hasattr(value, "__qualname__") else type(value)
    return f"{owner.__module__}:{owner.__qualname__}"


def default_name(trainable: Any) -> str:
    """The default name of a run: the trainable's own name in small letters."""
    if isinstance(trainable, Program):
        trainable = trainable.to_dict()
    if isinstance(trainable, Mapping):
        trainable = Path(trainable_name(trainable)).stem
    name = re.sub(r"\.<(partial|object)>$", "", trainable_name(trainable))
    last = getattr(trainable, "__name__", re.split(r"[:.]", name)[-1])  # tune.with_parameters sets __name__
    return re.sub(r"[^A-Za-z0-9_]+", "-", last).strip("-").lower()[:NAME_MAX] or "search"
