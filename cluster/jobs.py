"""Searches as jobs of a Ray cluster, through its dashboard: submit, look, follow, stop.

    jobs = connect("http://head:8265")
    job = jobs.submit(["raysearch", "launch", "search.yaml"], parcel, run="/shared/runs/first")
    for text in jobs.output(job): ...

Only HTTP goes between the two machines, so nothing that is installed need be the same on both. The job
goes on when this machine sleeps. Needs ray[default], the extra `cluster`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from raysearch.cluster import dashboard
from raysearch.cluster.auth import with_token
from raysearch.cluster.job_package import Parcel, by_interpreter, with_raysearch
from raysearch.cluster.versions import differences, versions
from raysearch.core.library_errors import RAY_NO_AGENT, RAY_NO_JOB, missing_module
from raysearch.core.version import install
from raysearch.errors import ClusterError

NEEDED = ("aiohttp", "requests", "pydantic")  # that ray[tune] does not bring, or not always
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
LOOK = "raysearch-look"  # metadata of jobs that only read
NOT_FOUND = 127  # the shell's code for a command that is not there
AGENT_S = 90.0  # for the part of the head that starts jobs to come up
POLL_S = 0.5
AWAY_S = 300.0  # a follower of a job gives up on a dashboard that has not answered for so long
STOPPED_S = 90.0
LOOK_S = 120.0  # for a small job that reads a run: its packages may have to be installed first


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job.

    Attributes:
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        run: the run's folder or address on the cluster; "" for a job that `raysearch` did not submit.
        exit_code: of its command; None where it has none yet, or was stopped.
    """

    job: str
    address: str
    status: str
    command: str
    run: str
    message: str
    exit_code: int | None
    started_at: float | None
    ended_at: float | None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


def connect(address: str | None) -> Jobs:
    """The jobs of the cluster at `address` (any that `dashboard.address_of` takes).

    Raises:
        ClusterError: the cluster does not answer, or ray[default] is not installed.
    """
    check_installed()
    url = dashboard.address_of(address)
    dashboard.check_answers(url)
    from ray.job_submission import JobSubmissionClient

    for name in (
        "dashboard.modules.dashboard_sdk",
        "dashboard.modules.job.sdk",
        "_private.runtime_env.packaging",
    ):
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
    try:
        with _without_addresses():
            client = with_token(lambda: JobSubmissionClient(url), url)
    except (RuntimeError, ConnectionError, ValueError) as error:
        raise ClusterError(f"{url} is no Ray dashboard ({_first_line(error)}); {dashboard.HINT}") from error
    return Jobs(client, url, getattr(client, "_server_ray_version", None))


def check_installed() -> None:
    """Raises ClusterError unless all of ray[default] that submitting needs is here."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ClusterError(
            f"jobs are submitted through ray[default], of which {', '.join(missing)} is not installed here: "
            f"{install('cluster')}"
        )


class Jobs:
    """The jobs of one cluster. Every error is a ClusterError."""

    def __init__(self, client: Any, address: str, ray_there: str | None) -> None:
        self._client = client
        self.address = address
        self.notes = tuple(
            f"{text} ({address}). The job runs with the cluster's"
            for text in differences({"ray": ray_there} if ray_there else {}, versions()).values()
        )

    def submit(self, command: Sequence[str], parcel: Parcel, run: str = "", is_look: bool = False) -> str:
        """Packs, uploads and starts; returns the job's id.

        Args:
            run: the folder or address, on the cluster, of the run that it searches.
            is_look: it only reads, and is not listed.

        Raises:
            ClusterError: the package is too large, or the cluster refuses it.
        """
        metadata = {"raysearch": versions()["raysearch"], **({"run": run} if run else {})}
        if is_look:
            metadata[LOOK] = "1"
        until = time.monotonic() + AGENT_S
        with _said(f"{self.address}: the job was not submitted"):
            while True:
                try:
                    return str(
                        self._client.submit_job(
                            entrypoint=shlex.join(by_interpreter(command)),
                            runtime_env=with_raysearch(parcel.runtime_env),
                            metadata=metadata,
                        )
                    )
                except RuntimeError as error:
                    if not RAY_NO_AGENT.is_in(error) or time.monotonic() > until:
                        raise
                time.sleep(POLL_S)  # a cluster that has just started

    def state(self, job: str) -> JobState:
        """The state of the job.

        Raises:
            ClusterError: there is no such job; names the latest.
        """
        try:
            return self._state(self._client.get_job_info(job))
        except RuntimeError as error:
            if not RAY_NO_JOB.is_in(error):
                raise ClusterError(f"{self.address}: job {job}: {_first_line(error)}") from error
        latest = ", ".join(state.job for state in self.listing()[:5])
        there = f"its latest: {latest}" if latest else "it has none"
        raise ClusterError(f"the cluster at {self.address} has no job {job!r}; {there}")

    def listing(self) -> list[JobState]:
        """The jobs that were submitted to the cluster, the latest first."""
        with _said(f"{self.address}: its jobs cannot be listed"):
            found = [info for info in self._client.list_jobs() if info.submission_id]
        found = [info for info in found if LOOK not in (info.metadata or {})]
        return sorted(map(self._state, found), key=lambda state: -(state.started_at or 0.0))

    def latest_of(self, run: str) -> str | None:
        """The latest job that searches this run; None if there is none."""
        return next((state.job for state in self.listing() if state.run == run), None)

    def log(self, job: str) -> str:
        """The output of the job so far."""
        self.state(job)
        with _said(f"{self.address}: the output of {job} cannot be read"):
            return str(self._client.get_job_logs(job))

    def output(self, job: str) -> Iterator[str]:
        """The job's output as it comes, until the job ends; reconnects when the connection breaks."""
        printed, seen_at = 0, time.monotonic()
        while True:
            for text in self._tail(job, printed):
                printed, seen_at = printed + len(text), time.monotonic()
                yield text
            with contextlib.suppress(ClusterError, OSError):
                ended = self.state(job).has_ended
                seen_at = time.monotonic()
                if ended:
                    yield self.log(job)[printed:]
                    return
            if time.monotonic() - seen_at > AWAY_S:
                raise ClusterError(
                    f"{self.address} has not answered for {AWAY_S:g} s; the job may well go on: "
                    f"raysearch logs {job} --follow"
                )
            time.sleep(POLL_S)

    def stop(self, job: str) -> JobState:
        """Asks the job to end, as SIGTERM does, and waits for its end; acknowledged outcomes are kept.

        Raises:
            ClusterError: there is no such job, or it has not ended in time.
        """
        if (state := self.state(job)).has_ended:
            return state
        with _said(f"{self.address}: {job} cannot be stopped"):
            self._client.stop_job(job)
        return self.wait(job, STOPPED_S)

    def wait(self, job: str, timeout_s: float) -> JobState:
        """The job's state once it has ended. Raises ClusterError if that takes longer."""
        until = time.monotonic() + timeout_s
        while not (state := self.state(job)).has_ended:
            if time.monotonic() > until:
                raise ClusterError(f"{job} is still {state.status} after {timeout_s:g} s: {state.message}")
            time.sleep(POLL_S)
        return state

    def ask(self, command: Sequence[str], like: str | None = None) -> tuple[int | None, str]:
        """(exit code, output) of a command that only reads, run on the cluster as a small job.

        Args:
            like: a job whose packages and modules it gets too.
        """
        environment: dict[str, Any] = {}
        if like is not None:
            environment = dict(self._client.get_job_info(like).runtime_env or {})
        job = self.submit(command, Parcel(environment), is_look=True)
        state = self.wait(job, LOOK_S)
        return state.exit_code, self.printed(job)

    def printed(self, job: str) -> str:
        """The output of the job's own command, without Ray's lines before it."""
        text = self.log(job)
        before, _, after = text.partition(f"Running entrypoint for job {job}")
        return after.partition("\n")[2] if after else before

    def _tail(self, job: str, skip: int) -> Iterator[str]:
        """The output after its first `skip` characters, until the connection ends, however it ends."""
        tail = self._client.tail_job_logs(job)
        loop = asyncio.new_event_loop()
        try:
            while True:
                try:
                    text = loop.run_until_complete(anext(tail))
                except StopAsyncIteration:
                    return
                except (OSError, RuntimeError, asyncio.TimeoutError, _client_error()):
                    return
                skip, text = max(0, skip - len(text)), text[skip:]
                if text:
                    yield text
        finally:
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(tail.aclose())
            loop.close()

    def _state(self, info: Any) -> JobState:
        return JobState(
            job=info.submission_id or info.job_id or "",
            address=self.address,
            status=str(getattr(info.status, "value", info.status)),
            command=info.entrypoint,
            run=(info.metadata or {}).get("run", ""),
            message=info.message or "",
            exit_code=info.driver_exit_code,
            started_at=info.start_time / 1000 if info.start_time else None,
            ended_at=info.end_time / 1000 if info.end_time else None,
        )


def why_failed(state: JobState) -> str:
    """Why a job that has ended did not succeed, and what to do."""
    if state.exit_code == NOT_FOUND:
        return (
            f"{state.job} could not start: the cluster has no command `{state.command.split()[0]}`; use an "
            "image that has it"
        )
    if state.status == "STOPPED":
        return f"{state.job} was stopped"
    code = f" with exit code {state.exit_code}" if state.exit_code is not None else ""
    line = _first_line(state.message)
    missing = missing_module(line)
    remedy = f"; the cluster's Python lacks it: --pip {missing} brings it, or use an image that has it"
    return f"{state.job} failed{code}: {line}{remedy if missing else ''}"


def _client_error() -> type[Exception]:
    from aiohttp import ClientError

    return ClientError


def _first_line(error: object) -> str:
    """The line with the cause in an error, around which Ray sends its own tracebacks."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Traceback", "File "))]
    return told[-1] if "Traceback" in str(error) and told else (told[0] if told else "no reason was given")


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Turns errors of Ray's client into a ClusterError of one sentence."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        raise ClusterError(f"{what}: {_first_line(error)}") from error


@contextlib.contextmanager
def _without_addresses() -> Iterator[None]:
    """Ray's client prefers these variables to the address that it is given."""
    held = {name: os.environ.pop(name) for name in dashboard.VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)
