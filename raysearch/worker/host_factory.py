"""Makes the host that a job asks for: in the worker's process, or a fresh process for each trial."""

from __future__ import annotations

from pathlib import Path

from raysearch.worker.host import Host
from raysearch.worker.job import Job
from raysearch.worker.loop import Trains


def make_host(job: Job, scratch: Path, log: Path | None) -> Trains:
    """The host that a job asks for: in this process, or a fresh process for each trial."""
    if job.isolate:
        from raysearch.worker.isolated_host import IsolatedHost

        return IsolatedHost(job, scratch, log)
    return Host.of(job, scratch)
