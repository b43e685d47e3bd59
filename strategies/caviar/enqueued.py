"""What people order of a running caviar search: configurations of theirs as the next trials, more samples.

An order is checked and stamped with the number of the trial that it becomes, so that a replay of the journal,
which takes orders in before outcomes, gives the same trials the same configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config
from raysearch.errors import SpecError, unknown

if TYPE_CHECKING:
    from raysearch.space.space import Space
    from raysearch.strategies.caviar.proposals import Proposals
    from raysearch.strategies.caviar.settings import Caviar
    from raysearch.strategies.caviar.trial_ledger import Ledger

ENQUEUE = "enqueue"  # kind of an order


class TakesConfigs:
    """The part of a running search that people's orders go to."""

    _recipe: Caviar
    _space: Space
    _proposals: Proposals
    _ledger: Ledger
    _closed: bool

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order, checked and stamped with the trial that it becomes.

        Args:
            order: {"kind": "enqueue", "config": {...}}.

        Raises:
            SpecError: the configuration is not in the space, or every trial has begun.
        """
        if order.get("kind") != ENQUEUE:
            raise SpecError(unknown("order to caviar", str(order.get("kind")), (ENQUEUE,)))
        if self._closed:
            raise SpecError("the search tries nothing more: going on was not worth its cost (stop_when)")
        config = enqueued_config(self._space, order.get("config"))
        trial = max(self._ledger.next_new, self._proposals.next_free)
        if trial >= self._recipe.samples:
            raise SpecError(
                f"all {self._recipe.samples:,} samples have begun or are taken; give it more first: "
                "raysearch resume RUN --samples +1"
            )
        return {**order, "config": config, "trial": trial, "words": f"trial {trial} is this configuration"}

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Takes in an order that `plan_intervention` stamped, in this life or an earlier one."""
        self._proposals.enqueue(int(stamped["trial"]), stamped["config"])

    def grow(self, samples: int) -> None:
        """Tries so many configurations in all, from now on."""
        self._recipe = replace(self._recipe, samples=samples)


def enqueued_config(space: Space, given: Any) -> Config:
    """The configuration of an order, without names that are inactive in it.

    Raises:
        SpecError: it is no mapping, or not in the space.
    """
    if not isinstance(given, Mapping) or not given:
        raise SpecError(f"config: {given!r:.200} is no mapping of hyper-parameters to values")
    config = space.nest(space.flatten(given))
    if why := space.why_not(config):
        raise SpecError(f"config: {why}")
    return config
