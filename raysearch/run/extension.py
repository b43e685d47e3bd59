"""A run that is to grow: its spec with more samples or iterations, and the trials outside of a new space."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from raysearch.core.yaml_io import read_yaml
from raysearch.errors import LocatedError, SpecError
from raysearch.run.edits import SAMPLES
from raysearch.run.location import existing_run
from raysearch.space.space import Space
from raysearch.spec.search_spec import SearchSpec, make_spec
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import Extensible, abilities_of


def more_samples(
    spec: SearchSpec, samples: str | int | None, max_iterations: int | None = None
) -> SearchSpec:
    """The spec with a larger strategy: `samples` in all, or "+1000" for so many more.

    >>> spec = raysearch.load_spec("runs/digits/spec.yaml")
    >>> raysearch.launch.more_samples(spec, "+4").strategy.samples
    12

    Raises:
        SpecError: the strategy cannot be made larger, or would become smaller.
    """
    recipe, abilities = spec.strategy, abilities_of(spec.strategy)
    if not isinstance(recipe, Extensible):
        raise SpecError(f"strategy {recipe.name!r} cannot be extended: it has no samples or horizon")
    now, horizon = abilities.samples, abilities.max_iterations or 0
    if samples is not None and now is None:
        raise SpecError(f"--samples: strategy {recipe.name} has none; a longer training is --max-iterations")
    count = _count(samples, now) if samples is not None and now is not None else None
    if count is not None and now is not None and count < now:
        raise SpecError(f"samples: {count} is fewer than the {now} that the run has; write +N for more")
    if max_iterations is not None and max_iterations < horizon:
        raise SpecError(f"max_iterations: {max_iterations} is less than the {horizon} that the run has")
    return dataclasses.replace(spec, strategy=recipe.extended(count, max_iterations))


def unfit(run: str | os.PathLike[str], space: Space) -> list[tuple[int, str]]:
    """(trial, why) for each trial of the run whose configuration does not lie in `space`.

    >>> narrower = raysearch.Space.from_dict({"lr": {"uniform": [0.0, 0.9]}})
    >>> raysearch.launch.unfit("runs/digits", narrower)
    [(4, 'lr = 0.903... is outside [0.0, 0.9]')]
    """
    found: dict[int, str] = {}
    for outcome in read_outcomes(RunPaths(existing_run(run)).journal):
        segment = outcome.segment
        if segment.is_final or segment.trial in found:
            continue
        if why := space.why_not(segment.config):
            found[segment.trial] = why
    return sorted(found.items())


def edited(paths: RunPaths, change: Mapping[str, Any]) -> tuple[str, SearchSpec]:
    """(the text of spec.yaml, the spec with the change).

    Args:
        change: {"kind": "samples", "samples": "+6"} or {"kind": "space", "space": {...}}.

    Raises:
        SpecError: spec.yaml cannot be read, or the change is wrong.
    """
    try:
        text = paths.spec.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{paths.spec}: cannot be read: {error}") from None
    fields = read_yaml(text, "spec.yaml")
    if not isinstance(fields, Mapping):
        raise SpecError(f"{paths.spec}: holds no spec")
    return text, changed(make_spec(**fields), fields, change)


def changed(spec: SearchSpec, fields: Mapping[str, Any], change: Mapping[str, Any]) -> SearchSpec:
    """The spec with the change. Raises SpecError."""
    if change.get("kind") == SAMPLES:
        samples = change.get("samples")
        if not isinstance(samples, (str, int)) or isinstance(samples, bool):
            raise SpecError(f"samples: {samples!r:.200} is neither a whole number nor +N")
        new = more_samples(spec, samples)
        if abilities_of(new.strategy).samples == abilities_of(spec.strategy).samples:
            raise SpecError(f"samples: the run has {abilities_of(spec.strategy).samples} already")
        return new
    try:
        new = make_spec(**{**fields, "space": change.get("space"), "constraints": None})
    except LocatedError as error:
        raise SpecError(f"[{error.place}]: {error.text}") from None
    if new.space == spec.space:
        raise SpecError("space: it is the space that the run has already")
    return new


def _count(samples: str | int, now: int) -> int:
    """The number that `samples` means for a run that has `now`."""
    text = str(samples).strip()
    if not text.lstrip("+").isdigit():
        raise SpecError(f"samples: {samples!r} is neither a whole number nor +N")
    return now + int(text[1:]) if text.startswith("+") else int(text)
