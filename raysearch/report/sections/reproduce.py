"""The spec, versions and commands that do the search again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.report.sections.values import Section

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def reproduce(results: Results, winner: Best | None) -> Section:
    """Versions, commands and the spec of the run."""
    from raysearch.core.yaml_io import write_yaml

    starts = [event.detail for event in results.events() if event.kind == "start"]
    versions = (
        ", ".join(f"{k} {v}" for k, v in starts[-1].items() if isinstance(v, str)) if starts else "not noted"
    )
    words = [
        f"Written by: {versions}.",
        "Save what follows as search.yaml, then: raysearch launch search.yaml",
    ]
    if winner is not None:
        words.append(
            f"The winner alone: raysearch export {results.path} --config -o best.yaml --checkpoint best"
        )
    return Section("reproduce", "To do it again", words, code=write_yaml(results.spec).rstrip())
