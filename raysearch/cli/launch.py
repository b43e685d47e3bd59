"""`raysearch launch` and `raysearch resume`: a search from its start, or from where it stands, to its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from raysearch.cli import options
from raysearch.cli.follow import INTERRUPTED, flags_of, follow
from raysearch.cli.intervene import add_samples
from raysearch.cli.job_options import Travel
from raysearch.cli.option_groups import MoreBudget, SpecChanges, Where, grouped, spec_file, with_workers
from raysearch.cli.output import command, console, print_json, say, tell
from raysearch.cli.submit import check_submit_options, goes_to_cluster, submit_launch
from raysearch.cluster.versions import submitted_note
from raysearch.engine.wind_down import COMPLETE, Ending, more_of
from raysearch.errors import SpecError
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.core.budget import Spent
    from raysearch.launch_checks import Ready
    from raysearch.results.results import Results
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec

NOTHING_FOUND = 2  # complete, and no trial ended well
PAUSED = 75
UNFIT_SHOWN = 5


@grouped
def launch(
    spec: options.Spec,
    changes: SpecChanges,
    where: Where,
    travel: Travel,
    from_checkpoint: options.FromCheckpoint = None,
    at_iteration: options.AtIteration = None,
    dry_run: options.DryRun = False,
    notify_test: options.NotifyTest = False,
    seconds_per_iteration: options.Seconds = None,
    skip_checks: options.SkipChecks = False,
    as_json: options.AsJson = False,
    submit: options.Submit = False,
    wait: options.FollowJob = True,
) -> None:
    """Start a search from its spec and follow it to its end, here or as a job on a cluster."""
    submit = goes_to_cluster(submit, where.address)
    check_submit_options(submit, travel)
    how = where.how(checks=not skip_checks)
    search = changes.load(spec)
    for note in search.notes:
        say(f"note: {note}")
    if notify_test:
        _try_notify(search, dry_run)
    if dry_run:
        _estimate(spec, search, where, seconds_per_iteration, as_json)
        return
    ready = None if submit else _checked(spec, search)
    if differing := submitted_note():
        say(f"note: {differing}")
    if ready is None:
        if where.local or where.executor is options.Executor.inline:
            raise SpecError("--submit sends the search to a cluster: leave out --local and --executor inline")
        model = {"--from-checkpoint": from_checkpoint, "--at-iteration": at_iteration}
        forwarded = {**changes.typed(), **model, "--skip-checks": skip_checks}
        submit_launch(spec, search, forwarded, where.address, travel, wait, as_json)
        return
    from raysearch.launch import start
    from raysearch.run.location import run_folder

    def begin(how: How) -> Results:
        return start(ready, how, from_checkpoint=from_checkpoint, at_iteration=at_iteration)

    _follow(run_folder(search), search, how, begin, as_json)


@dataclass(frozen=True, slots=True)
class Edits:
    """What a resume changes in the spec of its run."""

    samples: options.MoreSamples = None
    max_iterations: options.MaxIterations = None
    space: options.SpaceFile = None
    workers: options.Workers = None
    sets: options.Sets = None
    stop_when: options.StopWhen = None

    def made_in(self, root: Path, old: SearchSpec) -> SearchSpec:
        """The changed spec of the run in `root`, whose spec is `old`.

        Raises:
            SpecError: a change is wrong, or would move the run.
        """
        from raysearch.launch import more_samples
        from raysearch.spec.search_spec import load_spec

        for text in self.sets or []:
            if (key := text.partition("=")[0].strip()) in ("name", "storage"):
                raise SpecError(
                    f"--set {key}: a run's name and storage are its folder; move the folder {shown(root)}"
                )
        rule = [] if self.stop_when is None else [f"stop_when={self.stop_when}"]
        sets = [*(self.sets or []), *rule]
        new = load_spec(root / "spec.yaml", sets) if sets else old
        if self.space is not None:
            new = _with_space(new, self.space)
        if self.samples is not None or self.max_iterations is not None:
            new = more_samples(new, self.samples, self.max_iterations)
        return with_workers(new, self.workers)


@grouped
def resume(
    run: options.Run,
    edits: Edits,
    more: MoreBudget,
    where: Where,
    skip_checks: options.SkipChecks = False,
    as_json: options.AsJson = False,
) -> None:
    """Continue a run, whatever ended it; the options change or enlarge it first."""
    how = where.how(checks=not skip_checks)
    from raysearch.cli.ending_order import taken_back
    from raysearch.launch import resume as go_on
    from raysearch.launch import unfit
    from raysearch.run.liveness import held_by, is_complete
    from raysearch.run.location import existing_run
    from raysearch.run.own_command import is_sweep
    from raysearch.run.session import spent_on
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.paths import RunPaths

    root = existing_run(run)
    if edits.samples is not None and edits == Edits(edits.samples) and held_by(RunPaths(root).journal):
        add_samples(root, edits.samples, as_json)
        return
    old = load_spec(root / "spec.yaml")
    spent = spent_on(root)
    new = more.given_to(edits.made_in(root, old), spent)
    if new.to_yaml() == old.to_yaml() and (words := taken_back(root)) is not None:
        if as_json:
            print_json({"run": shown(root), "words": words})
        else:
            tell(words)
        return
    if new.to_yaml() == old.to_yaml() and is_complete(root):
        _say_complete(root, how, as_json)
        return
    if is_sweep(old.config):
        is_plain = edits == Edits() and more == MoreBudget() and where == Where() and not skip_checks
        _go_on_as_sweep(root, old, is_plain and not as_json)
    _check_budget(root, new, spent)
    _check_rule(root, old, new)
    if new.space != old.space:
        _say_unfit(unfit(root, new.space))
    _follow(root, new, how, lambda how: go_on(root, how, edits=lambda _: new), as_json)


def _go_on_as_sweep(root: Path, spec: SearchSpec, is_plain: bool) -> NoReturn:
    """Starts the command of the sweep that began the run again, and exits as it does.

    Raises:
        SpecError: options are given, which belong to that command, or the command is not kept any more.
    """
    from raysearch.run.own_command import RESUME, kept

    own = kept(spec.config)
    if own is None:
        raise SpecError(
            f"{shown(root)}: a sweep of Hydra began this run, and only its command goes on with it: type it "
            f"again, in the same folder, with {RESUME}{root.absolute()} at its end"
        )
    own = own.going_on(root)
    if not is_plain:
        raise SpecError(
            f"{shown(root)}: a sweep of Hydra began this run, and goes on by its own command, which takes "
            f"options as hydra.sweeper.samples=100; leave them out here, or type: {own}"
        )
    say(f"a sweep of Hydra began this run; its command goes on with it: {own}")
    raise typer.Exit(own.start())


# ---- the spec


def _estimate(
    spec: str, search: SearchSpec, where: Where, seconds_per_iteration: float | None, as_json: bool
) -> None:
    """Shows rungs, trials and cost of a spec that passes its checks, and whose processes have room."""
    from raysearch.cli.dry_run import show_estimate

    for note in _checked(spec, search).remarks:
        say(f"note: {note}")
    if search.workers.processes and where.executor is not options.Executor.inline:
        from raysearch.cluster.room_ahead import check_room

        check_room(search.workers, where.address, where.local)
    show_estimate(search, seconds_per_iteration, as_json)


def _try_notify(search: SearchSpec, dry_run: bool) -> None:
    """Sends one message in every way that the spec names. Raises SpecError if one does not arrive."""
    from raysearch.tracking.telling import try_one

    if not dry_run:
        raise SpecError("--notify-test goes with --dry-run")
    if not search.notify:
        raise SpecError("--notify-test: the spec has no notify:, such as notify: {webhook: SLACK_URL}")
    lines = try_one(search.notify, search.name)
    if failed := [line for line, arrived in lines if not arrived]:
        raise SpecError("; ".join(failed))
    for line, _ in lines:
        say(line)


def _checked(spec: str, search: SearchSpec) -> Ready:
    """The search, ready to start. Raises SpecError with the file and the field that is wrong."""
    from raysearch.errors import LocatedError
    from raysearch.launch_checks import check

    try:
        return check(search)
    except LocatedError as error:
        raise SpecError(f"{spec_file(spec).name} [{error.place}]: {error.text}") from None


def _check_budget(root: Path, spec: SearchSpec, spent: Spent) -> None:
    """Raises SpecError if the budget is used up; the message holds the command that raises it."""
    from raysearch.core.budget import Amount

    budget = spec.budget
    used_up, words = budget.exhausted(spent), f"spent: {budget.in_words(spent)}"
    if used_up is None and budget.trials is not None and (begun := _trials_of(root, spec)) >= budget.trials:
        used_up, words = Amount.TRIALS, f"begun: {begun}"
    if used_up is None:
        return
    more = command("resume", shown(root), *used_up.more)
    raise SpecError(f"{shown(root)}: {budget.used_up(used_up)} ({words}); give it more with: {more}")


def _check_rule(root: Path, old: SearchSpec, new: SearchSpec) -> None:
    """Raises SpecError if `stop_when` ended the run, and would end what more there is to try as well."""
    from raysearch.run.liveness import last_ended
    from raysearch.storage.paths import RunPaths
    from raysearch.strategies.base import abilities_of

    ended = last_ended(RunPaths(root).journal)
    abilities = [abilities_of(spec.strategy) for spec in (old, new)]
    is_larger = new.space != old.space or len({(one.samples, one.max_iterations) for one in abilities}) > 1
    is_ended = ended is not None and ended.kind is Ending.GAIN
    if is_ended and is_larger and new.stop_when == old.stop_when:
        more = command("resume", shown(root), *more_of(ended))
        raise SpecError(f"{shown(root)}: its stop_when ended it, and would again; go on with: {more}")


def _trials_of(root: Path, spec: SearchSpec) -> int:
    from raysearch.run.journal_status import JournalStatus
    from raysearch.storage.paths import RunPaths

    standing = JournalStatus(RunPaths(root).journal, spec.metric, spec.mode, spec.goals)
    standing.read()
    return standing.snapshot().trials


def _with_space(spec: SearchSpec, file: Path) -> SearchSpec:
    """`spec` with the space in a YAML file: under `space:`, or all that is in it."""
    from raysearch.core.yaml_io import read_mapping
    from raysearch.errors import LocatedError
    from raysearch.spec.search_spec import make_spec

    written = read_mapping(file, "--space", "a mapping of names to domains")
    is_spec = isinstance(written.get("space"), dict)
    space, constraints = (written["space"], written.get("constraints")) if is_spec else (written, None)
    try:
        return make_spec(**{**spec.to_dict(), "space": space, "constraints": constraints})
    except LocatedError as error:
        raise SpecError(f"{file.name} [{error.place}]: {error.text}") from None


# ---- a run that is to go on


def _say_complete(root: Path, how: How, as_json: bool) -> None:
    from raysearch.cli.result_text import has_winner, show_end, summary
    from raysearch.results.results import Results

    results = Results(root)
    if as_json:
        print_json(summary(results, COMPLETE.words))
    else:
        out = console()
        out.print("The run is complete: there is nothing left to do. Make it larger to go on.\n")
        show_end(out, results, COMPLETE, flags_of(how))
    if not has_winner(results):
        raise typer.Exit(NOTHING_FOUND)


def _say_unfit(found: Sequence[tuple[int, str]]) -> None:
    if not found:
        say("every old trial fits the new space")
        return
    trials = "1 old trial does" if len(found) == 1 else f"{len(found):,} old trials do"
    say(f"{trials} not fit the new space and will not count:")
    for trial, why in found[:UNFIT_SHOWN]:
        say(f"  trial {trial}: {why}")
    if len(found) > UNFIT_SHOWN:
        say(f"  and {len(found) - UNFIT_SHOWN:,} more")


# ---- following


def _follow(root: Path, spec: SearchSpec, how: How, start: Callable[[How], Results], as_json: bool) -> None:
    """Runs the search under a display; prints the result and the next command at its end."""
    from raysearch.cli.result_text import has_winner, show_end, summary

    results, ended = follow(root, spec, how, start, as_json)
    ending = ended.words if ended is not None else ""
    from raysearch.run.session import spent_on

    spent = spent_on(results.path)
    if as_json:
        print_json({**summary(results, ending), "spent": dataclasses.asdict(spent)})
    else:
        words = spec.budget.in_words(spent) if spec.budget.is_set else ""
        show_end(console(), results, ended, flags_of(how), words)
    kind = ended.kind if ended is not None else None
    if kind is Ending.PAUSED:
        raise typer.Exit(PAUSED)
    if kind in (Ending.STOPPED, Ending.SIGNAL):
        raise typer.Exit(INTERRUPTED)
    if ended is not None and ended.is_done and not has_winner(results):
        raise typer.Exit(NOTHING_FOUND)
