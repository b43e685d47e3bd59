"""Where configurations come from."""

from __future__ import annotations

from raysearch.strategies.samplers.base import (
    Sampler,
    Sequence,
    Source,
    check_name,
    is_of_object,
    make_sampler,
    name_of,
    sobol,
    uniform,
)

__all__ = [
    "Sampler",
    "Sequence",
    "Source",
    "check_name",
    "is_of_object",
    "make_sampler",
    "name_of",
    "sobol",
    "uniform",
]
