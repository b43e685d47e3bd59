"""The share of a cluster that a worker takes, how many fit, and nodes that an autoscaler could add."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import yaml

from raysearch import ray_private
from raysearch.errors import ClusterError
from raysearch.spec.workers import Workers, resource_name

if TYPE_CHECKING:
    from raysearch.cluster.node_health import Placement, Pulse

Amounts = Mapping[str, float]
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
NODES_SHOWN = 4
GROUPS_COUNTED = 4096  # placement groups of several bundles are tried out one by one, up to so many


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one worker.

    Attributes:
        bundles: reserved for it; its process runs in the first. Resource name -> amount, without zeros.
        strategy: how they lie on nodes.
        beside: bundles that a Ray Train run started by the trainable places itself.
        processes: that train in the bundles, as many in each; 0: the worker trains in its own process. The
            process of a worker that has others train takes nothing.
    """

    bundles: tuple[Amounts, ...] = ({"CPU": 1.0},)
    strategy: str = "PACK"
    beside: tuple[Amounts, ...] = ()
    processes: int = 0

    def placement(self, pulse: Pulse) -> Placement:
        """The request as Tune takes it, for nodes that answer."""
        from raysearch.cluster.node_health import (
            Placement,  # which loads Tune; the coordinator has no use for it
        )

        own: list[dict[str, float]] = [{}] if self.processes else []
        return Placement([*own, *(dict(bundle) for bundle in self.bundles)], self.strategy, pulse)

    def bundle(self) -> dict[str, float]:
        """The first bundle, in which the worker's own process runs."""
        return dict(self.bundles[0])

    def held(self) -> tuple[float, float]:
        """CPUs and GPUs of all bundles."""
        taken = (*self.bundles, *self.beside)
        cpus, gpus = (sum(bundle.get(name, 0.0) for bundle in taken) for name in ("CPU", "GPU"))
        return cpus, gpus

    @property
    def is_nothing(self) -> bool:
        """True if the worker takes nothing, so that any number fits."""
        return not any((*self.bundles, *self.beside))

    def words(self) -> str:
        """`1 CPU, 0.25 GPU`, or `1 CPU, and beside it 4 times 1 GPU`, or `4 processes with 1 GPU each`."""
        if self.processes:
            return self._processes_words()
        own, *others = [bundle for bundle in (*self.bundles, *self.beside) if bundle] or [{}]
        parts = [amounts(own)]
        for bundle in {amounts(other): other for other in others}.values():
            parts.append(f"{sum(amounts(o) == amounts(bundle) for o in others)} times {amounts(bundle)}")
        return ", and beside it ".join(parts[:2]) + "".join(f", {part}" for part in parts[2:])

    def _processes_words(self) -> str:
        """`4 processes with 1 GPU each, 2 on each of 2 nodes`."""
        count, nodes = self.processes, len(self.bundles)
        each = {name: amount * nodes / count for name, amount in self.bundles[0].items()}
        kind = f"{count} process" if count == 1 else f"{count} processes"
        text = f"{kind} with {amounts(each)}" + (" each" if count > 1 else "")
        if self.strategy == "STRICT_SPREAD" and count > 1:
            text += f", {count // nodes} on each of {nodes} nodes" if nodes > 1 else ", on one node"
        return text

    def grown(self, factors: Amounts) -> Resources:
        """The same with its own share grown by these factors; above one, GPUs are whole."""
        own = {name: amount * factors.get(name, 1.0) for name, amount in self.bundles[0].items()}
        if own.get("GPU", 0.0) > 1:
            own["GPU"] = float(math.ceil(own["GPU"] - 1e-9))
        return Resources((own, *self.bundles[1:]), self.strategy, self.beside)


def resources_of(workers: Workers) -> Resources:
    """The resources of each worker of a spec."""
    if workers.processes:
        return _of_processes(workers, workers.processes)
    train = workers.train
    beside = (train["resources_per_worker"],) * train["num_workers"] if train else ()
    return Resources((workers.share(), *workers.bundles), workers.placement, beside)


def _of_processes(workers: Workers, count: int) -> Resources:
    """A bundle for each process, or one for those that have to lie on one node."""
    if workers.nodes is None:
        return Resources((workers.share(),) * count, workers.placement, (), count)
    each = count // workers.nodes
    bundle = {name: amount * each for name, amount in workers.share().items()}
    return Resources((bundle,) * workers.nodes, "STRICT_SPREAD", (), count)


def shares_of(workers: Workers, nodes: Sequence[Amounts]) -> list[Resources]:
    """The shares that a trial may be given one after the other, as its memory runs out; all fit a node."""
    found = [resources_of(workers)]
    factors = {resource_name(key): factor for key, factor in workers.on_oom.items()}
    while factors and (bigger := found[-1].grown(factors)) and room(nodes, bigger, 1):
        found.append(bigger)
    return found


def beyond(workers: Workers, shares: Sequence[Resources], nodes: Sequence[Amounts]) -> str:
    """Why no share is larger than the last one."""
    factors = {resource_name(key): factor for key, factor in workers.on_oom.items()}
    bigger = {n: a for n, a in shares[-1].grown(factors).bundle().items() if n in factors}
    most = amounts(_most(nodes, bigger))
    return f"the next share, {amounts(bigger)}, is more than any node has: the most is {most}"


def alive() -> dict[str, dict[str, float]]:
    """The nodes that take work: id -> resources. Those that are being drained are left out."""
    going = draining()
    return {n["NodeID"]: n["Resources"] for n in ray.nodes() if n["Alive"] and n["NodeID"] not in going}


def draining() -> set[str]:
    """Ids of nodes that are about to go: preempted, or scaled down. Empty where Ray does not say."""
    return ray_private.draining_nodes()


def brought() -> list[dict[str, float]]:
    """Nodes that the cluster's autoscaler could start, one of each kind; empty where none is known.

    Read from the autoscaler's report to Ray, or from the file that Ray's cluster launcher leaves on the
    head. KubeRay's autoscaler reports no kinds of nodes.
    """
    config: Any = ray_private.cluster_config()
    if config is not None:
        groups = [dict(group.resources) for group in config.node_group_configs if group.max_count != 0]
        return [_floats(resources) for resources in groups]
    file = BOOTSTRAP.expanduser()
    launched: Any = yaml.safe_load(file.read_text()) if file.is_file() else {}
    kinds = launched.get("available_node_types", {}).values()
    return [_floats(kind.get("resources", {})) for kind in kinds if kind.get("max_workers", 1) != 0]


def fitting(resources: Resources, may_come: bool = False) -> int:
    """How many workers fit into the whole cluster at once, without what else runs there; 0 if nodes may come.

    Args:
        may_come: the user asked for a number of workers, so nodes may come.

    Raises:
        ClusterError: not even one worker fits, now or later.
    """
    nodes = list(alive().values())
    fit = room(nodes, resources)
    if fit == 0 and not may_come and not room(brought(), resources, 1):
        wanted = {name: 0.0 for bundle in (*resources.bundles, *resources.beside) for name in bundle}
        if resources.processes:
            raise ClusterError(too_many_processes(resources, nodes))
        raise ClusterError(
            f"one worker needs {resources.words()}, and no node has that: the most on one node is "
            f"{amounts(_most(nodes, wanted))}. Lower `workers.cpu`, `workers.gpu` or `workers.resources`, or "
            "add nodes. Where they are still to come, say so with `workers.min`: the search waits for them"
        )
    return fit


def too_many_processes(resources: Resources, nodes: Sequence[Amounts]) -> str:
    """Why the processes of not even one worker have room, with what there is."""
    names = resources.bundle()
    there = "; ".join(amounts({name: node.get(name, 0.0) for name in names}) for node in nodes[:NODES_SHOWN])
    more = f" and {len(nodes) - NODES_SHOWN} nodes more" if len(nodes) > NODES_SHOWN else ""
    what = "there is one node, with" if len(nodes) == 1 else f"there are {len(nodes)} nodes, with"
    return (
        f"one worker needs {resources.words()}, and no placement can hold them: {what} {there}{more}. Lower "
        "`workers.processes` or what each takes, or add nodes. Where they are still to come, say so with "
        "`workers.min`: the search waits for them"
    )


def room(nodes: Sequence[Amounts], resources: Resources, enough: int = GROUPS_COUNTED) -> int:
    """How many such workers fit on the nodes at once; of several bundles up to `enough` are counted."""
    bundles = (*resources.bundles, *resources.beside)
    if len(bundles) == 1:
        return sum(fit(node, bundles[0]) for node in nodes)
    left = [dict(node) for node in nodes]
    count = 0
    while count < enough and _take(left, resources.bundles, resources.strategy):
        if not _take(left, resources.beside, "PACK"):
            break
        count += 1
    return count


def fit(node: Amounts, bundle: Amounts) -> int:
    """How many times the bundle fits on a node."""
    if not bundle:
        return 1
    return min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle.items())


def take(node: dict[str, float], bundle: Amounts) -> None:
    """Subtracts the bundle from the node's free resources."""
    for name, amount in bundle.items():
        node[name] = node.get(name, 0.0) - amount


def amounts(bundle: Amounts) -> str:
    """`1 CPU, 0.25 GPU`."""
    return ", ".join(_amount(name, amount) for name, amount in bundle.items()) or "nothing"


def _take(left: list[dict[str, float]], bundles: Sequence[Amounts], strategy: str) -> bool:
    """Subtracts a group from the nodes' free resources; False if it does not fit."""
    used: list[dict[str, float]] = []
    for bundle in bundles:
        able = [node for node in left if fit(node, bundle) > 0]
        if strategy == "STRICT_PACK" and used:
            able = [node for node in able if node is used[0]]
        if strategy.endswith("SPREAD"):
            fresh = [node for node in able if all(node is not u for u in used)]
            able = fresh or ([] if strategy == "STRICT_SPREAD" else able)
        else:
            able = [node for node in able if any(node is u for u in used)] or able
        if not able:
            return False
        if strategy == "STRICT_PACK" and not used:
            able = [node for node in able if _holds(node, bundles)] or able
        take(able[0], bundle)
        used.append(able[0])
    return True


def _floats(resources: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(amount) for name, amount in resources.items()}


def _holds(node: Amounts, bundles: Sequence[Amounts]) -> bool:
    total: dict[str, float] = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            total[name] = total.get(name, 0.0) + amount
    return fit(node, total) > 0


def _most(nodes: Sequence[Amounts], names: Amounts) -> dict[str, float]:
    return {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in names}


def _amount(name: str, amount: float) -> str:
    if name.startswith("accelerator_type:"):
        return f"an accelerator {name.partition(':')[2]}" if amount > 0 else f"no {name.partition(':')[2]}"
    return f"{amount / 1e9:g} GB memory" if name == "memory" else f"{amount:g} {name}"
