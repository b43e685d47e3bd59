"""The searches that share a Ray cluster: each asks the others' coordinators what they claim."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from raysearch.engine.fair_share import Amounts, Claim, divided
from raysearch.executors.tune.scaling import Fleet, StaffMember, StaffOrders

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec

NAMESPACE = "raysearch"  # in which coordinators are named
LOOK_S = 2.0  # between two looks for other searches
FIRST_S = 3.0  # how long the first answers are waited for
FORGET_S = 60.0  # a coordinator that is there and does not answer keeps its part for so long


class Neighbours:
    """What this search may have of the cluster, as the claims of all stand."""

    def __init__(self, mine: Claim) -> None:
        self._mine = mine
        self._claims: dict[str, tuple[Claim, float]] = {}  # and when it was heard
        self._asked: dict[Any, str] = {}
        self._look_at = 0.0

    def meet(self) -> None:
        """Asks everyone for the first time, and waits a moment for their answers."""
        self._ask()
        if self._asked:
            ray.wait([*self._asked], num_returns=len(self._asked), timeout=FIRST_S)

    def part(self, nodes: Sequence[Amounts], now: float, need: int | None = None) -> int | None:
        """How many workers this search may have of these nodes; None where nothing limits it.

        Never waits: answers that have come are taken in, and now and then everyone is asked again.

        Args:
            need: how many it has work for just now, if it may have more. It gives the others away only if
                another search gets workers by that.
        """
        self._take_in(now)
        if now >= self._look_at and not self._asked:
            self._look_at = now + LOOK_S
            self._ask()
        others = [claim for claim, _ in self._claims.values()]
        if not others and self._mine.max_share >= 1:
            return None
        whole = divided([self._mine, *others], nodes)
        if need is not None:
            less = divided([self._mine.for_work(need), *others], nodes)
            if any(less[claim.name] > whole[claim.name] for claim in others):
                return less[self._mine.name]
        return whole[self._mine.name]

    @property
    def names(self) -> list[str]:
        """Of the others."""
        return sorted(self._claims)

    def _ask(self) -> None:
        names = [n["name"] for n in ray.util.list_named_actors(all_namespaces=True) if _is_one(n)]
        self._claims = {name: said for name, said in self._claims.items() if name in names}
        for name in names:
            if name == self._mine.name:
                continue
            try:
                actor = ray.get_actor(name, namespace=NAMESPACE)
                self._asked[actor.claim.remote()] = name
            except (ValueError, AttributeError):  # it has just ended, or is none of ours
                self._claims.pop(name, None)

    def _take_in(self, now: float) -> None:
        ready, _ = (
            ray.wait([*self._asked], num_returns=len(self._asked), timeout=0) if self._asked else ([], [])
        )
        for answer in ready:
            name = self._asked.pop(answer)
            try:
                claim = ray.get(answer)
            except RayError:
                continue
            if claim is None:
                self._claims.pop(name, None)
            else:
                self._claims[name] = (claim, now)
        self._claims = {n: (c, heard) for n, (c, heard) in self._claims.items() if now - heard < FORGET_S}
        if now - self._look_at > FORGET_S:  # a search that never answers
            self._asked.clear()


def _is_one(actor: dict[str, str]) -> bool:
    return actor["namespace"] == NAMESPACE


def claim_of(name: str, fleet: Fleet, spec: SearchSpec) -> Claim:
    """What a search claims whose workers are these."""
    takes: defaultdict[str, float] = defaultdict(float)
    for bundle in (*fleet.shares[0].bundles, *fleet.shares[0].beside):
        for resource, amount in bundle.items():
            takes[resource] += amount
    bounds = fleet.bounds
    return Claim(
        name, dict(takes), spec.priority, spec.max_share, bounds.least, bounds.most, since=time.time()
    )


def within(orders: StaffOrders, members: Sequence[StaffMember], part: int | None) -> StaffOrders:
    """The fleet's orders for a search that may have no more than `part` workers: the least busy go first."""
    if part is None:
        return orders
    going = {*orders.cancel, *orders.retire}
    staying = [m for m in members if not m.retiring and m.name not in going]
    surplus = len(staying) - part
    if surplus <= 0:
        return dataclasses.replace(orders, start=orders.start[:-surplus])
    waiting = [m.name for m in reversed(staying) if not m.node][:surplus]
    running = sorted((m for m in staying if m.node), key=lambda m: m.leases)[: surplus - len(waiting)]
    return StaffOrders((), (*orders.cancel, *waiting), (*orders.retire, *(m.name for m in running)))
