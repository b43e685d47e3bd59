"""What a spec must pass before its search starts: trainable, strategy, executor, sinks, files, storage.

`launch` calls `check` and then `planned`, `resume` calls `ready_to_go_on`. None of them writes anything, and
only `planned` starts something, for `strategy: auto`: a short measured run.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.core.user_paths import user_path
from raysearch.errors import LocatedError, SpecError, located, prefixed
from raysearch.run.location import run_folder
from raysearch.spec.per_rank import check_processes
from raysearch.spec.resource_request import REQUESTS, says_share, with_request
from raysearch.spec.trainables import begins_from_checkpoints, can_pause, is_class, load_trainable
from raysearch.storage.object_store import check_cluster_address, is_address, open_store, parse_address
from raysearch.strategies import registry
from raysearch.strategies.base import abilities_of
from raysearch.strategies.samplers.base import Source, name_of

if TYPE_CHECKING:
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec

SAVE = "pass checkpoint= to tune.report, and begin from tune.get_checkpoint()"
EXECUTORS = ("tune", "inline")


@dataclass(frozen=True, slots=True)
class Ready:
    """A search that passed every check.

    Attributes:
        spec: as the search runs it: `variant: auto` is decided; `strategy: auto` is until `planned`.
        trainable: the class or function, loaded.
        remarks: sentences for the user, which the checks added to the notes of the spec.
    """

    spec: SearchSpec
    trainable: Any
    remarks: tuple[str, ...] = ()

    @property
    def must_save(self) -> bool:
        """Whether the strategy needs checkpoints, of which the trainable's code shows none."""
        return abilities_of(self.spec.strategy).needs_checkpoints and not can_pause(self.trainable)

    @property
    def restores(self) -> bool:
        """False for a trainable that saves checkpoints and takes none back: they are handed over only."""
        takes_back = begins_from_checkpoints(self.trainable) or not can_pause(self.trainable)
        return takes_back or abilities_of(self.spec.strategy).needs_checkpoints


def check(spec: SearchSpec) -> Ready:
    """A search that is to start, checked; starts and writes nothing.

    Raises:
        SpecError: a LocatedError where one field is wrong.
        TrainableError: the trainable cannot be imported.
    """
    trainable = load_trainable(spec.trainable)
    check_processes(spec.workers, trainable)
    checked = _with_resources(spec, trainable)
    if spec.strategy.name != "auto":
        checked = _with_strategy(checked, trainable)
    _check_sinks(spec)
    _check_files(spec)
    _check_storage(spec)
    return Ready(checked, trainable, checked.notes[len(spec.notes) :])


def planned(ready: Ready, how: How) -> Ready:
    """The same search, with `strategy: auto` decided by a short measured run.

    Raises:
        SpecError: the executor is unknown, or no strategy fits the time there is.
        RunError: another search runs in this process.
    """
    spec, trainable = ready.spec, ready.trainable
    _check_executor(how, spec, trainable)
    if spec.strategy.name == "auto":
        spec = _with_strategy(_advised(spec, how), trainable)
    if note := _objects_in(spec):  # the session says what the spec notes
        spec = dataclasses.replace(spec, notes=(*spec.notes, note))
    return Ready(spec, trainable, (*ready.remarks, *spec.notes[len(ready.spec.notes) :]))


def ready_to_go_on(
    old: SearchSpec, new: SearchSpec, written: Mapping[str, Any], how: How, trainable: Any = None
) -> Ready:
    """A run that is to go on, checked.

    Args:
        old: the run's spec, in which the caller of `resume` may have replaced the strategy.
        new: the same with the caller's edits.
        written: what the run's spec.yaml holds.
        trainable: an object, where the spec cannot name it.

    Raises:
        SpecError: an edit does not go with the run's outcomes, or the strategy cannot start.
        RunError: another search runs in this process.
        TrainableError: the trainable cannot be imported.
    """
    loaded = load_trainable(new.trainable if trainable is None else trainable)
    spec = _resolved(new, loaded)
    check_processes(spec.workers, loaded)
    _check_executor(how, spec, loaded)
    _check_edit(old, spec, written)
    _check_strategy(spec, loaded)
    return Ready(spec, loaded)


def strategy_form(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """The strategy as a mapping, of what a spec.yaml holds."""
    form = written.get("strategy")
    return form if isinstance(form, Mapping) else {"name": form}


# ---- the spec as its search runs it


def _with_strategy(spec: SearchSpec, trainable: Any) -> SearchSpec:
    """The spec whose strategy can start: `variant: auto` is decided, memory and priors are in it."""
    spec = _informed(_resolved(spec, trainable))
    _check_strategy(spec, trainable)
    note = _checkpoint_note(spec, trainable)
    return dataclasses.replace(spec, notes=(*spec.notes, note)) if note else spec


def _advised(spec: SearchSpec, how: How) -> SearchSpec:
    """The spec, in which the advice of a short measured run has replaced `strategy: auto`."""
    from raysearch.workflows.plan import make_plan

    plan = make_plan(spec, how)
    why = f"strategy: {plan.advice.strategy}, because {'; '.join(plan.advice.reasons)}"
    return dataclasses.replace(plan.spec(spec), notes=(*spec.notes, why))


def _resolved(spec: SearchSpec, trainable: Any) -> SearchSpec:
    """The spec, in which `variant: auto` is promotion if trials can wait and be trained on, else stopping."""
    if abilities_of(spec.strategy).variant != "auto":
        return spec
    goes_on = can_pause(trainable) and begins_from_checkpoints(trainable)
    variant = "promotion" if goes_on else "stopping"
    return dataclasses.replace(spec, strategy=dataclasses.replace(spec.strategy, variant=variant))  # type: ignore[type-var]


def _informed(spec: SearchSpec) -> SearchSpec:
    """The spec, whose strategy starts from the spec's memory, known_good and priors."""
    if not (spec.memory or spec.known_good or spec.priors):
        return spec
    from raysearch.workflows.memory.store import begin_from

    strategy, remarks = begin_from(spec)
    return dataclasses.replace(spec, strategy=strategy, notes=(*spec.notes, *remarks))


def _objects_in(spec: SearchSpec) -> str:
    """A sentence that names the strategy parts that YAML cannot store; empty if there are none."""
    sampler = abilities_of(spec.strategy).sampler
    if not registry.is_named(spec.strategy):
        what = f"{type(spec.strategy).__name__} is not registered under its name"
    elif sampler is not None and not isinstance(sampler, str):
        what = f"sampler {name_of(sampler)} is an object"
    else:
        return ""
    return f"strategy: {what}, so that a resume needs it again: raysearch.resume(run, strategy=...)"


# ---- checks


def _with_resources(spec: SearchSpec, trainable: Any) -> SearchSpec:
    """The spec, whose workers take what a trainable found by name asks for in Ray Tune's words."""
    if not isinstance(spec.trainable, str):
        return spec  # asked when the spec was made
    configs = [{**spec.config, **spec.space.sample(0, i)} for i in range(REQUESTS)]
    workers, note = with_request(spec.workers, trainable, configs, says_share(spec.workers))
    return dataclasses.replace(spec, workers=workers, notes=(*spec.notes, note)) if note else spec


def _check_executor(how: How, spec: SearchSpec, trainable: Any) -> None:
    """Raises SpecError for an unknown executor, RunError where another search runs in this process."""
    if how.executor not in EXECUTORS:
        raise SpecError(f"executor: {how.executor!r} is not one of {', '.join(EXECUTORS)}")
    if how.executor != "inline":
        check_cluster_address(how.address)
    if how.executor == "inline" and not spec.isolate:
        from raysearch.executors.inline import check_by_itself

        check_by_itself(trainable)


def _check_strategy(spec: SearchSpec, trainable: Any) -> None:
    """Raises SpecError for errors that would otherwise show only in the running search: a wrong sampler."""
    abilities = abilities_of(spec.strategy)
    if abilities.needs_checkpoints and is_class(trainable):  # a function shows it when it runs
        lacks = "writes none" if not can_pause(trainable) else "loads none"
        if lacks == "writes none" or not begins_from_checkpoints(trainable):
            raise SpecError(
                f"strategy {spec.strategy.name} trains models on from their checkpoints, and "
                f"{trainable.__name__} {lacks}: implement save_checkpoint and load_checkpoint"
            )
    with located("strategy"), prefixed("strategy"):
        strategy = spec.started()
        if isinstance(abilities.sampler, Source):  # each search binds one of its own
            strategy.ask(1)


def _checkpoint_note(spec: SearchSpec, trainable: Any) -> str:
    """A sentence on a trainable that shows no use of checkpoints, where the strategy trains on from them."""
    abilities, name = abilities_of(spec.strategy), getattr(trainable, "__name__", str(trainable))
    saves = can_pause(trainable)
    if saves and begins_from_checkpoints(trainable):
        return ""
    shows, then = f"{name} shows none", "where its first segment writes none either, the search ends"
    if saves:
        shows, then = f"{name} begins from none", "where that is so, every segment that goes on fails"
    if abilities.needs_checkpoints:
        return (
            f"strategy {spec.strategy.name} trains models on from their checkpoints, and {shows}; {then}: "
            f"{SAVE}"
        )
    if abilities.variant == "promotion":
        return (
            f"variant: promotion trains on from checkpoints, and {shows}, so that each promoted trial is "
            f"trained anew from its first iteration; {SAVE}, or leave out the variant"
        )
    return ""


def _check_sinks(spec: SearchSpec) -> None:
    """Raises LocatedError for a sink that cannot be loaded, or for W&B without a key."""
    if spec.wandb:
        from raysearch.tracking.wandb.settings import check as check_wandb

        with located("wandb"):
            check_wandb(spec.wandb)
    if spec.notify.get("wandb") and spec.wandb.get("mode", "auto" if spec.wandb else "off") == "off":
        raise LocatedError("notify.wandb", "needs the search at W&B; give wandb: {project: mine}")
    if spec.sinks:
        from raysearch.tracking.sinks import find

        with located("sinks"):
            for name in spec.sinks:
                find(name)


def _check_files(spec: SearchSpec) -> None:
    """Raises LocatedError for a file of the fingerprint that does not exist."""
    for file in spec.fingerprint.get("files", ()):
        if not user_path(file).exists():
            raise LocatedError(
                "fingerprint.files", f"{file}: No such file or directory; name files of your data"
            )


def _check_storage(spec: SearchSpec) -> None:
    """Raises LocatedError for a folder that this user cannot make or write, StoreError for a silent store."""
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


def _check_edit(old: SearchSpec, new: SearchSpec, written: Mapping[str, Any]) -> None:
    """Raises SpecError for an edit that changes the meaning of the run's outcomes, or makes it smaller."""
    for field in ("metric", "mode", "objectives", "seed"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            raise SpecError(
                f"{field}: the run was searched with {before!r}; {after!r} would turn its outcomes into "
                "something else. Start a new run for that"
            )
    was, now = strategy_form(written), new.to_dict()["strategy"]
    for field in ("samples", "max_iterations"):
        before, after = was.get(field) or 0, now.get(field) or 0
        if was.get("name") == now["name"] and after < before:
            raise SpecError(f"strategy.{field}: {after} is less than the {before} that the run has")
    if new.space != old.space and not set(old.space.free) & set(new.space.free):
        raise SpecError(
            f"space: {', '.join(new.space.names) or 'nothing'} shares no hyper-parameter with the run's "
            f"({', '.join(old.space.free)}), so no old outcome would count. Start a new run for that"
        )
