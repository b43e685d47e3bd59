"""The address of a cluster's dashboard, which takes jobs, and whether it answers.

address_of("auto")                -> "http://127.0.0.1:8265", asked of the cluster
address_of("ray://head:10001")    -> "http://head:8265", where Ray puts it
address_of("http://head:8265")    -> itself
"""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from raysearch import ray_private
from raysearch.cluster.auth import use_own_token, with_token
from raysearch.errors import ClusterError
from raysearch.storage.object_store import RAY_VARIABLES, check_cluster_address

PORT = 8265
VARIABLES = RAY_VARIABLES
TIMEOUT_S = 10.0
HINT = (
    "give the dashboard's address, such as --address http://HEAD:8265 (through a tunnel: "
    "ssh -L 8265:localhost:8265 HEAD, or ray dashboard FILE, then http://127.0.0.1:8265)"
)


def is_dashboard(address: str | None) -> bool:
    """True for http:// and https://, which only a dashboard has."""
    return address is not None and address.startswith(("http://", "https://"))


def address_of(address: str | None) -> str:
    """The address of the dashboard of a cluster; None means that of the environment, or one found here.

    Raises:
        ClusterError: no cluster answers, or it has no dashboard.
        SpecError: the address holds a key.
    """
    check_cluster_address(address)
    meant = address or next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "auto")
    if is_dashboard(meant):
        return meant.rstrip("/")
    if meant.startswith("ray://"):
        host = urlsplit(meant).hostname
        if not host:
            raise ClusterError(f"--address {meant}: names no host; write ray://HEAD:10001")
        return f"http://[{host}]:{PORT}" if ":" in host else f"http://{host}:{PORT}"
    if "://" in meant:
        raise ClusterError(
            f"--address {meant}: is none of auto, HOST:PORT, ray://HOST:PORT, http://HOST:PORT"
        )
    return _asked(meant)


def check_answers(url: str) -> None:
    """Raises ClusterError unless something listens there; Ray itself tries without end."""
    split = urlsplit(url)
    try:
        port = split.port or (443 if split.scheme == "https" else 80)
    except ValueError:
        raise ClusterError(f"--address {url}: has no valid port; write http://HEAD:8265") from None
    try:
        socket.create_connection((split.hostname or "", port), timeout=TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"no Ray dashboard answers at {url} ({error}); {HINT}") from error


def check_cluster(place: str) -> None:
    """Raises ClusterError unless the cluster at HOST:PORT accepts us; turns its token on if needed."""
    check_port(place)
    _gcs(place)


def _gcs(place: str) -> Any:
    """A client of the cluster's own store; None where the installed Ray gives none."""
    try:
        return with_token(lambda: ray_private.store_client(place), place)
    except ClusterError:
        raise
    except Exception as error:  # Ray raises other kinds from release to release
        raise ClusterError(f"no Ray cluster answers at {place} ({type(error).__name__}); {HINT}") from error


def _asked(address: str) -> str:
    """The dashboard's address, as the cluster at HOST:PORT, or the one found here, knows it."""
    if address == "auto":
        use_own_token()  # as ray.init() does for a cluster that it finds by itself
    try:
        place = ray_private.own_address(address)
    except ValueError as error:
        raise ClusterError(f"--address {address}: {error}; write HOST:PORT, or {HINT}") from error
    except ConnectionError:  # Ray's answer to "auto" where it finds none
        place = None
    if place is None:
        raise ClusterError(f"no Ray cluster runs on this machine; start one (ray start --head), or {HINT}")
    check_port(place)
    store = _gcs(place)
    if store is None:
        return f"http://{place.rpartition(':')[0]}:{PORT}"
    found = store.internal_kv_get(b"dashboard", b"dashboard", timeout=TIMEOUT_S)
    if not found:
        raise ClusterError(
            f"the cluster at {place} has no dashboard, which takes jobs: start its head with ray[default] "
            "installed and without --include-dashboard=false"
        )
    return f"http://{found.decode()}"


def check_port(place: str) -> None:
    """Raises ClusterError unless something listens at HOST:PORT; Ray itself would go on trying for long."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {place} ({error}). Is `ray start --head` running there, its port "
            "open? Or give another --address, or use --local"
        ) from error
