"""A model that was trained before its search: its checkpoint becomes the run's first segment."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.core.segment import Config, Event, Outcome, Role, Segment, Status, segment_id
from raysearch.core.user_paths import user_path
from raysearch.errors import CheckpointError, SpecError
from raysearch.spec.search_spec import SearchSpec
from raysearch.storage.checkpoints.meta import read_meta, write_meta
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.journal.journal import Journal
from raysearch.storage.paths import CHECKPOINT_META, CHECKPOINT_RANDOM, RunPaths
from raysearch.strategies.base import abilities_of

OPTION = "--from-checkpoint"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A checkpoint, the iteration after which it was saved, and the configuration to continue with."""

    folder: Path
    iteration: int
    config: Config


def make_adoption(spec: SearchSpec, folder: str | Path, at_iteration: int | None) -> Adoption:
    """The model that a search shall start from, checked.

    Args:
        folder: a checkpoint that raysearch kept, or that the trainable's own `save_checkpoint` wrote.
        at_iteration: the iteration after which it was saved; None if the checkpoint holds it.

    Raises:
        SpecError: the strategy adopts no models, the folder is no checkpoint, or the iteration is wrong.
    """
    path = user_path(folder)
    abilities = abilities_of(spec.strategy)
    if not abilities.adopts:
        raise SpecError(
            f"{OPTION}: strategy {spec.strategy.name} begins every trial with a fresh model; panda adopts"
        )
    if not path.is_dir() or not any(path.iterdir()):
        what = "is empty" if path.is_dir() else "is a file" if path.exists() else "does not exist"
        raise SpecError(f"{OPTION} {path}: {what}; give the folder of a checkpoint")
    said = _meta(path)
    iteration = at_iteration if at_iteration is not None else said.get("iteration")
    if not isinstance(iteration, int):
        raise SpecError(
            f"{OPTION} {path}: does not say after which iteration it was saved; give --at-iteration K"
        )
    horizon = abilities.max_iterations or 0
    if not 1 <= iteration < horizon:
        raise SpecError(
            f"{OPTION}: the model is at iteration {iteration}, and the search trains to "
            f"strategy.max_iterations = {horizon}: the first must be at least 1 and less"
        )
    return Adoption(path, iteration, _config(spec, said))


def adopt(paths: RunPaths, journal: Journal, adoption: Adoption, metric: str) -> None:
    """Copies the checkpoint into the run and journals it.

    Raises:
        CheckpointError: it cannot be copied.
    """
    checkpoints = checkpoints_of(paths.root)
    segment = Segment(
        id=segment_id(0, 0),
        trial=0,
        parent=None,
        config=adoption.config,
        start=0,
        stop=adoption.iteration,
        seed=0,
        reason=f"adopt: trained for {adoption.iteration} iterations before this search",
        role=Role.ADOPTED,
        event=Event.ADOPT,
    )
    tmp = checkpoints.path_for_new(segment.id, Role.ADOPTED.value)
    meta = {**_meta(adoption.folder), "iteration": adoption.iteration}
    try:
        own = shutil.ignore_patterns(CHECKPOINT_META, CHECKPOINT_RANDOM)  # of the search that it is from
        shutil.copytree(adoption.folder, tmp, dirs_exist_ok=True, ignore=own)
        write_meta(tmp, {"grown_s": 0.0, **meta})
    except (OSError, shutil.Error) as error:
        raise CheckpointError(f"{OPTION} {adoption.folder}: cannot be copied: {error}") from None
    name = checkpoints.commit(tmp)
    curve = {metric: [math.nan] * adoption.iteration}  # what it reported is not known
    journal.append([Outcome(segment, Status.COMPLETED, curve, checkpoint=name)])


def _meta(folder: Path) -> dict[str, Any]:
    if not (folder / CHECKPOINT_META).exists():
        return {}
    try:
        return read_meta(folder, needed=())
    except CheckpointError as error:
        raise SpecError(f"{OPTION} {folder}: {CHECKPOINT_META} cannot be read: {error}") from None


def _config(spec: SearchSpec, said: dict[str, Any]) -> Config:
    """The baseline; else the checkpoint's configuration, if it lies in the space; else the space's middle."""
    if spec.baseline is not None:
        return spec.baseline
    groups = {name.split("/")[0] for name in spec.space.names}
    saved = {k: v for k, v in (said.get("config") or {}).items() if k in groups}
    if saved and spec.space.allows(saved):
        return saved
    return spec.space.decode([0.5] * spec.space.dimension)
