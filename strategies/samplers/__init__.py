"""Where configurations come from."""

from __future__ import annotations

from raysearch.strategies.samplers.base import Sampler, Source, name_of
from raysearch.strategies.samplers.factory import check_name, is_of_object, make_sampler
from raysearch.strategies.samplers.quasi_random import Sequence, sobol, uniform

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
