"""The whole story, top to bottom: spec -> run folder -> executor -> results.

`search` is what Python users call, `launch` what the command line calls. `resume` goes on with a run that
ended or died, or that someone makes larger. All three end in `_go_on`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from raysearch.core.budget import Budget
from raysearch.core.segment import Config, Mode
from raysearch.core.stop_when import StopWhen
from raysearch.engine.snapshot import Snapshot
from raysearch.engine.wind_down import Ending
from raysearch.errors import RunError, SpecError
from raysearch.launch_checks import Ready, check, planned, ready_to_go_on, strategy_form
from raysearch.results.remarks import KEPT
from raysearch.results.results import Results
from raysearch.run.display import following
from raysearch.run.driver_lock import driving
from raysearch.run.extension import edited, more_samples, unfit
from raysearch.run.fingerprint import fingerprint
from raysearch.run.going_on import changed_since, last_start, started_otherwise
from raysearch.run.location import (
    anchored,
    existing_run,
    new_name,
    new_run,
    none_unless_begun,
    write_spec,
)
from raysearch.run.options import Executor, How, OnStatus
from raysearch.run.session import Session, Setup, open_journal
from raysearch.space.constraints import Constraint
from raysearch.space.space import Space
from raysearch.spec.search_spec import SearchSpec, load_spec, make_spec
from raysearch.spec.workers import Workers
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.paths import RunPaths
from raysearch.storage.retry import patiently
from raysearch.strategies.base import Recipe, abilities_of
from raysearch.strategies.samplers.factory import is_of_object
from raysearch.worker.shipping import Shipped, ship

if TYPE_CHECKING:
    from raysearch.run.adopted_model import Adoption
    from raysearch.worker.job import Job

__all__ = ["How", "launch", "more_samples", "resume", "search", "unfit"]

HOW = frozenset(field.name for field in dataclasses.fields(How))  # arguments of `search` about its run
BEGIN = frozenset(("from_checkpoint", "at_iteration"))  # and about the model that it goes on with
SHARES_FOLDER = (
    "executor: inline trains in your own working folder, which all trials share; under executor: tune, and "
    "with isolate: true, each trial has an empty one of its own"
)
FILES_NAMED = 5
SAMPLES = 8  # configurations, some pairs of which are tried together before a search of a Learner


def search(
    trainable: Callable[..., Any] | str, *,
    space: Space | Mapping[str, Any], constraints: Sequence[str | Constraint] | str | None = None,
    metric: str | None = None, mode: Mode | None = None, baseline: Config | None = None,
    objectives: Mapping[str, Mode] | None = None, limits: Sequence[str] | str = (),
    strategy: Recipe | Mapping[str, Any] | str, seed: int = 0,
    memory: str | os.PathLike[str] | None = None, known_good: Sequence[Config] = (),
    priors: Mapping[str, Any] | None = None, name: str | None = None,
    storage: str | os.PathLike[str] = "runs", storage_timeout: float | str = 60.0,
    quota: int | str | None = None, workers: Workers | Mapping[str, Any] | int | Literal["auto"] = "auto",
    budget: Budget | Mapping[str, Any] | None = None, priority: float = 1.0, max_share: float = 1.0,
    isolate: bool = False, fuse: bool = True, stall_timeout: float | str | None = None, retries: int = 1,
    config: Config | None = None, seed_as: str | None = None, fingerprint: Mapping[str, Any] | None = None,
    wandb: Mapping[str, Any] | str | bool | None = None, sinks: Sequence[str] | str = (),
    notify: Mapping[str, Any] | None = None, stop_when: StopWhen | Mapping[str, Any] | None = None,
    scale: Mapping[str, Any] | None = None,
    executor: Executor = "tune", address: str | None = None, local: bool = False, checks: bool = True,
    callbacks: Sequence[Any] = (), on_status: OnStatus | None = None, progress: bool = True,
    say: Callable[[str], None] | None = None, returns_when_stopped: bool = False,
    from_checkpoint: str | os.PathLike[str] | None = None, at_iteration: int | None = None,
    **unknown: NoReturn,
) -> Results:  # fmt: skip
    """Searches for the best configuration of `trainable`; returns the results when the search has ended.

    >>> results = raysearch.search(
    ...     train, space={"lr": {"uniform": [0.0, 1.0]}}, metric="loss", mode="min", executor="inline",
    ...     strategy=raysearch.Caviar(samples=8, max_iterations=9, sampler="sobol"))
    >>> f"lr {results.best.config['lr']:.2f} gives {results.best.mean:.2f}"
    'lr 0.30 gives 0.39'

    Args:
        trainable: a Ray Tune class or function, a `raysearch.torch.Learner`, or text "module:attribute".
        name: of the run's folder in `storage`; by default a new one for each call.
        executor, address, local, checks, callbacks, on_status, progress, say, returns_when_stopped: see
            `How`.
        from_checkpoint, at_iteration: see `raysearch.launch.launch`.
        space, metric and the others: see the field of that name of `raysearch.SearchSpec`.

    Raises:
        SpecError: a field is wrong; nothing has started.
        RunError: a run of that name exists, or the search ended with an error.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    given = {field: value for field, value in locals().items() if value is not None}
    given |= given.pop("unknown")  # make_spec names the nearest field
    how = How(**{option: given.pop(option) for option in HOW & given.keys()})
    begin = {option: given.pop(option) for option in BEGIN & given.keys()}
    spec = anchored(make_spec(**{"name": new_name(trainable), **given}))
    with following(spec, how) as how:
        return launch(spec, how, **begin)


def launch(
    spec: SearchSpec,
    how: How | None = None,
    *,
    from_checkpoint: str | os.PathLike[str] | None = None,
    at_iteration: int | None = None,
) -> Results:
    """Starts a new run from its spec and follows it to its end; returns its results.

    >>> from raysearch.launch import launch, more_samples
    >>> spec = raysearch.SearchSpec(
    ...     name="two", trainable=train, metric="loss", mode="min", seed=2,
    ...     space=raysearch.Space.from_dict({"lr": {"uniform": [0.0, 1.0]}}),
    ...     strategy=raysearch.Caviar(samples=2, max_iterations=3, finish=None))
    >>> launch(spec, raysearch.How("inline")).trials()["iterations"].tolist()
    [3, 1]

    Args:
        from_checkpoint: folder of a trained model to go on with, which raysearch kept or the trainable's own
            `save_checkpoint` wrote; for strategies that adopt one (panda).
        at_iteration: the iteration after which it was saved; needed where the checkpoint does not hold it.

    Raises:
        SpecError: the spec does not fit its trainable, its storage cannot be written, or the checkpoint does
            not fit the spec.
        RunError: a run of that name exists, its folder cannot be written, or it ended with an error.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    return start(check(spec), how or How(), from_checkpoint=from_checkpoint, at_iteration=at_iteration)


def start(
    ready: Ready,
    how: How,
    *,
    from_checkpoint: str | os.PathLike[str] | None = None,
    at_iteration: int | None = None,
) -> Results:
    """Starts the run of a spec that passed `launch_checks.check`; else as `launch`."""
    from raysearch.cluster.versions import installed, untried_note

    if untried := untried_note(installed()):
        how.say(f"note: {untried}")
    ready = planned(ready, how)
    shipped = ship(ready.trainable)
    adoption = _adoption(ready.spec, from_checkpoint, at_iteration)
    rests_on = fingerprint(ready.spec, ready.trainable)
    root = _create(ready.spec, adoption)
    with none_unless_begun(root), driving(root) as began:
        return _go_on(root, ready, shipped, how, rests_on, began)


def resume(
    run: str | os.PathLike[str],
    how: How | None = None,
    *,
    trainable: Any = None,
    strategy: Recipe | None = None,
    edits: Callable[[SearchSpec], SearchSpec] | None = None,
) -> Results:
    """Goes on with a run, whatever ended it, and returns the results of the whole run at its end.

    Every acknowledged outcome counts; lost segments are trained again; a complete run trains nothing more.

    >>> from raysearch.launch import more_samples
    >>> results = raysearch.resume("runs/small", raysearch.How("inline"), trainable=train,
    ...                            edits=lambda spec: more_samples(spec, "+2"))
    >>> len(results.trials())  # there were 3
    5

    Args:
        run: its folder, or its address at a store.
        how: where and how it runs from here on, whatever it was before; None is Ray Tune.
        trainable: needed where the spec cannot name it: a lambda, a partial, `tune.with_parameters`.
        strategy: needed where the spec holds only its name; its settings replace the run's.
        edits: makes the changed spec. Old outcomes that fit the new space count; `unfit` lists the others.

    Raises:
        RunError: there is no such run, or it ended with an error.
        SpecError: the strategy must be given, or an edit does not go with the run.
        TrainableError: the spec's name does not find the trainable; give it.
        JournalError: another process runs it.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly.
    """
    root, how = existing_run(run), how or How()
    written = Results(root).spec
    old = _spec_of(root, written, strategy)
    new = edits(old) if edits is not None else old
    last = last_start(RunPaths(root).journal)
    if strategy is None and (started := started_otherwise(RunPaths(root), last)) is not None:
        how.say(f"spec.yaml was edited by hand since the run was last started: {', '.join(started.edited)}")
        old, written = started.spec, started.written
    ready = ready_to_go_on(old, new, written, how, trainable)
    shipped = ship(ready.trainable)
    before = "" if strategy is not None else old.to_yaml()
    with driving(root) as began:
        open_journal(RunPaths(root)).close()
        rests_on = fingerprint(ready.spec, ready.trainable)
        for change in changed_since(last, rests_on, ready.trainable):
            how.say(change)
        _note_edit(root, before or RunPaths(root).spec.read_text(encoding="utf-8"), ready.spec)
        return _go_on(root, ready, shipped, how, rests_on, began)


# ---- inside


def _spec_of(root: Path, written: Mapping[str, Any], strategy: Recipe | None) -> SearchSpec:
    """The spec of a run; `strategy`, if given, replaces the one that its spec.yaml holds."""
    file = RunPaths(root).spec
    if strategy is not None:
        return load_spec(file, {"strategy": strategy})
    name = str(strategy_form(written).get("name"))
    if is_of_object(name):
        raise SpecError(
            f"{shown(root)}: its strategy was an object of class {name}, and its settings are all that "
            "spec.yaml holds of it; give it again: raysearch.resume(run, strategy=...)"
        )
    return load_spec(file)


def _adoption(
    spec: SearchSpec, folder: str | os.PathLike[str] | None, at_iteration: int | None
) -> Adoption | None:
    """The trained model that the search goes on with; None if it starts with fresh models."""
    from raysearch.run.adopted_model import make_adoption

    if folder is not None:
        return make_adoption(spec, os.fspath(folder), at_iteration)
    if at_iteration is not None:
        raise SpecError("--at-iteration says where the model of --from-checkpoint stands: give both")
    return None


def _create(spec: SearchSpec, adoption: Adoption | None) -> Path:
    """Makes the run's folder; returns it."""
    from raysearch.run.adopted_model import adopt

    with new_run(spec) as (root, journal):
        journal.append_event(KEPT, {"text": spec.to_yaml()}, time.time())
        if adoption is not None:
            adopt(RunPaths(root), journal, adoption, spec.metric)
    return root


def _note_edit(root: Path, before: str, new: SearchSpec) -> None:
    """Journals and writes the spec, if it differs from its text `before`."""
    if (after := new.to_yaml()) == before:
        return
    with open_journal(RunPaths(root)) as journal:
        journal.append_event("edit", {"before": before, "after": after}, time.time())
    write_spec(RunPaths(root), after)


def _go_on(
    root: Path, ready: Ready, shipped: Shipped, how: How, rests_on: Mapping[str, Any], began: float
) -> Results:
    """Runs the search until it ends; returns the results of the whole run."""
    from raysearch.tracking.telling import reported

    spec = ready.spec
    bare = dataclasses.replace(spec, trainable="raysearch:shipped")
    setup = Setup(str(root.absolute()), bare, ready.remarks, False, rests_on, began, restores=ready.restores)
    setup = dataclasses.replace(setup, edit=edited, write=write_spec)
    job = _job(root.absolute(), ready, shipped)
    run = _run_inline if how.executor == "inline" else _run_tune
    with _interruptible(job.address or setup.run, how), reported(root.absolute(), spec, how.say):
        last = run(setup, job, spec, how)
        ended = last.live.end
        if ended is not None and ended.kind is Ending.SIGNAL and not how.returns_when_stopped:
            raise KeyboardInterrupt(ended.words)
    if last.live.failed:
        raise RunError(last.live.failed)
    moved = root.absolute() != Path(setup.run)  # the trainable changed the working directory
    return _results(setup.run if moved else root, spec.storage_timeout_s)


def _job(root: Path, ready: Ready, shipped: Shipped) -> Job:
    """What a worker must know of the search."""
    from raysearch.worker.job import Job

    spec = ready.spec
    is_fused = spec.fuse and shipped.is_learner and not spec.isolate
    return Job(
        run=str(root),
        address=shown(root) if mirror_at(root) is not None else "",
        trainable=shipped,
        metric=spec.metric,
        mode=spec.mode,
        constants=spec.config,
        seed_as=spec.seed_as,
        isolate=spec.isolate,
        is_fused=is_fused,
        samples=_samples(spec) if is_fused else (),
        must_save=ready.must_save,
        grace_s=spec.workers.grace_s,
        length=abilities_of(spec.strategy).max_iterations,
        processes=spec.workers.processes or 0,
        cpu=spec.workers.cpu,
        timeout_s=spec.workers.timeout_s,
    )


@contextlib.contextmanager
def _interruptible(run: str, how: How) -> Iterator[None]:
    """After an interrupt, passes the call that resumes the run to `how.say`, unless the caller reports it."""
    try:
        yield
    except KeyboardInterrupt:
        if not how.returns_when_stopped:
            again = ', raysearch.How("inline")' if how.executor == "inline" else ""
            how.say(
                "interrupted: every acknowledged outcome is kept. "
                f"Go on with: raysearch.resume({run!r}{again}); what there is: raysearch.load({run!r})"
            )
        raise


def _results(root: str | os.PathLike[str], patience_s: float) -> Results:
    """The results of the run; waits up to `patience_s` for storage that does not answer just now."""
    return patiently(lambda: Results(root), patience_s, lambda error: isinstance(error, RunError))


def _samples(spec: SearchSpec) -> tuple[Config, ...]:
    """SAMPLES configurations as the trainable gets them, for a test of which models train together."""
    drawn = [spec.space.sample(spec.seed, i) for i in range(SAMPLES)]
    seed = {spec.seed_as: 0} if spec.seed_as else {}
    return tuple({**spec.config, **config, **seed} for config in drawn)


def _run_inline(setup: Setup, job: Job, spec: SearchSpec, how: How) -> Snapshot:
    from raysearch.executors.inline import by_itself, limited_threads, run_inline

    setup = dataclasses.replace(setup, notes=(*_sharing(spec, 1), *setup.notes))
    before = {*os.listdir(), Path(spec.storage).parts[0]}
    session = Session.open(setup, time.time())
    alone = contextlib.nullcontext() if spec.isolate else by_itself()
    try:
        with alone, limited_threads(max(1, int(spec.workers.cpu))):
            run_inline(
                session.search, job, session.checkpoints, how.listener(), lambda: session.look(time.time())
            )
    finally:
        session.close(time.time())
    if not spec.isolate and (left := sorted({*os.listdir()} - before)):
        how.say(f"{SHARES_FOLDER}. Trials left there: {', '.join(left[:FILES_NAMED])}")
    return session.search.status(time.time())


def _run_tune(setup: Setup, job: Job, spec: SearchSpec, how: How) -> Snapshot:
    from raysearch.cluster.connect import gpu_kinds
    from raysearch.cluster.doctor.doctor import check_before_launch
    from raysearch.executors.tune.imports_ahead import begun

    where = job.address or setup.run
    with begun(how.address, how.local, where, how.say) as head:
        if how.checks:
            check_before_launch(where, how.say)
        from raysearch.executors.tune.driver import run_tune  # by now imported, see `begun`
        from raysearch.executors.tune.tune_plugins import muster

        fleet, growth, count = muster(spec.workers)
        gpu = (spec.workers.gpu and gpu_kinds()) or setup.fingerprint.get("gpu")
        setup = dataclasses.replace(
            setup,
            notes=(*_sharing(spec, count), *setup.notes),
            prefers_home=job.is_fused,
            fingerprint={**setup.fingerprint, "gpu": gpu},
            least_workers=spec.workers.least,
            growth=growth,
            held=tuple(share.held() for share in fleet.shares),
        )
        return run_tune(setup, job, fleet, head, how.listener(), list(how.callbacks))


def _sharing(spec: SearchSpec, workers: int) -> tuple[str, ...]:
    """A sentence for the user where several models take turns on a worker; else none."""
    able = abilities_of(spec.strategy)
    if able.population <= workers or not able.needs_checkpoints:
        return ()
    return (f"{able.population} models on {workers} worker{'' if workers == 1 else 's'}: they take turns",)
