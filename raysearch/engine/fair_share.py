"""How searches on one cluster share it: by priority, none above its greatest share, none below its least.

Pure: every search that knows the same claims and nodes comes to the same division, so that none has to
decide for all. Workers of different searches may take different things (a GPU here, a CPU there); what is
made equal is each search's part of the cluster, counted in how much of it its workers would fill alone, in
proportion to its priority (weighted dominant shares, Ghodsi et al. 2011, NSDI).
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Amounts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one search asks of the cluster.

    Attributes:
        name: of the search; no two have the same.
        takes: what one of its workers takes of a node; resource name -> amount.
        priority: above zero; a search with twice as much gets twice the part.
        max_share: the greatest part of the cluster, from 0 to 1, also without other searches.
        least: workers that it gets before others get more than theirs.
        most: workers that it can use; None is as many as it gets.
        since: when it came, Unix time; of equals the older is served first.
    """

    name: str
    takes: Amounts
    priority: float = 1.0
    max_share: float = 1.0
    least: int = 1
    most: int | None = None
    since: float = 0.0

    def for_work(self, need: int | None) -> Claim:
        """The claim of a search that has work for so many workers just now; None is for any number."""
        if need is None:
            return self
        most = max(need, self.least)
        return dataclasses.replace(self, most=most if self.most is None else min(most, self.most))


def fit(node: Amounts, takes: Amounts) -> int:
    """How many workers that take so much have room on a node."""
    wanted = {name: amount for name, amount in takes.items() if amount > 0}
    if not wanted:
        return 0
    return max(0, min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items()))


def cap(claim: Claim, nodes: Sequence[Amounts]) -> int:
    """The most workers that a claim may have of these nodes; at least one where one has room."""
    room = sum(fit(node, claim.takes) for node in nodes)
    allowed = min(room, max(1, math.floor(room * claim.max_share + 1e-9)))
    return allowed if claim.most is None else min(allowed, claim.most)


def divided(claims: Sequence[Claim], nodes: Sequence[Amounts]) -> dict[str, int]:
    """Workers for each claim, by name; what one cannot use goes to the others.

    First everyone gets its least, by priority and age. Then workers go one at a time to the search with the
    smallest part of the cluster for its priority, and still has room on some node.
    """
    left = [dict(node) for node in nodes]
    caps = {claim.name: cap(claim, nodes) for claim in claims}
    given = dict.fromkeys(caps, 0)
    open_to = {name: deque(left) for name in caps}  # nodes in turns, those without room dropped

    def place(claim: Claim) -> bool:
        turns = open_to[claim.name]
        while turns:
            node = turns.popleft()
            if fit(node, claim.takes):
                for name, amount in claim.takes.items():
                    node[name] = node.get(name, 0.0) - amount
                turns.append(node)
                given[claim.name] += 1
                return True
        return False

    for claim in sorted(claims, key=lambda c: (-c.priority, c.since, c.name)):
        while given[claim.name] < min(claim.least, caps[claim.name]) and place(claim):
            continue
    rooms = {claim.name: max(1, sum(fit(node, claim.takes) for node in nodes)) for claim in claims}

    def standing(claim: Claim) -> tuple[float, float, str]:
        return (given[claim.name] + 1) / (rooms[claim.name] * claim.priority), claim.since, claim.name

    queue = [(*standing(claim), index) for index, claim in enumerate(claims)]
    heapq.heapify(queue)
    while queue:
        claim = claims[heapq.heappop(queue)[-1]]
        if given[claim.name] < caps[claim.name] and place(claim):
            heapq.heappush(queue, (*standing(claim), claims.index(claim)))
    return given
