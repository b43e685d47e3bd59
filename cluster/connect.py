"""Reaching a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import ray

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
    if address is not None and address.startswith("ray://"):
        raise ClusterError(
            f"--address {address}: a search runs on the cluster itself, not through Ray Client. Submit it "
            "there: ray job submit --address http://HEAD:8265 --working-dir . -- raysearch launch search.yaml"
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
            ray.init(address=address, **quiet)
        else:  # RAY_ADDRESS, or a cluster made with `ray start`, or a new one
            ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        raise ClusterError(
            f"no Ray cluster answers at {where}: {error}. Start one (ray start --head), give another "
            "--address, or use --local"
        ) from error
