"""Jobs on a cluster: `--submit`, and what `status`, `logs`, `pause` and `stop` do with one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from raysearch.cli.job_options import Travel
from raysearch.cli.output import command, print_json, say, tell
from raysearch.errors import ClusterError, RunError, SpecError, StoreError

if TYPE_CHECKING:
    from raysearch.cluster.job_package import Parcel
    from raysearch.cluster.jobs import Jobs, JobState
    from raysearch.spec.search_spec import SearchSpec

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Place:
    """A job, and the cluster it is on."""

    jobs: Jobs = field(repr=False)
    job: str


def goes_to_cluster(submit: bool, address: str | None) -> bool:
    """Whether a launch becomes a job: because of --submit, or an address that only takes jobs."""
    from raysearch.cluster.dashboard import is_dashboard

    return submit or is_dashboard(address) or (address is not None and address.startswith("ray://"))


def submit_launch(
    spec_name: str,
    search: SearchSpec,
    options: Mapping[str, Any],
    address: str | None,
    travel: Travel,
    wait: bool,
    as_json: bool,
) -> None:
    """Submits `raysearch launch` with these options as a job, and follows its output.

    Raises:
        SpecError: the spec or its trainable is not in the working directory, or the storage is relative.
        ClusterError: the cluster cannot be reached, or the job failed.
    """
    from raysearch.cluster.job_package import check_relative, check_storage, folder_and_spec, run_of

    folder, spec = folder_and_spec(spec_name, travel.working_dir)
    if (folder / spec).is_file():
        check_relative(folder / spec)
    check_storage(search.storage)
    words = ["raysearch", "launch", spec, *_words(options)]
    run = run_of(search.storage, search.name)
    start(words, travel.parcel(search.trainable, folder), run, address, wait, as_json)


def start(
    typed: Sequence[str], parcel: Parcel, run: str, address: str | None, wait: bool, as_json: bool
) -> None:
    """Submits a command as a job; prints the id of the job, then its output.

    Raises:
        ClusterError: the cluster cannot be reached, or the job failed.
    """
    from raysearch.cluster import jobs as cluster
    from raysearch.cluster.job_records import Submitted, record

    jobs = cluster.connect(address)
    for note in (*jobs.notes, *parcel.notes):
        say(f"note: {note}")
    job = jobs.submit(typed, parcel, run)
    if problem := record(Submitted(job, jobs.address, run, time.time())):
        say(f"note: {problem}")
    if as_json:
        print_json({"job": job, "address": jobs.address, "run": run, "command": [*typed]})
    else:
        tell(job, flush=True)
        say(f"submitted to {jobs.address}; it goes on without this machine")
        for words in (("status", job), ("logs", job, "--follow"), ("cluster", "stop", job)):
            say(f"  {command(*words)}")
    if wait and not as_json:
        follow(Place(jobs, job))


def follow(place: Place) -> None:
    """Prints the output of a job until it ends.

    Raises:
        ClusterError: it failed, or was stopped.
    """
    from raysearch.cluster.jobs import why_failed

    try:
        for text in place.jobs.output(place.job):
            tell(text, end="", flush=True)
    except KeyboardInterrupt:
        again = command("logs", place.job, "--follow")
        say(f"\nThe job goes on. Follow it again: {again}; end it: {command('cluster', 'stop', place.job)}")
        raise typer.Exit(INTERRUPTED) from None
    state = place.jobs.state(place.job)
    if state.status != "SUCCEEDED":
        raise ClusterError(why_failed(state))


def elsewhere(target: str, address: str | None) -> Place | None:
    """The job meant by `target` (its id, or its run), unless a run of that name lies here.

    Raises:
        ClusterError: an address was given, and there is no such job.
        RunError: no run lies here, and no job of that name was submitted from here.
    """
    from raysearch.cluster import jobs as cluster
    from raysearch.cluster.job_records import find
    from raysearch.run.location import existing_run

    if address is None:
        try:
            existing_run(target)
        except (RunError, StoreError) as error:
            if (known := find(target)) is None:
                hint = "a job of another machine is found by --address http://HEAD:8265"
                raise RunError(f"{error}; nor was a job {target!r} submitted from here ({hint})") from None
            return Place(cluster.connect(known.address), known.job)
        return None
    jobs = cluster.connect(address)
    found = jobs.latest_of(target) or jobs.latest_of(known.run if (known := find(target)) else target)
    return Place(jobs, found or jobs.state(target).job)


def show_job(place: Place, as_json: bool) -> None:
    """Prints the state of a job, and of its run, which the cluster reads."""
    state = place.jobs.state(place.job)
    if as_json:
        print_json({"job": asdict(state), "run": _run_values(place, state)})
        return
    tell(_line(state))
    if not state.run:
        tell(f"its output: {command('logs', state.job)}")
        return
    code, text = place.jobs.ask(["raysearch", "status", state.run], like=state.job)
    if code == 0:
        tell(text.rstrip())
        return
    tell(f"{state.run} cannot be read yet; the last that the job printed:")
    tell("\n".join(place.jobs.log(state.job).rstrip().splitlines()[-10:]))


def order_there(place: Place, words: Sequence[str]) -> None:
    """Gives an order (pause, stop) to a job's run, by a small job on the cluster; prints its answer.

    Raises:
        ClusterError: the job has no run, or the order was refused.
    """
    state = place.jobs.state(place.job)
    if not state.run:
        raise ClusterError(f"{place.job} searches no run; end it: {command('cluster', 'stop', place.job)}")
    code, text = place.jobs.ask(["raysearch", words[0], state.run, *words[1:]], like=place.job)
    if code != 0:
        raise ClusterError(
            text.strip().splitlines()[-1].removeprefix("error: ") if text.strip() else "refused"
        )
    tell(text.rstrip())


def list_jobs(jobs: Jobs, as_json: bool) -> None:
    """Prints the jobs of a cluster, the latest first."""
    found = jobs.listing()
    if as_json:
        print_json([asdict(state) for state in found])
        return
    for state in found:
        tell(_line(state))
    if not found:
        tell(f"{jobs.address} has no jobs")


def stop_job(place: Place) -> None:
    """Ends a job as SIGTERM does, and prints the command that resumes its run."""
    state = place.jobs.stop(place.job)
    tell(_line(state))
    if state.run and state.status == "STOPPED":
        words = ["cluster", "submit", "--address", place.jobs.address, "--", "resume", state.run]
        tell(f"nothing acknowledged is lost; go on: {command(*words)}")


# ---- inside


def _words(options: Mapping[str, Any]) -> list[str]:
    """The given options as words: `--name x --set a=1 --set b=2 --skip-checks`."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [name] if each is True else [name, str(each)]
    return words


def _line(state: JobState) -> str:
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.started_at)) if state.started_at else "-"
    what = state.run or state.command
    return f"{state.job}  {state.status:<9}  {began}  {what}"


def _run_values(place: Place, state: JobState) -> Any:
    """The output of `raysearch status --json` for the job's run on the cluster; None if it has none."""
    if not state.run:
        return None
    code, text = place.jobs.ask(["raysearch", "status", state.run, "--json"], like=state.job)
    if code != 0:
        return None
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line == "{"), len(lines))
    try:
        return json.loads("\n".join(lines[first:]))
    except ValueError:
        return None


def check_submit_options(submit: bool, travel: Travel) -> None:
    """Raises SpecError for options of a job without --submit."""
    if not submit and (given := travel.given()):
        raise SpecError(f"{', '.join(given)}: options of a job; add --submit")
