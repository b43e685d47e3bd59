"""Orders that change the spec of a run while it goes on: more samples, and another space.

More samples are tried by the search that runs. Another space needs its sampler anew: the run is paused, and
`raysearch resume` goes on in the new space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysearch.errors import SpecError
from raysearch.run.pause import PAUSE, begin, order
from raysearch.strategies.base import Growing, abilities_of

if TYPE_CHECKING:
    from raysearch.engine.search import Search
    from raysearch.spec.search_spec import SearchSpec

SAMPLES, SPACE = "samples", "space"
EDITS = (SAMPLES, SPACE)


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
