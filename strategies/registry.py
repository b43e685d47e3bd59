"""Strategies by name: ours, and those of installed packages (entry-point group `raysearch.strategies`)."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, cast

from raysearch.core import installed
from raysearch.errors import SpecError, unknown
from raysearch.strategies.base import Abilities, Recipe, abilities_of

GROUP = "raysearch.strategies"
LEAST = 2

OURS = {
    "caviar": "raysearch.strategies.caviar:Caviar",
    "panda": "raysearch.strategies.panda:Panda",
    "replay": "raysearch.strategies.replay:Replay",
    "retest": "raysearch.strategies.retest:Retest",
    "two_stage": "raysearch.strategies.two_stage:TwoStage",
    "auto": "raysearch.strategies.auto:Auto",
}


def names() -> tuple[str, ...]:
    """Every strategy that can be named in a spec."""
    return tuple(sorted({*OURS, *installed.names(GROUP)}))


def recipe_class(name: str) -> type[Recipe]:
    """The recipe class called `name`; only its own module is imported.

    Raises:
        SpecError: for an unknown name, and for an installed one that cannot be imported or is there twice.
    """
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        return _checked(name, getattr(importlib.import_module(module), attribute))
    try:
        return _checked(name, installed.load(GROUP, name, "strategy"))
    except KeyError:
        raise SpecError(unknown("strategy", name, names())) from None


def recipe(name: str, fields: Mapping[str, Any]) -> Recipe:
    """The recipe `name` with these fields.

    Raises:
        SpecError: for an unknown name or field, a missing one, or a wrong value.
    """
    cls = recipe_class(name)
    known = _fields(cls)
    for field in fields:
        if field not in known:
            raise SpecError(f"strategy {name}: {unknown('field', field, known)}")
    missing = [n for n, f in known.items() if n not in fields and _is_required(f)]
    if missing:
        raise SpecError(f"strategy {name} needs {' and '.join(missing)}")
    return cls(**fields)


def abilities_in(written: Mapping[str, Any]) -> Abilities:
    """What the strategy under `strategy:` of a spec.yaml can do.

    A size that the file lacks is taken as LEAST. The defaults, but for `samples`, where its recipe cannot be
    made here: its package is not installed, say.
    """
    name = str(written.get("name", ""))
    settings = {field: value for field, value in written.items() if field != "name"}
    try:
        lacking = {f: LEAST for f, field in _fields(recipe_class(name)).items() if _is_required(field)}
        return abilities_of(recipe(name, {**lacking, **settings}))
    except (SpecError, TypeError):
        samples = written.get("samples")
        return Abilities(samples=samples if isinstance(samples, int) else None)


def is_named(recipe: Recipe) -> bool:
    """Whether a recipe's name leads back to its class, so that a spec can hold it."""
    try:
        return recipe_class(recipe.name) is type(recipe)
    except SpecError:
        return False


def _fields(cls: type[Recipe]) -> dict[str, dataclasses.Field[Any]]:
    return {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]


def _checked(name: str, cls: Any) -> type[Recipe]:
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls) and hasattr(cls, "start")):
        raise SpecError(f"strategy {name!r} is {cls!r}, not a dataclass with a method start")
    return cast("type[Recipe]", cls)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
