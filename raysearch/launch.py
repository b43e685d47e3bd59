"""The whole story, top to bottom: spec -> run folder -> executor -> results.

`search` is what Python users call, `launch` what the command line calls, `resume` goes on with a run
that ended, died or is to be made larger. All three end in `_go_on`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from raysearch.core.segment import Config
from raysearch.engine.leaderboard import FINALS
from raysearch.engine.wind_down import BY_SIGNAL
from raysearch.errors import LocatedError, RunError, SpecError, located, prefixed
from raysearch.results.results import Results
from raysearch.run.driver_lock import driving
from raysearch.run.fingerprint import fingerprint
from raysearch.run.session import Session, Setup, open_journal
from raysearch.space.space import Space
from raysearch.spec.search_spec import SearchSpec, default_name, load_spec, make_spec
from raysearch.storage.atomic import patiently, replace_text
from raysearch.storage.journal.journal import Journal, read_outcomes
from raysearch.storage.mirror import mirror_at, mirror_of, shown
from raysearch.storage.object_store import Address, is_address, open_store, parse_address
from raysearch.storage.paths import RunPaths
from raysearch.strategies import registry
from raysearch.strategies.base import Recipe
from raysearch.strategies.samplers.base import Source, is_of_object, name_of

if TYPE_CHECKING:
    from raysearch.run.adopted_model import Adoption
    from raysearch.spec.trainables import Shipped

SAMPLES = 8  # configurations of which some pairs are tried together before a search of a Learner

Executor = Literal["tune", "inline"]
OnStatus = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class How:
    """Where and how a search is run; what a search is stands in its spec.

    Attributes:
        executor: "tune" for Ray Tune, "inline" for this process without Ray's cluster.
        address: of the Ray cluster; None finds one on this machine or starts one.
        local: start a cluster for this search alone, whatever else runs here.
        checks: have a short look at the cluster first (`raysearch doctor` is the long one).
        callbacks: Ray Tune callbacks for the experiment of workers.
        on_status: gets a snapshot (Search.status) about twice a second. Without it, each new warning is said.
        say: gets a line where there is one to say: of W&B, or how to go on after an interrupt.
        returns_when_stopped: after Ctrl-C or SIGTERM, return the results of what there is. Else
            KeyboardInterrupt is raised when the search has stopped cleanly, and how to go on is said.
    """

    executor: Executor = "tune"
    address: str | None = None
    local: bool = False
    checks: bool = True
    callbacks: Sequence[Any] = ()
    on_status: OnStatus | None = None
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
    returns_when_stopped: bool = False

    def listener(self) -> OnStatus:
        """Whom to tell how the search stands."""
        if self.on_status is not None:
            return self.on_status
        said: set[str] = set()

        def say_new(status: dict[str, Any]) -> None:
            for text in status.get("warnings", ()):
                if text not in said:
                    said.add(text)
                    self.say(f"warning: {text}")

        return say_new


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
    """Starts a new run from its spec and follows it to its end.

    Args:
        from_checkpoint: folder of a model to go on with, kept by raysearch or written by the trainable's
            own `save_checkpoint`; for strategies that adopt one (panda).
        at_iteration: after which iteration it was saved; needed where the checkpoint does not say.

    Raises:
        SpecError: the spec does not fit its trainable, its storage cannot be written, or the checkpoint does
            not fit the spec.
        RunError: a run of that name exists, its folder cannot be written, or it ended with an error.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    from raysearch.run.adopted_model import make_adoption
    from raysearch.spec.trainables import ship

    trainable = _load(spec)
    how = how or How()
    _check_executor(how, spec, trainable)
    spec = _checked(_planned(spec, how), trainable)
    if said := _objects_in(spec):
        how.say(said)
        spec = dataclasses.replace(spec, notes=(*spec.notes, said))
    shipped = ship(trainable)
    adoption = None
    if from_checkpoint is not None:
        adoption = make_adoption(spec, os.fspath(from_checkpoint), at_iteration)
    elif at_iteration is not None:
        raise SpecError("--at-iteration says where the model of --from-checkpoint stands: give both")
    rests_on = fingerprint(spec, trainable)
    root = run_folder(spec)
    _create(root, spec, adoption)
    with driving(root) as began:
        return _go_on(root, spec, shipped, how, rests_on, began)


def check(spec: SearchSpec) -> SearchSpec:
    """The spec as it would be launched, if nothing stands against that; starts and writes nothing.

    `strategy: auto` stays, since a short measured run decides it.

    Raises:
        SpecError: a LocatedError where it can be said at which field.
        TrainableError: the trainable cannot be imported.
    """
    return _checked(spec, _load(spec))


def resume(
    run: str | os.PathLike[str],
    how: How | None = None,
    *,
    trainable: Any = None,
    strategy: Recipe | None = None,
    edits: Callable[[SearchSpec], SearchSpec] | None = None,
) -> Results:
    """Goes on with a run, whatever ended it: every acknowledged outcome counts, what was lost is grown again.

    Comes back at the end with the results of the whole run, earlier lives included, as `search` does. A run
    that is complete and not made larger trains nothing more.

    Args:
        run: its folder, or its address at a store.
        how: where and how it is run from here on, such as `How("inline")`; None is Ray Tune on the cluster
            that is found, or started, here. It need not be as before.
        trainable: needed where the spec cannot name it: a lambda, a `functools.partial`, what a function or
            `tune.with_parameters` made, and what another process's notebook defined.
        strategy: needed where the spec holds only its name: a recipe of your own, or one whose sampler is an
            object. Its settings take the place of the run's.
        edits: makes the changed spec: more samples, a longer horizon, another space. Old outcomes that
            fit the new space count; `unfit` says which do not.

    Raises:
        RunError: there is no such run, or it ended with an error.
        SpecError: the strategy must be given, or an edit does not go with the run.
        TrainableError: the trainable cannot be found by the name in the spec; give it.
        JournalError: another process is running it.
        KeyboardInterrupt: at Ctrl-C, once the search has stopped cleanly; at once at a second one.
    """
    from raysearch.spec.trainables import ship

    root = existing_run(run)
    said = Results(root).spec
    old = _spec_of(root, said, strategy)
    spec = edits(old) if edits is not None else old
    loaded = _load(spec if trainable is None else dataclasses.replace(spec, trainable=trainable))
    spec = _resolved(spec, loaded)
    how = how or How()
    _check_executor(how, spec, loaded)
    shipped = ship(loaded)
    _check_edit(old, spec, said)
    _check_strategy(spec, loaded)
    with driving(root) as began:
        open_journal(RunPaths(root)).close()
        found = fingerprint(spec, loaded)
        before = old.to_yaml() if strategy is None else RunPaths(root).spec.read_text(encoding="utf-8")
        if spec.to_yaml() != before:
            _note_edit(root, before, spec)
        return _go_on(root, spec, shipped, how, found, began)


def more_samples(
    spec: SearchSpec, samples: str | int | None, max_iterations: int | None = None
) -> SearchSpec:
    """The spec with its strategy made larger: `samples` as a number, or "+1000" for so many more.

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


def run_folder(spec: SearchSpec) -> Path:
    """Where the run of this spec lies: its storage and its name; its mirror, if that is at a store."""
    if is_address(spec.storage):
        return mirror_of(parse_address(spec.storage).under(spec.name)).root
    return Path(spec.storage).expanduser() / spec.name


def existing_run(run: str | os.PathLike[str]) -> Path:
    """The folder of a run, checked; brought up to date, if the run is at a store.

    Raises:
        RunError: there is none; names the runs that lie beside it.
        SpecError, StoreError: its address is wrong, or the store does not answer.
    """
    if is_address(run):
        return _fetched_run(parse_address(os.fspath(run)))
    root = Path(run).expanduser()
    if (mirror := mirror_at(root)) is not None:
        mirror.refresh(now=True)
    if RunPaths(root).spec.is_file() and RunPaths(root).journal.is_dir():
        return root
    folder = root if root.is_dir() else root.parent
    runs = sorted(str(p.parent) for p in folder.glob("*/spec.yaml"))[:10] if folder.is_dir() else []
    near = f"; runs here: {', '.join(runs)}" if runs else ""
    raise RunError(f"no run at {str(run)!r} (a run is a folder with spec.yaml and journal/){near}")


# ---- inside


def _fetched_run(address: Address) -> Path:
    store = open_store(address)
    if not store.has("spec.yaml"):
        beside = open_store(address.parent)
        runs = [name for name in beside.folders()[:10] if beside.under(name).has("spec.yaml")]
        near = f"; runs there: {', '.join(runs)}" if runs else ""
        raise RunError(f"no run at {str(address)!r} (a run has spec.yaml and journal/){near}")
    mirror = mirror_of(address)
    mirror.refresh(now=True)
    return mirror.root


def _name_of(trainable: Any) -> str:
    """A name that no other run has: the trainable's, the time, and something random for the same second."""
    return f"{default_name(trainable)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _spec_of(root: Path, said: Mapping[str, Any], strategy: Recipe | None) -> SearchSpec:
    """The spec of a run, with `strategy` in place of the name that it holds, if that is given."""
    file = RunPaths(root).spec
    if strategy is not None:
        return load_spec(file, {"strategy": strategy})
    name = str(_form(said).get("name"))
    if is_of_object(name):
        raise SpecError(
            f"{shown(root)}: its strategy was an object of class {name}, and its settings are all that "
            "spec.yaml holds of it; give it again: raysearch.resume(run, strategy=...)"
        )
    return load_spec(file)


def _form(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """The strategy as spec.yaml writes it."""
    form = said.get("strategy")
    return form if isinstance(form, Mapping) else {"name": form}


def _objects_in(spec: SearchSpec) -> str:
    """What of the strategy spec.yaml cannot hold, to be said at the start; empty where it holds all."""
    sampler = getattr(spec.strategy, "sampler", "")
    if not registry.is_named(spec.strategy):
        what = f"{type(spec.strategy).__name__} is not registered under its name"
    elif not isinstance(sampler, str):
        what = f"sampler {name_of(sampler)} is an object"
    else:
        return ""
    return f"strategy: {what}, so that a resume needs it again: raysearch.resume(run, strategy=...)"


def _load(spec: SearchSpec) -> Any:
    from raysearch.spec.trainables import load_trainable

    return load_trainable(spec.trainable)


def _resolved(spec: SearchSpec, trainable: Any) -> SearchSpec:
    """The spec with `variant: auto` decided by what the trainable can do."""
    from raysearch.spec.trainables import can_pause

    if getattr(spec.strategy, "variant", None) != "auto":
        return spec
    variant = "promotion" if can_pause(trainable) else "stopping"
    return dataclasses.replace(spec, strategy=dataclasses.replace(spec.strategy, variant=variant))  # type: ignore[type-var]


def _planned(spec: SearchSpec, how: How) -> SearchSpec:
    """The spec with `strategy: auto` decided by a short measured run."""
    if spec.strategy.name != "auto":
        return spec
    from raysearch.workflows.plan import make_plan

    plan = make_plan(spec, how)
    why = f"strategy: {plan.advice.strategy}, because {'; '.join(plan.advice.reasons)}"
    return dataclasses.replace(plan.spec(spec), notes=(*spec.notes, why))


def _informed(spec: SearchSpec) -> SearchSpec:
    """The spec whose strategy begins from what its memory, known_good and priors say."""
    if not (spec.memory or spec.known_good or spec.priors):
        return spec
    from raysearch.workflows.memory.store import begin_from

    strategy, remarks = begin_from(spec)
    return dataclasses.replace(spec, strategy=strategy, notes=(*spec.notes, *remarks))


def _check_executor(how: How, spec: SearchSpec, trainable: Any) -> None:
    """Raises SpecError for an unknown executor, RunError where this process is taken by another search."""
    if how.executor not in ("tune", "inline"):
        raise SpecError(f"executor: {how.executor!r} is not one of tune, inline")
    if how.executor == "inline" and not spec.isolate:
        from raysearch.executors.inline import check_by_itself

        check_by_itself(trainable)


def _checked(spec: SearchSpec, trainable: Any) -> SearchSpec:
    if spec.strategy.name != "auto":
        spec = _informed(_resolved(spec, trainable))
        _check_strategy(spec, trainable)
    _check_sinks(spec)
    _check_files(spec)
    _check_storage(spec)
    return spec


def _check_strategy(spec: SearchSpec, trainable: Any) -> None:
    """Raises SpecError for what would otherwise show only when the run exists, such as a wrong sampler."""
    from raysearch.spec.trainables import can_pause, is_class

    needs = getattr(spec.strategy, "needs_checkpoints", False)
    if needs and is_class(trainable) and not can_pause(trainable):  # a function shows it when it runs
        raise SpecError(
            f"strategy {spec.strategy.name} trains models on from their checkpoints, and "
            f"{trainable.__name__} writes none: implement save_checkpoint and load_checkpoint"
        )
    with located("strategy"), prefixed("strategy"):
        strategy = spec.strategy.start(
            spec.space, metric=spec.metric, mode=spec.mode, seed=spec.seed, baseline=spec.baseline
        )
        if isinstance(getattr(spec.strategy, "sampler", None), Source):  # each search binds one of its own
            strategy.ask(1)


def _check_sinks(spec: SearchSpec) -> None:
    """Raises for a sink that cannot be loaded, or W&B without a key, before anything starts."""
    if spec.wandb:
        from raysearch.tracking.wandb.settings import check

        with located("wandb"):
            check(spec.wandb)
    if spec.sinks:
        from raysearch.tracking.sinks import find

        with located("sinks"):
            for name in spec.sinks:
                find(name)


def _check_files(spec: SearchSpec) -> None:
    for file in spec.fingerprint.get("files", ()):
        if not Path(file).expanduser().exists():
            raise LocatedError(
                "fingerprint.files", f"{file}: No such file or directory; name files of your data"
            )


def _check_storage(spec: SearchSpec) -> None:
    """Raises LocatedError for a folder that cannot be made or written; a store is only asked for."""
    if is_address(spec.storage):
        open_store(parse_address(spec.storage))
        return
    at = run_folder(spec).absolute()
    while not os.path.lexists(at):
        at = at.parent
    why = "is no folder" if not at.is_dir() else "may not be written by this user"
    if not at.is_dir() or not os.access(at, os.W_OK | os.X_OK):
        raise LocatedError(
            "storage", f"{spec.storage!r} cannot be written: {at} {why}; choose another folder"
        )


def _check_edit(old: SearchSpec, new: SearchSpec, said: Mapping[str, Any]) -> None:
    """Raises SpecError for changes under which old outcomes would mean something else.

    Args:
        said: what spec.yaml says; in `old` the strategy may have been replaced already.
    """
    for field in ("metric", "mode"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            raise SpecError(
                f"{field}: the run was searched with {before!r}; {after!r} would turn its outcomes into "
                "something else. Start a new run for that"
            )
    was, now = _form(said), new.to_dict()["strategy"]
    for field in ("samples", "max_iterations"):
        before, after = was.get(field) or 0, now.get(field) or 0
        if was.get("name") == now["name"] and after < before:
            raise SpecError(f"strategy.{field}: {after} is less than the {before} that the run has")
    if new.space != old.space and not set(old.space.free) & set(new.space.free):
        raise SpecError(
            f"space: {', '.join(new.space.names) or 'nothing'} shares no hyper-parameter with the run's "
            f"({', '.join(old.space.free)}), so no old outcome would count. Start a new run for that"
        )


def _create(root: Path, spec: SearchSpec, adoption: Adoption | None) -> None:
    from raysearch.run.adopted_model import adopt

    paths, mirror, text = RunPaths(root), mirror_at(root), spec.to_yaml()
    if mirror.store.has(paths.spec.name) if mirror is not None else paths.spec.exists():
        raise RunError(
            f"a run exists at {shown(root)!r}. Go on with it (raysearch resume {shown(root)}), or give this "
            "one another name (--name, or `name:` in the spec)"
        )
    try:
        if mirror is not None:
            mirror.begin()
        root.mkdir(parents=True, exist_ok=True)
        if paths.journal.exists():  # left by a launch that died before its spec was written: it holds nothing
            shutil.rmtree(paths.journal)
        with Journal.create(paths.journal) as journal:
            if adoption is not None:
                adopt(paths, journal, adoption, spec.metric)
        _write_spec(paths, text)
    except OSError as error:
        raise RunError(
            f"the run's folder {str(root)!r} cannot be written: {error.strerror or error}. Choose another "
            "`storage:`, or make room"
        ) from error


def _note_edit(root: Path, before: str, new: SearchSpec) -> None:
    with open_journal(RunPaths(root)) as journal:
        journal.append_event("edit", {"before": before, "after": new.to_yaml()}, time.time())
    _write_spec(RunPaths(root), new.to_yaml())


def _write_spec(paths: RunPaths, text: str) -> None:
    replace_text(paths.spec, text)
    if (mirror := mirror_at(paths.root)) is not None:
        mirror.push(paths.spec)


def _go_on(
    root: Path, spec: SearchSpec, shipped: Shipped, how: How, rests_on: Mapping[str, Any], began: float
) -> Results:
    from raysearch.tracking.supervisor import sinking, tracked
    from raysearch.worker.job import Job

    is_fused = spec.fuse and shipped.is_learner and not spec.isolate
    bare = dataclasses.replace(spec, trainable="raysearch:shipped")
    setup = Setup(str(root.absolute()), bare, fingerprint=rests_on, began=began)
    job = Job(
        run=setup.run,
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


@contextlib.contextmanager
def _interruptible(run: str, how: How) -> Iterator[None]:
    """Says how to go on with an interrupted run, unless who started it does."""
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
    """The results of a run that was there a moment ago; waits a while for storage that is away just now."""
    return patiently(lambda: Results(root), patience_s, lambda error: isinstance(error, RunError))


def _samples(spec: SearchSpec) -> tuple[Config, ...]:
    """Some configurations, as the trainable gets them, to try out whether models train together."""
    drawn = [spec.space.sample(spec.seed, i) for i in range(SAMPLES)]
    seed = {spec.seed_as: 0} if spec.seed_as else {}
    return tuple({**spec.config, **config, **seed} for config in drawn)


def _run_inline(setup: Setup, job: Any, spec: SearchSpec, how: How) -> dict[str, Any]:
    from raysearch.executors.inline import by_itself, limited_threads, run_inline

    setup = dataclasses.replace(setup, notes=_sharing(spec, 1))
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


def _run_tune(setup: Setup, job: Any, spec: SearchSpec, how: How) -> dict[str, Any]:
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
        notes = _sharing(spec, count)
        setup = dataclasses.replace(
            setup,
            notes=notes,
            prefers_home=job.is_fused,
            fingerprint=rests_on,
            least_workers=spec.workers.least,
            growth=growth,
            held=tuple(share.held() for share in fleet.shares),
        )
        return run_tune(setup, job, fleet, head, how.listener(), list(how.callbacks))


def _sharing(spec: SearchSpec, workers: int) -> tuple[str, ...]:
    """What is to be said where models take turns."""
    memory = tuple(note for note in spec.notes if note.startswith(("memory", "strategy:")))
    population = getattr(spec.strategy, "population", 1)
    if population <= workers or not getattr(spec.strategy, "needs_checkpoints", False):
        return memory
    kind = "worker" if workers == 1 else "workers"
    return (f"{population} models on {workers} {kind}: they take turns", *memory)


def _count(samples: str | int, now: int) -> int:
    text = str(samples).strip()
    if not text.lstrip("+").isdigit():
        raise SpecError(f"samples: {samples!r} is neither a whole number nor +N")
    return now + int(text[1:]) if text.startswith("+") else int(text)
