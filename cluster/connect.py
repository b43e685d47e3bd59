"""Reaching a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator

import ray

from raysearch.cluster.dashboard import check_cluster
from raysearch.errors import ClusterError

REACH_S = 3.0  # for a connection to the cluster's head


@contextlib.contextmanager
def connected(address: str | None, local: bool, cpus: float | None = None) -> Iterator[None]:
    """A connection to Ray for the length of a search.

    One that exists already in this process is used and left as it was. Otherwise: `address`, or a
    cluster that runs on this machine, or (also with `local`) a new one that ends with the search.

    Raises:
        ClusterError: nothing answers at `address`.
    """
    if address is not None and address.startswith(("ray://", "http://", "https://")):
        raise ClusterError(
            f"--address {address}: a search runs on the cluster itself, and is submitted to this address: "
            f"raysearch launch search.yaml --submit --address {address}, or raysearch cluster submit "
            f"--address {address} -- resume RUN"
        )
    if ray.is_initialized():
        yield
        return
    _connect(address, local, cpus)
    try:
        yield
    finally:
        ray.shutdown()


def is_reachable(address: str) -> bool:
    """True if something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except OSError:
        return False
    return True


def gpu_kinds() -> str | None:
    """The kinds of accelerator that the cluster's nodes have; None if they say none."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    prefix = "accelerator_type:"
    return ", ".join(sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))) or None


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
