"""Reaching a Ray cluster, and what a worker gets of it."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import ray
from ray.tune import PlacementGroupFactory

from raysearch.cluster.dashboard import check_cluster
from raysearch.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker holds: CPUs, GPUs (fractions too) and custom resources by name."""

    cpu: float = 1.0
    gpu: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    def placement(self) -> PlacementGroupFactory:
        """The request as Tune takes it."""
        return PlacementGroupFactory([self.bundle()])

    def bundle(self) -> dict[str, float]:
        """Resource name -> amount, without zeros."""
        wanted = {"CPU": self.cpu, "GPU": self.gpu, **self.custom}
        return {name: float(amount) for name, amount in wanted.items() if amount > 0}


@contextlib.contextmanager
def connected(address: str | None, local: bool, cpus: float | None = None) -> Iterator[None]:
    """A connection to Ray for the length of a search.

    One that exists already in this process is used and left as it was. Otherwise: `address`, or a
    cluster that runs on this machine, or (also with `local`) a new one that ends with the search.

    Raises:
        ClusterError: nothing answers at `address`.
    """
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            f"--address {address}: a search runs on the cluster itself, not through Ray Client. Submit it "
            f"there: raysearch launch search.yaml --submit --address {address}"
        )
    if ray.is_initialized():
        yield
        return
    _connect(address, local, cpus)
    try:
        yield
    finally:
        ray.shutdown()


def fitting(resources: Resources) -> int:
    """How many workers fit into the whole cluster at once, whatever else runs there.

    Raises:
        ClusterError: not even one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(_fit(node, resources.bundle()) for node in nodes)
    if fit == 0:
        largest = {
            name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in resources.bundle()
        }
        raise ClusterError(
            f"one worker needs {_words(resources.bundle())}, and no node has that: the most on one node is "
            f"{_words(largest)}. Lower `workers.cpu`, `workers.gpu` or `workers.resources`, or add nodes"
        )
    return fit


def gpu_kinds() -> str | None:
    """The kinds of accelerator that the cluster's nodes have; None if they say none."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    prefix = "accelerator_type:"
    return ", ".join(sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))) or None


def _fit(node: Mapping[str, float], bundle: Mapping[str, float]) -> int:
    if not bundle:
        return 1
    return min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle.items())


def _words(bundle: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in bundle.items())


def _connect(address: str | None, local: bool, cpus: float | None) -> None:
    new = {"include_dashboard": False, **({"num_cpus": cpus} if cpus is not None else {})}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if local:
            ray.init(address="local", **new, **quiet)
        elif address is not None:
            if ":" in address and "://" not in address:
                check_cluster(address)  # Ray itself would go on trying for minutes
            ray.init(address=address, **quiet)
        else:  # RAY_ADDRESS, or a cluster made with `ray start`, or a new one
            ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        if "ersion mismatch" in str(error):
            raise ClusterError(_other_versions(where, str(error))) from error
        raise ClusterError(
            f"no Ray cluster answers at {where}: {error}. Start one (ray start --head), give another "
            "--address, or use --local"
        ) from error


def _other_versions(where: str, said: str) -> str:
    """What Ray says of a cluster with other versions than ours, and what to do."""
    found = re.findall(r"Ray: (\S+)\s+Python: (\S+)", said)
    (ray_there, python_there), (ray_here, python_here) = found if len(found) == 2 else (("?", "?"),) * 2
    return (
        f"the cluster at {where} has Ray {ray_there} and Python {python_there}, this machine has Ray "
        f"{ray_here} and Python {python_here}; both must be the same to join it. Install the cluster's, or "
        "submit the search, for which they may differ: raysearch launch search.yaml --submit --address "
        "http://HEAD:8265"
    )
