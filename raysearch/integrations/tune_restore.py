"""`Tuner.restore`: goes on with the run of an earlier Tuner, and with that only.

A run holds no objects. Where it was begun with one, a `stop` by functions, a search algorithm or the points
of a grid, it is given again; a `stop` by metrics stands in the run.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import raysearch
from raysearch.core.user_paths import user_path
from raysearch.errors import RunError, SpecError, unknown
from raysearch.integrations.tune_grid import GridPoints, grid_of
from raysearch.integrations.tune_stop import Stop, of_metrics, read_stop, together
from raysearch.results.results import Results
from raysearch.run.display import following
from raysearch.run.location import existing_run
from raysearch.run.options import How
from raysearch.spec.search_spec import SearchSpec, load_spec
from raysearch.storage.object_store import is_address
from raysearch.strategies.base import Recipe
from raysearch.strategies.samplers.factory import is_of_object

HOW = tuple(field.name for field in dataclasses.fields(How))
STOP = "stop"  # in the fingerprint of a spec


@dataclass(frozen=True, slots=True)
class Restored:
    """A run that is to go on.

    Attributes:
        run: its folder or address.
        trainable: as it was given, with the ends of trials that the run was begun with.
        strategy: with the objects that a spec cannot hold; None where it has none.
        how: where and how it goes on.
        notes: what is not as Ray has it, in words.
    """

    run: str
    trainable: Any
    strategy: Recipe | None
    how: How
    notes: tuple[str, ...] = ()

    def go_on(self) -> Results:
        """The results of the whole run at its end. Raises what `raysearch.resume` does."""
        with following(load_spec(existing_run(self.run) / "spec.yaml"), self.how) as how:
            return raysearch.resume(self.run, how, trainable=self.trainable, strategy=self.strategy)


def can_restore(path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
    """Whether a run lies there.

    Raises:
        SpecError: there is a `storage_filesystem`, in place of which `path` takes the address of a store.
        StoreError: the store does not answer.
    """
    _refuse_filesystem(storage_filesystem)
    try:
        existing_run(_text(path))
    except RunError:
        return False
    return True


def restored(
    path: str | os.PathLike[str],
    trainable: Any,
    flags: Mapping[str, Any],
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Restored:
    """The run at `path`, checked; nothing is started.

    Args:
        flags: `resume_unfinished` and the like.
        given: `param_space`, `stop` and the sampler in place of a `search_alg`, each None where it is not
            given.
        settings: of `How`.

    Raises:
        RunError: there is no run.
        SpecError: something has no counterpart, is missing, or differs from what the run was begun with.
    """
    _refuse_filesystem(flags.get("storage_filesystem"))
    if flags.get("_resume_config") is not None:
        raise SpecError("Tuner.restore(_resume_config=...) has no counterpart: leave it out")
    if not flags.get("resume_unfinished", True):
        raise SpecError(
            "Tuner.restore(resume_unfinished=False) has no counterpart: what is in training goes on; "
            "raysearch.load(path) gives the results as they are"
        )
    for name in settings:
        if name not in HOW:
            raise SpecError(f"Tuner.restore: {unknown('setting', name, HOW)}; others are those of the run")
    root = existing_run(_text(path))
    spec = load_spec(root / "spec.yaml")
    space = given.get("param_space")
    if space is not None:
        _check_names(space, spec, _text(path))
    stop = _stop(spec, given.get("stop"), _text(path))
    strategy = _strategy(spec, space, given.get("sampler"), _text(path))
    notes = _of_failed(root, flags)
    return Restored(_text(path), stop.applied(trainable), strategy, How(**settings), notes)


def _text(path: str | os.PathLike[str]) -> str:
    """The path as text; one that begins with ~ is below the home folder."""
    text = os.fspath(path)
    return text if is_address(text) else str(user_path(text))


def _refuse_filesystem(filesystem: Any) -> None:
    if filesystem is not None:
        raise SpecError(
            "storage_filesystem has no counterpart: path takes the address of a store; leave it out"
        )


def _check_names(space: Mapping[str, Any], spec: SearchSpec, path: str) -> None:
    """Raises SpecError where a param_space has other names than the run."""
    from raysearch.core.nested import leaves

    known = {name.replace("/", ".") for name in spec.space.names} | {
        ".".join(map(str, names)) for names, _ in leaves(dict(spec.config))
    }
    names = {".".join(map(str, names)) for names, _ in leaves(_without_grids(space))}
    if others := sorted(names - known):
        raise SpecError(
            f"Tuner.restore(param_space=...): {', '.join(others)} is not in the run {path}; a restored "
            "search keeps its space: raysearch resume --space FILE changes it"
        )


def _without_grids(space: Mapping[str, Any]) -> dict[str, Any]:
    """The same with None in place of each grid."""
    from raysearch.integrations.tune_grid import is_grid

    return {
        name: None if is_grid(value) else _without_grids(value) if isinstance(value, Mapping) else value
        for name, value in space.items()
    }


def _stop(spec: SearchSpec, given: Any, path: str) -> Stop:
    """The ends of trials that the run was begun with."""
    if given is not None:
        return read_stop(given)
    form = spec.fingerprint.get(STOP, ())
    if names := [str(one) for one in form if not isinstance(one, Mapping)]:
        raise SpecError(
            f"{path} was begun with RunConfig(stop=...) of {', '.join(names)}, which a run cannot hold; "
            "give it again: Tuner.restore(path, trainable, stop=...)"
        )
    return together([of_metrics(one) for one in form])


def _strategy(spec: SearchSpec, space: Any, sampler: Any, path: str) -> Recipe | None:
    """The run's strategy with its sampler, where that is an object."""
    name = getattr(spec.strategy, "sampler", None)
    if not isinstance(name, str) or not is_of_object(name):
        return None
    if name.endswith(f":{GridPoints.__name__}"):
        _, rows = grid_of(space or {}, 1)
        if rows is None:
            raise SpecError(f"{path} enumerates a grid; give it again: Tuner.restore(path, param_space=...)")
        sampler = GridPoints(rows)
    elif sampler is None:
        raise SpecError(f"{path} was begun with a search_alg ({name}); give it again: search_alg=")
    return dataclasses.replace(spec.strategy, sampler=sampler)  # type: ignore[type-var]


def _of_failed(root: Path, flags: Mapping[str, Any]) -> tuple[str, ...]:
    """What is said of trials that failed, where they were to be trained again."""
    asked = [name for name in ("resume_errored", "restart_errored") if flags.get(name)]
    if not asked:
        return ()
    trials = raysearch.load(root).trials()
    failed = trials[trials.status == "failed"].trial.tolist()
    if not failed:
        return ()
    shown = ", ".join(map(str, failed[:8])) + (" and others" if len(failed) > 8 else "")
    return (
        f"Tuner.restore({asked[0]}=True) is not read: trials {shown} failed and stay so; "
        "FailureConfig(max_failures=N) has a search try each again at once",
    )
