"""`raysearch doctor`: whether a search can run on the cluster, and if not, what to do."""

from __future__ import annotations

import dataclasses
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from raysearch.cli import options
from raysearch.cli.option_groups import Where, load
from raysearch.cli.output import console, print_json, say, tell
from raysearch.errors import ClusterError

if TYPE_CHECKING:
    from raysearch.cluster.doctor.facts import ClusterFacts
    from raysearch.cluster.doctor.findings import Finding
    from raysearch.spec.search_spec import SearchSpec

UNFIT = 2
POLL_S = 1.0
STYLES = {"good": "green", "warning": "yellow", "fatal": "bold red"}


def doctor(
    spec: options.OptionalSpec = None,
    address: options.Address = None,
    local: options.Local = False,
    storage: options.Storage = None,
    nodes: options.ExpectedNodes = None,
    wait: options.WaitFor = 0.0,
    timeout: options.Timeout = 60.0,
    as_json: options.AsJson = False,
) -> None:
    """Check the cluster: nodes, versions, trainable, storage, clocks, disks, limits; say what to do.

    With a spec, check also whether its trainable loads on every node and how many workers fit. Exit code 0:
    a search can run; 2: it cannot.
    """
    from raysearch.cli.submit import goes_to_cluster

    Where(local=local, address=address).how()
    if goes_to_cluster(False, address):
        _on_the_cluster(spec, address, storage, nodes, timeout, as_json)
        return
    search = load(spec) if spec else None
    facts = _look(search, address, local, storage, nodes, wait, timeout)
    from raysearch.cluster.doctor.findings import is_fatal, judge

    found = judge(facts)
    if as_json:
        print_json({"findings": [dataclasses.asdict(f) for f in found], "facts": dataclasses.asdict(facts)})
    else:
        _show(found)
    if is_fatal(found):
        raise typer.Exit(UNFIT)


# ---- inside


def _look(
    search: SearchSpec | None,
    address: str | None,
    local: bool,
    storage: str | None,
    nodes: int | None,
    wait_s: float,
    timeout_s: float,
) -> ClusterFacts:
    from raysearch.cluster.connect import connected
    from raysearch.cluster.doctor.doctor import gather, wait_for_nodes

    trainable = _shipped(search) if search else None
    place = storage or (search.storage if search else None)
    until = time.monotonic() + wait_s
    _wait_for_ray(address, local, until)
    with connected(address, local):
        if nodes is not None:
            wait_for_nodes(nodes, max(0.0, until - time.monotonic()))
        tries_groups = search is None or bool(search.workers.processes)
        facts = gather(timeout_s, place, trainable, nodes, tries_groups)
        return facts if search is None else _with_spec(facts, search)


def _wait_for_ray(address: str | None, local: bool, until: float) -> None:
    """Returns when Ray listens at the address, or at the time `until`."""
    from raysearch.cluster.dashboard import check_port

    while address is not None and ":" in address and not local:
        try:
            check_port(address)
        except ClusterError:
            if time.monotonic() > until:
                return  # connecting raises the error
            time.sleep(POLL_S)
        else:
            return


def _shipped(search: SearchSpec) -> bytes:
    from raysearch.spec.trainables import load_trainable
    from raysearch.worker.shipping import ship

    return pickle.dumps(ship(load_trainable(search.trainable)))


def _with_spec(facts: ClusterFacts, search: SearchSpec) -> ClusterFacts:
    """The facts with the number of workers that fit, and where W&B data will go."""
    from raysearch.cluster.capacity import fitting, resources_of
    from raysearch.errors import RunError
    from raysearch.tracking.wandb.settings import decide

    workers = search.workers
    spans = bool(workers.processes) and workers.nodes != 1
    worker, room, no_room = resources_of(workers), 0, ""
    try:
        room = fitting(worker, may_come=workers.min is not None or workers.max is not None)
    except ClusterError as error:
        no_room = str(error)
    wandb = None
    if search.wandb:
        try:
            decision = decide(search.wandb, "RUN")
            is_off = search.wandb.get("mode", "auto") in ("off", "offline")
            wandb = (decision.why or "W&B: off", not decision.send and not is_off)
        except RunError as error:
            wandb = (str(error), True)
    return dataclasses.replace(
        facts, worker=worker.words(), room=room, no_room=no_room, groups=spans, wandb=wandb
    )


def _on_the_cluster(
    spec: str | None,
    address: str | None,
    storage: str | None,
    nodes: int | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Runs the same checks as a small job, because this machine is not part of the cluster."""
    from raysearch.cli.job_options import Travel
    from raysearch.cluster import jobs as cluster
    from raysearch.cluster.job_package import Parcel, folder_and_spec

    jobs, parcel = cluster.connect(address), Parcel({})
    words = ["raysearch", "doctor"]
    if spec:
        folder, name = folder_and_spec(spec, Path())
        parcel = Travel().parcel(load(spec).trainable, folder)
        words.append(name)
    for note in (*jobs.notes, *parcel.notes):
        say(f"note: {note}")
    given: dict[str, Any] = {"--storage": storage, "--nodes": nodes, "--timeout": timeout_s}
    words += [word for name, value in given.items() if value is not None for word in (name, str(value))]
    job = jobs.submit([*words, *(["--json"] if as_json else [])], parcel, is_look=True)
    state = jobs.wait(job, timeout_s + cluster.LOOK_S)
    tell(jobs.printed(job).rstrip())
    if state.exit_code == UNFIT:
        raise typer.Exit(UNFIT)
    if state.exit_code != 0:
        raise ClusterError(cluster.why_failed(state))


def _show(found: Sequence[Finding]) -> None:
    from rich.text import Text

    out = console()
    width = max(len(finding.about) for finding in found)
    for finding in found:
        level = finding.level.value
        out.print(
            Text.assemble((f"{level:<8}", STYLES[level]), f"{finding.about:<{width}}  {finding.text}"),
            soft_wrap=True,
        )
        if finding.do:
            out.print(Text(f"{'':<8}{'':<{width}}  -> {finding.do}", style="dim"), soft_wrap=True)
