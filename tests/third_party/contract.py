"""What the package of somebody else has for a test: the contracts of raysearch, run on what is its own."""

from __future__ import annotations

from raysearch_first_past_the_post import Echo

from raysearch.testing import SamplerSuite, StrategySuite, small_recipes


class TestFirstPastThePost(StrategySuite):
    recipes = small_recipes(["first_past_the_post"])


class TestEcho(SamplerSuite):
    samplers = {"echo": lambda space, seed: Echo().bind(space, seed, 9)}  # noqa: RUF012
