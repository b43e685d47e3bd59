"""Reaching a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import psutil
import ray

from raysearch.cluster.dashboard import check_cluster
from raysearch.core.library_errors import RAY_OTHER_VERSION, RAY_SLOW_START
from raysearch.errors import ClusterError
from raysearch.ray_private import noted_address
from raysearch.storage.object_store import check_cluster_address

REACH_S = 3.0  # for a connection to the cluster's head
STARTS = (
    4  # of a cluster on this machine: Ray waits 30 s for its processes, which a busy machine may not keep
)


@contextlib.contextmanager
def connected(
    address: str | None,
    local: bool,
    cpus: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[None]:
    """A connection to Ray for the length of a search.

    One that exists already in this process is used and left as it was. Otherwise: `address`, or a
    cluster that runs on this machine, or (also with `local`) a new one that ends with the search. `say`
    gets a line where the cluster is one that nobody named.

    Raises:
        ClusterError: nothing answers at `address`, or this process is connected to another cluster.
        SpecError: it holds a key.
    """
    check_cluster_address(address)
    if address is not None and address.startswith(("ray://", "http://", "https://")):
        raise ClusterError(
            f"--address {address}: a search runs on the cluster itself, and is submitted to this address: "
            f"raysearch launch search.yaml --submit --address {address}, or raysearch cluster submit "
            f"--address {address} -- resume RUN"
        )
    if ray.is_initialized():
        _check_same(address)
        yield
        return
    found = found_cluster() if address is None and not local else ""
    _connect(address, local, cpus)
    if found:
        say(f"joined the Ray cluster {found}, which runs already; --local (local=True) starts another one")
    try:
        yield
    finally:
        ray.shutdown()


def found_cluster() -> str:
    """The address of the cluster that a search without one joins, and who says so; empty where none is."""
    if named := os.environ.get("RAY_ADDRESS"):
        return "" if named == "local" else f"at {named} (RAY_ADDRESS)"
    noted = noted_address()
    return f"at {noted} (as `ray start` noted on this machine)" if noted else ""


def is_reachable(address: str) -> bool:
    """True if something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except OSError:
        return False
    return True


def begin(**options: Any) -> None:
    """`ray.init`; once more, a few times, where the machine is too busy to start Ray in the time it allows.

    Ray leaves the processes of a start that failed until this one exits: they are ended before the next.

    Raises:
        RuntimeError: Ray did not start in any of the attempts.
    """
    for _ in range(STARTS):
        before = _rays_children()
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises no narrower one
            _end(_rays_children() - before)
            if not RAY_SLOW_START.is_in(error):
                raise
            slow = error
        else:
            return
    raise RuntimeError(f"Ray was started {STARTS} times and was not up within 30 s: {slow}") from slow


def gpu_kinds() -> str | None:
    """The kinds of accelerator that the cluster's nodes have; None if they say none."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    prefix = "accelerator_type:"
    return ", ".join(sorted(n.removeprefix(prefix) for n in names if n.startswith(prefix))) or None


def _rays_children() -> set[psutil.Process]:
    """The processes that Ray has started from this one."""
    folder = str(Path(ray.__file__).parent)
    found = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended since, or is about to
            if any(folder in part for part in process.cmdline()):
                found.add(process)
    return found


def _end(processes: Collection[psutil.Process]) -> None:
    """Kills the processes, and waits until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=REACH_S)


def _connect(address: str | None, local: bool, cpus: float | None) -> None:
    new = {"include_dashboard": False, **({"num_cpus": cpus} if cpus is not None else {})}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if local:
            begin(address="local", **new, **quiet)
        elif address is not None:
            if ":" in address and "://" not in address:
                check_cluster(address)  # Ray itself would go on trying for minutes
            ray.init(address=address, **quiet)
        else:  # RAY_ADDRESS, or a cluster made with `ray start`, or a new one
            _check_noted()
            begin(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        if RAY_OTHER_VERSION.is_in(error):
            raise ClusterError(_other_versions(where, str(error))) from error
        raise ClusterError(
            f"no Ray cluster answers at {where}: {error}. Start one (ray start --head), give another "
            "--address, or use --local"
        ) from error


def _check_same(address: str | None) -> None:
    """Raises ClusterError where `address` is of another cluster than this process is connected to."""
    if address is None or ":" not in address or "://" in address:  # `auto` and `local` name none
        return
    here = ray.get_runtime_context().gcs_address
    if _place(address) != _place(here):
        check_cluster(address)
        raise ClusterError(
            f"this process is connected to the Ray cluster at {here} already, and the search was to run at "
            f"{address}: end that connection before (ray.shutdown()), or leave the address out"
        )


def _place(address: str) -> tuple[str, str]:
    """(IP address, port); all names of this machine are one."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        host = socket.gethostbyname(host.strip("[]"))
    return "127.0.0.1" if host == ray.util.get_node_ip_address() else host, port


def _check_noted() -> None:
    """Raises ClusterError where Ray's note of a cluster on this machine has outlived it.

    Ray itself would go on trying for minutes, and say nothing.
    """
    noted = None if os.environ.get("RAY_ADDRESS") else noted_address()
    if noted is not None and not is_reachable(noted):
        raise ClusterError(
            f"Ray notes a cluster of this machine at {noted}, which does not answer; it may have been "
            "killed. Take the note back (ray stop), start a cluster (ray start --head), or use --local "
            "(local=True)"
        )


def _other_versions(where: str, error: str) -> str:
    """The error for a cluster with other versions than ours, and what to do."""
    found = re.findall(r"Ray: (\S+)\s+Python: (\S+)", error)
    (ray_there, python_there), (ray_here, python_here) = found if len(found) == 2 else (("?", "?"),) * 2
    return (
        f"the cluster at {where} has Ray {ray_there} and Python {python_there}, this machine has Ray "
        f"{ray_here} and Python {python_here}; both must be the same to join it. Install the cluster's, or "
        "submit the search, for which they may differ: raysearch launch search.yaml --submit --address "
        "http://HEAD:8265"
    )
