"""A short measured run of the real trainable on the real workers: seconds, memory, checkpoints.

As many processes as there are workers train at once, each a few configurations, so that what is measured is
what a search will see: shared cores and buses included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from raysearch.core.segment import Config, Segment, Status, segment_id
from raysearch.engine.messages import Lease
from raysearch.errors import TrainableError
from raysearch.worker.host import Aborted, Host
from raysearch.worker.job import Job

LEAST = 3  # iterations of each configuration, the first of which only warms up


@dataclass(frozen=True)
class Measured:
    """What one training took.

    Attributes:
        seconds: of an iteration, once warm.
        start_s: until the first iteration began, and what it took more than others.
        switch_s: to save and restore a checkpoint; 0 if the trainable writes none.
        checkpoint_bytes: of a checkpoint.
        memory_bytes: most resident memory of the process.
        gpu_bytes: most memory on its GPU; 0 without one.
    """

    seconds: float
    start_s: float
    switch_s: float
    checkpoint_bytes: int
    memory_bytes: int
    gpu_bytes: int
    iterations: int


def measure(job: Job, configs: Sequence[Config], limit_s: float, horizon: int) -> list[Measured]:
    """Trains each configuration for its share of `limit_s`, LEAST iterations at least, in this process.

    Raises:
        TrainableError: a training failed; with its own error.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="raysearch-probe-") as folder:
        for number, config in enumerate(configs):
            host = Host.of(job, Path(folder) / str(number))
            try:
                found.append(_one(host, config, limit_s / len(configs), horizon, Path(folder) / f"c{number}"))
            finally:
                host.drop()
    return found


def measure_on_ray(
    job: Job, share: Sequence[Sequence[Config]], resources: Any, limit_s: float, horizon: int
) -> list[Measured]:
    """The same on the cluster: one process for each list of configurations, all at once."""
    import ray

    bundle = resources.bundle()
    options = {
        "num_cpus": bundle.pop("CPU", 0),
        "num_gpus": bundle.pop("GPU", 0),
        "resources": bundle,
    }
    remote: Any = ray.remote(max_calls=1)(measure)  # what is measured lives in a process of its own
    waiting = [remote.options(**options).remote(job, configs, limit_s, horizon) for configs in share]
    try:
        return [one for found in ray.get(waiting) for one in found]
    except ray.exceptions.RayTaskError as error:
        raise TrainableError(f"the measured run failed: {error.cause or error}") from error


def together(found: Sequence[Measured]) -> Measured:
    """One measurement of many: means of seconds, the most of memory."""
    return Measured(
        seconds=mean(m.seconds for m in found),
        start_s=median(m.start_s for m in found),
        switch_s=median(m.switch_s for m in found),
        checkpoint_bytes=max(m.checkpoint_bytes for m in found),
        memory_bytes=max(m.memory_bytes for m in found),
        gpu_bytes=max(m.gpu_bytes for m in found),
        iterations=sum(m.iterations for m in found),
    )


def _one(host: Host, config: Config, limit_s: float, horizon: int, folder: Path) -> Measured:
    began = time.perf_counter()
    stamps = [began]

    def progress(count: int) -> bool:
        stamps.append(time.perf_counter())
        return len(stamps) > LEAST and stamps[-1] - began > limit_s

    stop = min(horizon, 10_000)
    segment = Segment(segment_id(0, 0), 0, None, config, 0, stop, 1, "measured")
    try:
        trained = host.train(Lease(segment), None, progress)
        if trained.status is Status.FAILED:
            raise TrainableError(f"the measured run failed: {trained.error}")
    except Aborted:
        pass
    steps = [b - a for a, b in pairwise(stamps)]
    if not steps:
        raise TrainableError("the measured run reported nothing")
    warm = steps[1:] or steps
    return Measured(
        seconds=mean(warm),
        start_s=max(0.0, steps[0] - mean(warm)),
        iterations=len(steps),
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        gpu_bytes=_gpu_bytes(),
        **_checkpoint(host, config, folder),
    )


def _checkpoint(host: Host, config: Config, folder: Path) -> dict[str, Any]:
    """What a checkpoint costs: a short training is saved, and another process's worth of work restores it."""
    segment = Segment(segment_id(1, 0), 1, None, config, 0, 1, 1, "measured")
    after = Segment(segment_id(1, 1), 1, segment.id, config, 1, 2, 1, "measured")
    nothing = {"switch_s": 0.0, "checkpoint_bytes": 0}
    folder.mkdir()
    trained = host.train(Lease(segment), None, lambda count: False)
    began = time.perf_counter()
    if trained.status is not Status.COMPLETED or not host.save(folder):
        return nothing
    saved_s = time.perf_counter() - began
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    host.drop()
    began = time.perf_counter()
    stamps: list[float] = []

    def progress(count: int) -> bool:
        stamps.append(time.perf_counter())
        return False

    host.train(Lease(after, str(folder), segment.id), folder, progress)
    return {"switch_s": saved_s + max(0.0, stamps[0] - began if stamps else 0.0), "checkpoint_bytes": size}


def _gpu_bytes() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated())
