"""The whole story, top to bottom: spec -> run folder -> executor -> results.

`search` is what Python users call, `launch` what the command line calls. `resume` goes on with a run that
ended or died, or that someone makes larger. All three end in `_go_on`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config
from raysearch.engine.leaderboard import FINALS
from raysearch.engine.wind_down import BY_SIGNAL
from raysearch.errors import RunError, SpecError
from raysearch.launch_checks import Ready, ready_to_go_on, ready_to_start, strategy_form
from raysearch.results.results import Results
from raysearch.run.driver_lock import driving
from raysearch.run.fingerprint import fingerprint
from raysearch.run.location import existing_run, new_run, run_folder, write_spec
from raysearch.run.options import Executor, How
from raysearch.run.session import Session, Setup, open_journal
from raysearch.space.space import Space
from raysearch.spec.search_spec import SearchSpec, default_name, load_spec, make_spec
from raysearch.spec.trainables import Shipped, ship
from raysearch.storage.atomic import patiently
from raysearch.storage.journal.journal import read_outcomes
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.object_store import is_address
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import Recipe
from raysearch.strategies.samplers.base import is_of_object

if TYPE_CHECKING:
    from raysearch.run.adopted_model import Adoption
    from raysearch.worker.job import Job

SAMPLES = 8  # configurations, some pairs of which are tried together before a search of a Learner


def search(trainable: Any, *, executor: Executor = "tune", **fields: Any) -> Results:
    """Searches, and returns the results: `best`, `trials()`, `segments()`, `curves()`, `verdict()`.

    Args:
        trainable: a Ray Tune class or function trainable, or `module:attribute`.
        executor: "tune", or "inline" for this process without a cluster.
        **fields: the fields of a spec: space, metric, mode, strategy, workers, storage, name, ...; see
            `raysearch.spec.SearchSpec`. Without a name, the run has one of its own each time.
            `address`, `local`, `callbacks`, `on_status` and `returns_when_stopped` as in `How`,
            `from_checkpoint` and `at_iteration` as in `launch`.

    Raises:
        SpecError: a field is wrong; nothing has been started.
        RunError: a run of that name exists, or the search ended with an error.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    how_names = {field.name for field in dataclasses.fields(How)} - {"executor"}
    how = How(executor, **{name: fields.pop(name) for name in how_names & fields.keys()})
    begin = {name: fields.pop(name) for name in ("from_checkpoint", "at_iteration") if name in fields}
    fields.setdefault("name", _name_of(trainable))
    spec = make_spec(trainable=trainable, **fields)
    if not is_address(spec.storage):  # whoever changes the working directory finds the run where it began
        spec = dataclasses.replace(spec, storage=str(Path(spec.storage).expanduser().absolute()))
    return launch(spec, how, **begin)


def launch(
    spec: SearchSpec,
    how: How | None = None,
    *,
    from_checkpoint: str | os.PathLike[str] | None = None,
    at_iteration: int | None = None,
) -> Results:
    """Starts a new run from its spec and follows it to its end; returns its results.

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
    how = how or How()
    ready = ready_to_start(spec, how)
    shipped = ship(ready.trainable)
    adoption = _adoption(ready.spec, from_checkpoint, at_iteration)
    rests_on = fingerprint(ready.spec, ready.trainable)
    root = run_folder(ready.spec)
    _create(root, ready.spec, adoption)
    with driving(root) as began:
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

    Every acknowledged outcome counts; lost segments are trained again. A complete run that `edits` does not
    make larger trains nothing more.

    Args:
        run: its folder, or its address at a store.
        how: where and how it runs from here on, such as `How("inline")`, also if it ran otherwise before;
            None is Ray Tune on a cluster that is found, or started, here.
        trainable: needed where the spec cannot name it: a lambda, a `functools.partial`, what a function or
            `tune.with_parameters` made, and what another process's notebook defined.
        strategy: needed where the spec holds only its name: a recipe of your own, or one whose sampler is an
            object. Its settings replace the run's.
        edits: makes the changed spec: more samples, a longer horizon, another space. Old outcomes that
            fit the new space count; `unfit` lists those that do not.

    Raises:
        RunError: there is no such run, or it ended with an error.
        SpecError: the strategy must be given, or an edit does not go with the run.
        TrainableError: the spec's name does not find the trainable; give it.
        JournalError: another process runs it.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    root, how = existing_run(run), how or How()
    written = Results(root).spec
    old = _spec_of(root, written, strategy)
    new = edits(old) if edits is not None else old
    ready = ready_to_go_on(old, new, written, how, trainable)
    shipped = ship(ready.trainable)
    before = "" if strategy is not None else old.to_yaml()
    with driving(root) as began:
        open_journal(RunPaths(root)).close()
        rests_on = fingerprint(ready.spec, ready.trainable)
        _note_edit(root, before or RunPaths(root).spec.read_text(encoding="utf-8"), ready.spec)
        return _go_on(root, ready, shipped, how, rests_on, began)


def more_samples(
    spec: SearchSpec, samples: str | int | None, max_iterations: int | None = None
) -> SearchSpec:
    """The spec with a larger strategy: `samples` in all, or "+1000" for so many more.

    Raises:
        SpecError: the strategy cannot be made larger, or would become smaller.
    """
    recipe: Any = spec.strategy
    if not hasattr(recipe, "extended"):
        raise SpecError(f"strategy {recipe.name!r} cannot be extended: it has no samples or horizon")
    if samples is not None and not hasattr(recipe, "samples"):
        raise SpecError(f"--samples: strategy {recipe.name} has none; a longer training is --max-iterations")
    count = _count(samples, recipe.samples) if samples is not None else None
    if count is not None and count < recipe.samples:
        raise SpecError(
            f"samples: {count} is fewer than the {recipe.samples} that the run has; write +N for more"
        )
    if max_iterations is not None and max_iterations < recipe.max_iterations:
        raise SpecError(
            f"max_iterations: {max_iterations} is less than the {recipe.max_iterations} that the run has"
        )
    return dataclasses.replace(spec, strategy=recipe.extended(count, max_iterations))


def unfit(run: str | os.PathLike[str], space: Space) -> list[tuple[int, str]]:
    """(trial, why) for each trial of the run whose configuration does not lie in `space`."""
    found: dict[int, str] = {}
    for outcome in read_outcomes(RunPaths(existing_run(run)).journal):
        segment = outcome.segment
        if segment.role in FINALS or segment.trial in found:
            continue
        if why := space.why_not(segment.config):
            found[segment.trial] = why
    return sorted(found.items())


# ---- inside


def _name_of(trainable: Any) -> str:
    """A name that no other run has: the trainable's, the time, and random digits for the same second."""
    return f"{default_name(trainable)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


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


def _create(root: Path, spec: SearchSpec, adoption: Adoption | None) -> None:
    from raysearch.run.adopted_model import adopt

    with new_run(root, spec.to_yaml()) as journal:
        if adoption is not None:
            adopt(RunPaths(root), journal, adoption, spec.metric)


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
    from raysearch.tracking.supervisor import sinking, tracked

    spec = ready.spec
    bare = dataclasses.replace(spec, trainable="raysearch:shipped")
    setup = Setup(str(root.absolute()), bare, ready.remarks, fingerprint=rests_on, began=began)
    job = _job(root.absolute(), spec, shipped)
    run = _run_inline if how.executor == "inline" else _run_tune
    with (
        _interruptible(job.address or setup.run, how),
        sinking(root.absolute(), spec.sinks, how.say),
        tracked(root.absolute(), spec.wandb, how.say),
    ):
        last = run(setup, job, spec, how)
        if last["ending"].startswith(BY_SIGNAL) and not how.returns_when_stopped:
            raise KeyboardInterrupt(last["ending"])
    if last["failed"]:
        raise RunError(last["failed"])
    moved = root.absolute() != Path(setup.run)  # the trainable changed the working directory
    return _results(setup.run if moved else root, spec.storage_timeout_s)


def _job(root: Path, spec: SearchSpec, shipped: Shipped) -> Job:
    """What a worker must know of the search."""
    from raysearch.worker.job import Job

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
        grace_s=spec.workers.grace_s,
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


def _run_inline(setup: Setup, job: Job, spec: SearchSpec, how: How) -> dict[str, Any]:
    from raysearch.executors.inline import by_itself, limited_threads, run_inline

    setup = dataclasses.replace(setup, notes=(*_sharing(spec, 1), *setup.notes))
    session = Session.open(setup, time.time())
    alone = contextlib.nullcontext() if spec.isolate else by_itself()
    try:
        with alone, limited_threads(max(1, int(spec.workers.cpu))):
            run_inline(
                session.search, job, session.checkpoints, how.listener(), lambda: session.look(time.time())
            )
    finally:
        session.close(time.time())
    return session.search.status(time.time())


def _run_tune(setup: Setup, job: Job, spec: SearchSpec, how: How) -> dict[str, Any]:
    from raysearch.cluster.connect import connected, gpu_kinds
    from raysearch.cluster.doctor.doctor import check_before_launch
    from raysearch.executors.tune.driver import run_tune
    from raysearch.executors.tune.head import last_words
    from raysearch.executors.tune.tune_plugins import muster

    where = job.address or setup.run
    with connected(how.address, how.local), last_words(where, how.say) as head:
        if how.checks:
            check_before_launch(where, how.say)
        fleet, growth, count = muster(spec.workers)
        kinds = gpu_kinds() if spec.workers.gpu else None
        rests_on = {**setup.fingerprint, "gpu": kinds or setup.fingerprint.get("gpu")}
        setup = dataclasses.replace(
            setup,
            notes=(*_sharing(spec, count), *setup.notes),
            prefers_home=job.is_fused,
            fingerprint=rests_on,
            least_workers=spec.workers.least,
            growth=growth,
            held=tuple(share.held() for share in fleet.shares),
        )
        return run_tune(setup, job, fleet, head, how.listener(), list(how.callbacks))


def _sharing(spec: SearchSpec, workers: int) -> tuple[str, ...]:
    """A sentence for the user where several models take turns on a worker; else none."""
    population = getattr(spec.strategy, "population", 1)
    if population <= workers or not getattr(spec.strategy, "needs_checkpoints", False):
        return ()
    kind = "worker" if workers == 1 else "workers"
    return (f"{population} models on {workers} {kind}: they take turns",)


def _count(samples: str | int, now: int) -> int:
    """The number that `samples` means for a run that has `now`."""
    text = str(samples).strip()
    if not text.lstrip("+").isdigit():
        raise SpecError(f"samples: {samples!r} is neither a whole number nor +N")
    return now + int(text[1:]) if text.startswith("+") else int(text)
