"""The spec of a search: from YAML or keyword arguments to a checked SearchSpec."""

from __future__ import annotations

from raysearch.core.budget import Budget
from raysearch.spec.names import default_name, trainable_name
from raysearch.spec.search_spec import SearchSpec, apply_overrides, load_spec, make_spec
from raysearch.spec.workers import Workers

__all__ = [
    "Budget",
    "SearchSpec",
    "Workers",
    "apply_overrides",
    "default_name",
    "load_spec",
    "make_spec",
    "trainable_name",
]
