"""Whether processes on different nodes can be one process group: tried with gloo, all nodes at once.

Where that fails each pair of nodes is tried, as many pairs at a time as have no node in common.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysearch.cluster.doctor import group_probe
from raysearch.core import interfaces

MEET_S = 10.0  # for a group to meet and add up numbers
LOAD_S = 60.0  # for the nodes to load torch

Apart = tuple[tuple[str, str, str], ...]


def tried(nodes: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Apart | None:
    """The pairs of nodes that cannot talk, each with why; None where there is one node only.

    Args:
        nodes: id -> what Ray says of it; those that are alive and answer.
        names: id -> the name for people.
    """
    if len(nodes) < 2:
        return None
    for module in (group_probe, interfaces):
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        kind = ray.remote(num_cpus=0, max_restarts=0)(group_probe.GroupProbe)
        probes = {
            node: kind.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                known["NodeManagerAddress"]
            )
            for node, known in nodes.items()
        }
    finally:
        for module in (group_probe, interfaces):
            ray.cloudpickle.unregister_pickle_by_value(module)
    try:
        if not any(_met([tuple(probes)], probes, nodes)):
            return ()
        found = []
        for pairs in rounds(tuple(probes)):
            for (first, second), why in zip(pairs, _met(pairs, probes, nodes), strict=True):
                if why:
                    found.append((names[first], names[second], why))
        return tuple(found)
    finally:
        for probe in probes.values():
            ray.kill(probe)


def rounds(nodes: Sequence[str]) -> list[list[tuple[str, str]]]:
    """All pairs of these, in rounds of pairs that have none in common.

    >>> rounds(["a", "b", "c", "d"])
    [[('a', 'b'), ('c', 'd')], [('a', 'c'), ('b', 'd')], [('a', 'd'), ('b', 'c')]]
    """
    left = list(itertools.combinations(nodes, 2))
    found = []
    while left:
        taken: list[tuple[str, str]] = []
        for pair in left:
            if not any(node in other for other in taken for node in pair):
                taken.append(pair)
        left = [pair for pair in left if pair not in taken]
        found.append(taken)
    return found


def _met(groups: Sequence[tuple[str, ...]], probes: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[str]:
    """Why each of these groups, which have no node in common, could not meet; "" where it could."""
    ports = _answers([probes[group[0]].serve.remote(len(group), MEET_S) for group in groups], 0)
    calls, whose = [], []
    for number, (group, port) in enumerate(zip(groups, ports, strict=True)):
        for rank, node in enumerate(group) if port else ():
            address = nodes[group[0]]["NodeManagerAddress"]
            calls.append(probes[node].meet.remote(address, port, rank, len(group), MEET_S))
            whose.append(number)
    result = ["" if port else "torch is not installed there, or the node does not answer" for port in ports]
    for number, why in zip(whose, _answers(calls, "no answer"), strict=True):
        result[number] = result[number] or why
    return result


def _answers(calls: list[Any], missing: Any) -> list[Any]:
    """The answers of these calls; `missing` in the place of those that fail or do not come."""
    ready, _ = ray.wait(calls, num_returns=len(calls), timeout=LOAD_S + 2 * MEET_S) if calls else ([], [])
    found = []
    for call in calls:
        try:
            found.append(ray.get(call) if call in ready else missing)
        except ray.exceptions.RayError:
            found.append(missing)
    return found
