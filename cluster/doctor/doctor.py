"""Examines the connected cluster: probes every node, and judges the answers.

The driver's own node is looked at in this process, the others by a small task each, all at once. So on one
machine it costs a few milliseconds.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysearch import ray_private
from raysearch.cluster.doctor import node_probe, process_groups
from raysearch.cluster.doctor.facts import ClusterFacts, NodeFacts, node_facts
from raysearch.cluster.doctor.findings import Finding, Severity, is_fatal, judge, problems
from raysearch.cluster.versions import versions
from raysearch.core.user_paths import user_path
from raysearch.errors import ClusterError, StoreError, without_keys
from raysearch.storage.object_store import is_address, open_store

BEFORE_LAUNCH_S = 4.0  # what nodes have for their answer before a launch
PATIENCE_S = 60.0  # and when asked by `raysearch doctor`: a first import of torch may take long
DATA = bytes(range(256)) * 1024  # large enough for Ray to put it into the object store
POLL_S = 0.5
AGAIN_S = 1.0  # until a second look at what would stop a search


def check_before_launch(storage: str, say: Callable[[str], None]) -> None:
    """Warns of what may slow or break the search that is about to start; says nothing where all is well.

    Raises:
        ClusterError: it could not run.
    """

    def look() -> list[Finding]:
        return problems(judge(gather(BEFORE_LAUNCH_S, storage=storage)))

    found = look()
    if is_fatal(found):  # storage may have been away just then
        time.sleep(AGAIN_S)
        found = look()
    for finding in found:
        if finding.level is not Severity.fatal:
            say(f"note: {finding.about}: {finding.text}" + (f"; {finding.do}" if finding.do else ""))
    if is_fatal(found):
        raise ClusterError(
            "; ".join(
                f"{finding.about}: {finding.text}" + (f" -> {finding.do}" if finding.do else "")
                for finding in found
                if finding.level is Severity.fatal
            )
            + ". Then give the command again (--skip-checks starts all the same)"
        )


def gather(
    patience_s: float,
    storage: str | None = None,
    trainable: bytes | None = None,
    expected: int | None = None,
    tries_groups: bool = False,
) -> ClusterFacts:
    """The facts that the nodes of the connected cluster report within `patience_s` seconds.

    Args:
        storage: folder or address; a file is written there by each node and removed at the end.
        trainable: a pickled `Shipped` that each node is to load.
        expected: how many nodes there should be.
        tries_groups: whether the nodes that answer are to try a process group, which takes some seconds.
    """
    token = f".doctor-{uuid.uuid4().hex[:12]}"
    place = _Place(storage, token) if storage else None
    asked = {
        "trainable": trainable,
        "folder": ray_private.session_folder(),
        "expected": hashlib.sha256(DATA).hexdigest(),
    }
    unwritable = place.write() if place is not None else ""
    if place is not None and unwritable:
        place = None
    if place is not None:
        asked |= {"storage": place.storage, "token": token}
    try:
        nodes, silent = _ask_all(asked, patience_s, place)
    finally:
        if place is not None:
            place.clean()
    return ClusterFacts(
        here=versions(),
        apart=_apart(silent) if tries_groups else None,
        nodes=tuple(nodes),
        silent=silent,
        waited_s=patience_s,
        expected=expected,
        storage=storage,
        storage_error=unwritable,
        has_trainable=trainable is not None,
    )


def wait_for_nodes(count: int, patience_s: float) -> None:
    """Waits until that many nodes have joined, or the time is up."""
    until = time.monotonic() + patience_s
    while len(_alive()) < count and time.monotonic() < until:
        time.sleep(POLL_S)


# ---- asking


def _ask_all(
    asked: Mapping[str, Any], patience_s: float, place: _Place | None
) -> tuple[list[NodeFacts], dict[str, str]]:
    """(facts of the nodes that answered, this one first; name -> why of the others)."""
    here = ray.get_runtime_context().get_node_id()
    alive = {node["NodeID"]: node for node in _alive()}
    names = _names(alive)
    sent_at, answers, refs = time.time(), {}, {}
    others = [node_id for node_id in alive if node_id != here]
    if others:
        ray.cloudpickle.register_pickle_by_value(node_probe)
        try:
            task, data = ray.remote(num_cpus=0, max_retries=0)(node_probe.look), ray.put(DATA)
            for node_id in others:
                there = NodeAffinitySchedulingStrategy(node_id, soft=False)
                reference = task.options(scheduling_strategy=there).remote(
                    {**asked, "name": node_id[:8]}, data
                )
                refs[reference] = node_id
        finally:
            ray.cloudpickle.unregister_pickle_by_value(node_probe)
    answers[here] = (node_probe.look({**asked, "name": here[:8]}, DATA), time.time())
    silent = _collect(refs, answers, sent_at + patience_s)
    seen = place.seen(node_id[:8] for node_id in alive) if place is not None else set()
    nodes = [
        node_facts(
            names[node_id],
            alive[node_id]["Resources"],
            said,
            sent_at,
            at,
            node_id[:8] in seen,
        )
        for node_id, (said, at) in answers.items()
        if node_id in alive
    ]
    return nodes, {names[node_id]: why for node_id, why in silent.items()}


def _apart(silent: Mapping[str, str]) -> process_groups.Apart | None:
    """The pairs of nodes that cannot be one process group; of those that answer."""
    alive = {node["NodeID"]: node for node in _alive()}
    names = _names(alive)
    return process_groups.tried({n: known for n, known in alive.items() if names[n] not in silent}, names)


def _collect(
    refs: dict[Any, str], answers: dict[str, tuple[dict[str, Any], float]], until: float
) -> dict[str, str]:
    """Collects answers as they arrive; returns node id -> why, for nodes that did not answer."""
    silent, waiting = {}, list(refs)
    while waiting and (left := until - time.time()) > 0:
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=left)
        for ref in ready:
            at = time.time()
            try:
                answers[refs[ref]] = (ray.get(ref), at)
            except ray.exceptions.RayError as error:
                silent[refs[ref]] = without_keys(str(error).strip().splitlines()[-1])
    for ref in waiting:
        ray.cancel(ref, force=True)
        silent[refs[ref]] = "no answer"
    return silent


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _names(nodes: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Node id -> its host name, with its address where several have the same."""
    hosts = [node["NodeManagerHostname"] for node in nodes.values()]
    return {
        node_id: host if hosts.count(host) == 1 else f"{host} ({node['NodeManagerAddress']}, {node_id[:8]})"
        for node_id, node in nodes.items()
        if (host := node["NodeManagerHostname"])
    }


# ---- the storage


class _Place:
    """The driver's side of the look at the storage: a file there of the driver, and one of each node.

    In a folder of their own; at a store under names that begin alike, since folders are left there.
    """

    def __init__(self, storage: str, token: str) -> None:
        self.storage = storage if is_address(storage) else str(user_path(storage).absolute())
        self._store = open_store(storage) if is_address(storage) else None
        self._folder, self._token = Path(self.storage, token), token
        self._is_new = False
        self._names: list[str] = []

    def write(self) -> str:
        """Writes the driver's file; returns why it cannot, "" if it can."""
        try:
            if self._store is not None:
                self._store.put(f"{self._token}-{node_probe.DRIVER}", b"driver")
            else:
                self._is_new = not self._folder.parent.exists()
                self._folder.mkdir(parents=True)
                (self._folder / node_probe.DRIVER).write_text("driver")
        except (OSError, StoreError) as error:
            return without_keys(str(error))
        return ""

    def seen(self, names: Iterable[str]) -> set[str]:
        """Those of these nodes whose file is found from here."""
        self._names = [*names]
        if self._store is None:
            return {name for name in self._names if (self._folder / name).exists()}
        found = self._store.each(self._store.has, [f"{self._token}-{name}" for name in self._names])
        return {name for name, is_there in zip(self._names, found, strict=True) if is_there}

    def clean(self) -> None:
        """Removes all files of this look, and the storage's folder if it was made for it."""
        try:
            if self._store is not None:
                self._store.delete([f"{self._token}-{name}" for name in (node_probe.DRIVER, *self._names)])
                return
            shutil.rmtree(self._folder)
            if self._is_new:
                self._folder.parent.rmdir()
        except (OSError, StoreError) as error:
            logging.getLogger(__name__).warning("%s: %s was left there: %s", self.storage, self._token, error)
