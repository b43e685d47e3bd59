"""Orders that change the spec of a run while it goes on: more samples, and another space.

More samples are tried by the search that runs. Another space needs its sampler anew: the run is paused, and
`raysearch resume` goes on in the new space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysearch.core.yaml_io import read_yaml
from raysearch.errors import LocatedError, SpecError
from raysearch.run.extension import more_samples
from raysearch.run.pause import PAUSE, begin, order
from raysearch.spec.search_spec import SearchSpec, make_spec
from raysearch.strategies.base import Growing, abilities_of

if TYPE_CHECKING:
    from raysearch.engine.search import Search
    from raysearch.storage.paths import RunPaths

SAMPLES, SPACE = "samples", "space"
EDITS = (SAMPLES, SPACE)


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


def apply(search: Search, change: Mapping[str, Any], spec: SearchSpec, now: float) -> str:
    """Has the search that runs keep to the changed spec; what becomes of it, in words."""
    if change["kind"] == SPACE:
        _, words = begin(search, PAUSE, order(PAUSE), now)
        return f"the space is changed, and resume goes on in it; {words}"
    samples = abilities_of(spec.strategy).samples
    assert samples is not None
    assert isinstance(search.strategy, Growing)
    search.strategy.grow(samples)
    return f"{samples:,} samples in all"


def check_running(search: Search, change: Mapping[str, Any]) -> None:
    """Raises SpecError where the search that runs cannot keep to such a change."""
    if search.lifetime.over:
        raise SpecError(f"it is ending already: {search.lifetime.ending}")
    if change["kind"] == SAMPLES and not isinstance(search.strategy, Growing):
        name = type(search.strategy).__name__
        raise SpecError(
            f"{name} takes no more samples while it runs; caviar does. Pause it, and resume --samples"
        )
