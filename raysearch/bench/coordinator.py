"""`raysearch bench coordinator`: exchanges a second of the real coordinator, and how long one takes.

Simulated workers are tasks in a few client processes; each hands in the outcome of its lease (a curve, the
name of a checkpoint) and takes the next, as a worker of one-lease batches does. The coordinator is the real
actor: caviar decides, the journal is on disk and synced before it answers. Measured are

- `saturated`: every worker exchanges as fast as it is answered. Then latency is workers / rate by
  arithmetic and says nothing; the rate does.
- offered rates: workers exchange at fixed times, evenly spread, together so many times a second; latency
  counts from when an exchange was due, also if the client sent it late.

`coordinator` is reached through its door, as by workers; `by-calls` by calls of the actor, as by workers that
cannot reach the door. The peer is a bare async Ray actor that answers the same turn with the same reply
and does nothing else: what Ray itself can do here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray

from raysearch.bench.support.clients import Clients, StubCoordinator
from raysearch.bench.support.contest import cluster, contend, serve, show
from raysearch.executors.tune.socket_link import Address

WARM_S = 2.0


def main(argv: list[str]) -> int:
    """Runs both contenders at each load and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench coordinator", description=__doc__)
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--clients", type=int, default=4, help="processes that the workers are spread over")
    parser.add_argument("--seconds", type=float, default=8.0, help="at each load")
    parser.add_argument("--rates", type=float, nargs="*", default=[256.0, 1000.0, 2000.0])
    parser.add_argument("--sampler", default="random", help="of caviar: random, sobol or model")
    parser.add_argument("--only", nargs="*", help="some of: coordinator by-calls bare-actor")
    parser.add_argument("--profile", help="write a profile of the coordinator into this file")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    settings = {
        "workers": options.workers,
        "clients": options.clients,
        "seconds": options.seconds,
        "rates": options.rates,
    }
    ours = {"sampler": options.sampler, "profile": options.profile}
    rows: list[dict[str, Any]] = []
    for name in options.only or ("bare-actor", "by-calls", "coordinator"):
        found = contend(__name__, name, {**settings, **({} if name == "bare-actor" else ours)})
        rows += [{"contender": name, **row} for row in found["loads"]]
    show(f"coordinator, {options.workers} workers", rows, _ratios(rows), options.json)
    return 0


def _ratios(rows: list[dict[str, Any]]) -> list[str]:
    rates = {r["contender"]: r["exchanges_per_s"] for r in rows if r["load"] == "saturated"}
    peer = rates.pop("bare-actor", None)
    return [f"{name} / bare-actor, saturated: {rate / peer:.2f}" for name, rate in rates.items() if peer]


def run_coordinator(**options: Any) -> dict[str, Any]:
    """The coordinator as a search starts it."""
    return _run(False, **options)


def run_by_calls(**options: Any) -> dict[str, Any]:
    """The same, without its door."""
    return _run(True, **options)


def _run(
    by_calls: bool,
    workers: int,
    clients: int,
    seconds: float,
    rates: list[float],
    sampler: str,
    profile: str | None,
) -> dict[str, Any]:
    import raysearch
    from raysearch.bench.support.trivial import Trivial
    from raysearch.executors.tune.coordinator import start_coordinator
    from raysearch.run.session import Setup
    from raysearch.spec.search_spec import make_spec
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.paths import RunPaths
    from raysearch.worker.job import Job
    from raysearch.worker.shipping import ship

    with cluster(clients + 1) as folder:
        spec = make_spec(
            trainable="raysearch:shipped",
            space={"lr": {"loguniform": [1e-4, 1.0]}, "width": {"randint": [8, 512]}},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=10_000_000, max_iterations=27, min_iterations=1, sampler=sampler,
                variant="promotion", finish=None,
            ),
            name="bench",
            storage=str(folder),
        )  # fmt: skip
        run = folder / "bench"
        Journal.create(RunPaths(run).journal).close()
        job = Job(str(run), ship(Trivial), "loss", "min")
        actor, _ = start_coordinator("bench", Setup(str(run), spec), job)
        before = ray.get(actor.status.remote())
        if profile:
            ray.get(actor.__ray_call__.remote(_start_profile))
        door = None if by_calls else ray.get(actor.door.remote())
        loads = _measure(actor, door, workers, clients, seconds, rates)
        if profile:
            Path(profile).write_text(ray.get(actor.__ray_call__.remote(_profile)))
        status = ray.get(actor.status.remote())
        done = sum(status["segments"].values())
        assert not status["failed"], status["failed"]
        cpu_ms = 1000 * (status["cpu_s"] - before["cpu_s"]) / max(1, done)
        return {"loads": [{**load, "cpu_ms": round(cpu_ms, 3)} for load in loads]}


def run_bare(workers: int, clients: int, seconds: float, rates: list[float]) -> dict[str, Any]:
    """An async actor that only answers."""
    with cluster(clients + 1):
        actor = ray.remote(StubCoordinator).options(num_cpus=0, max_concurrency=4096).remote()
        loads = _measure(actor, None, workers, clients, seconds, rates)
        cpu_s, count = ray.get(actor.cost.remote())
        return {"loads": [{**load, "cpu_ms": round(1000 * cpu_s / count, 3)} for load in loads]}


def _measure(
    actor: Any, door: Address | None, workers: int, clients: int, seconds: float, rates: list[float]
) -> list[dict[str, Any]]:
    names = [f"worker-{i}" for i in range(workers)]
    remote = ray.remote(Clients).options(num_cpus=0)
    pool = [remote.remote(actor, door, names[i::clients]) for i in range(clients)]
    ray.get([client.ready.remote() for client in pool])
    ray.get([client.saturate.remote(WARM_S) for client in pool])
    rows = []
    for rate in (None, *rates):
        began = time.perf_counter()
        if rate is None:
            asked = [client.saturate.remote(seconds) for client in pool]
        else:
            asked = [client.offer.remote(seconds, workers / rate) for client in pool]
        latencies = np.concatenate(ray.get(asked))
        taken = time.perf_counter() - began
        load = "saturated" if rate is None else f"{rate:g}/s offered"
        rows.append(
            {"load": load, "exchanges_per_s": round(len(latencies) / taken, 1), **_latency(latencies)}
        )
    return rows


def _latency(seconds: Any) -> dict[str, float]:
    found = np.percentile(seconds, [50, 95, 99]) * 1000
    return {f"p{p}_ms": round(float(v), 2) for p, v in zip((50, 95, 99), found, strict=True)}


def _start_profile(actor: Any) -> None:
    import cProfile

    actor._profile = cProfile.Profile()
    actor._profile.enable()


def _profile(actor: Any) -> str:
    import io
    import pstats

    actor._profile.disable()
    text = io.StringIO()
    pstats.Stats(actor._profile, stream=text).sort_stats("tottime").print_stats(60)
    return text.getvalue()


if __name__ == "__main__":
    serve({"coordinator": run_coordinator, "by-calls": run_by_calls, "bare-actor": run_bare})
