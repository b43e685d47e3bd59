"""Runs the contracts of `raysearch.testing` on every registered strategy, and on our samplers."""

from __future__ import annotations

from typing import ClassVar

from raysearch.testing import SamplerSuite, StrategySuite, small_recipes
from raysearch.testing.samplers import Make, named


class TestStrategies(StrategySuite):
    recipes = small_recipes()

    def test_a_recipe_is_called_as_it_is_registered(self, name: str) -> None:
        assert self.recipes[name].name == name.partition("-")[0]


class TestSamplers(SamplerSuite):
    samplers: ClassVar[dict[str, Make]] = {name: named(name) for name in ("model", "sobol", "random")}
