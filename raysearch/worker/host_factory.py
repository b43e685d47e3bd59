"""Makes the host that a job asks for: here, in a fresh process for each trial, or in several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from raysearch.worker.host import Host
from raysearch.worker.job import Job
from raysearch.worker.loop import Trains


def make_host(
    job: Job, scratch: Path, log: Path | None, say: Callable[[str], None] = print, on_ray: bool = False
) -> Trains:
    """The host that a job asks for: in this process, a fresh process for each trial, or several processes.

    Args:
        say: hears what is waited for, where it takes long.
        on_ray: this is a worker in a placement group, in whose bundles several processes are to start.

    Raises:
        RankLostError: the processes do not come up.
    """
    if job.processes:
        return _group_host(job, scratch, log, say, on_ray)
    if job.isolate:
        from raysearch.worker.isolated_host import IsolatedHost

        return IsolatedHost(job, scratch, log)
    return Host.of(job, scratch)


def _group_host(
    job: Job, scratch: Path, log: Path | None, say: Callable[[str], None], on_ray: bool
) -> Trains:
    from raysearch.worker.group.host import GroupHost
    from raysearch.worker.group.ranks import Starter

    starter: Starter
    if on_ray:
        from raysearch.worker.group.actors import ActorRanks

        starter = ActorRanks(job.processes)
    else:
        from raysearch.worker.group.local import LocalRanks

        starter = LocalRanks(job.processes, max(1, int(job.cpu)))
    return GroupHost(job, starter, scratch, log.stem if log is not None else None, say=say)
