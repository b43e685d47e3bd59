"""Keeps as many workers as there should be, on nodes that answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from raysearch.cluster.capacity import alive, brought
from raysearch.cluster.node_health import SILENT_S, Pulse
from raysearch.engine.snapshot import Snapshot
from raysearch.executors.tune.neighbours import Neighbours, within
from raysearch.executors.tune.scaling import Fleet, StaffMember, StaffOrders
from raysearch.executors.tune.tune_plugins import Roster

SILENT = "node {} ({}) has not answered for {:g} s: no worker is started there until it does"


class Staff:
    """Starts, cancels and retires workers by what the search and the cluster look like."""

    def __init__(
        self, coordinator: Any, fleet: Fleet, roster: Roster, neighbours: Neighbours, pulse: Pulse
    ) -> None:
        self._coordinator = coordinator
        self._fleet = fleet
        self._roster = roster
        self._neighbours = neighbours
        self._pulse = pulse

    def begin(self) -> None:
        """Asks for the first workers."""
        self._pulse.settle()
        self._outdated(())
        nodes, now = self._answering(), time.monotonic()
        part = self._neighbours.part([*nodes.values()], now)
        self._roster.carry_out(within(self._fleet.orders((), nodes, {}, now), (), part))

    def keep_up(self, status: Snapshot) -> None:
        """Keeps as many workers as there should be; starts none while the search winds down."""
        facts = status.coordinator
        if status.live.winding or facts is None:
            return
        members, nodes = self._roster.members(status.live.workers), self._answering()
        now = time.monotonic()
        if outdated := self._outdated(members):
            self._roster.carry_out(StaffOrders(cancel=outdated))
            members = [m for m in members if m.name not in outdated]
        kinds = brought() if self._fleet.bounds.can_grow else []
        part = self._neighbours.part([*nodes.values(), *kinds], now, facts.need)
        there = [m for m in members if not m.node or m.node in nodes]
        orders = within(self._fleet.orders(members, nodes, facts.work, now), there, part)
        self._roster.carry_out(orders)
        if retiring := [*orders.retire, *(m.name for m in members if m.retiring and m.node)]:
            self._coordinator.retire.remote(retiring)
        if text := self._fleet.missing(members, nodes, now):
            self._coordinator.remark.remote(text)

    def _answering(self) -> dict[str, dict[str, float]]:
        """The nodes that take work and answer: id -> resources."""
        return {node: amounts for node, amounts in alive().items() if node not in self._pulse.silent}

    def _outdated(self, members: Sequence[StaffMember]) -> tuple[str, ...]:
        """Workers that wait for a share of the wrong nodes, since some fell silent or answer again.

        Warns the user of nodes that do not answer.
        """
        fallen, back = self._pulse.changes()
        for node, address in fallen.items():
            self._coordinator.remark.remote(SILENT.format(address, node[:8], SILENT_S))
        return tuple(m.name for m in members if not m.node and not m.retiring) if fallen or back else ()
