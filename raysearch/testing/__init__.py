"""The contracts of strategies and samplers as tests, for packages that bring their own.

A test file of yours, run by pytest:

    from raysearch.testing import SamplerSuite, StrategySuite

    class TestMine(StrategySuite):
        recipes = {"small": Mine(samples=12)}       # each must end after some dozens of segments

    class TestMySampler(SamplerSuite):
        samplers = {"mine": lambda space, seed: MySampler(space, seed)}

Importing this needs no pytest; running it does.
"""

from __future__ import annotations

import sys

_MODULES = ("raysearch.testing.worlds", "raysearch.testing.strategies", "raysearch.testing.samplers")

if "pytest" in sys.modules:  # so that a failed assertion shows its values
    sys.modules["pytest"].register_assert_rewrite(*_MODULES)

from raysearch.testing.samplers import SamplerSuite  # noqa: E402
from raysearch.testing.strategies import StrategySuite, small_recipes  # noqa: E402

__all__ = ["SamplerSuite", "StrategySuite", "small_recipes"]
