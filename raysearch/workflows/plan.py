"""A plan for a spec: the trainable measured, the cluster read, and the advice of `strategies.advice`.

Public as `raysearch.plan`:

    spec = raysearch.load_spec("search.yaml")
    plan = raysearch.plan.make_plan(spec, raysearch.How(), hours=8)
    print(plan.advice.strategy, plan.advice.reasons)
    results = raysearch.launch.launch(plan.spec(spec))
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.yaml_io import read_yaml, write_yaml
from raysearch.errors import LocatedError, SpecError
from raysearch.run.fingerprint import gpus
from raysearch.storage.exports import PLANNED, to_comment
from raysearch.strategies.advice import Advice, advise
from raysearch.strategies.base import abilities_of
from raysearch.strategies.panda.perturb import nudged_names
from raysearch.strategies.situation import Situation

if TYPE_CHECKING:
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec
    from raysearch.worker.measure import Measured

__all__ = ["Advice", "Plan", "Situation", "advise", "make_plan"]

_SCHEDULE = re.compile(r"lr_scheduler|LRScheduler|Annealing|OneCycle|warmup|get_\w*schedule", re.IGNORECASE)
CONFIGS = 3  # that each worker measures


@dataclass(frozen=True)
class Plan:
    """The measurements of a trainable, and the advised strategy.

    Attributes:
        fuses: whether many models can be trained at once in one process.
        per_gpu: trainings whose memory fits on one GPU; None without one.
    """

    measured: Measured
    situation: Situation
    advice: Advice
    fuses: bool
    per_gpu: int | None = None

    def spec(self, spec: SearchSpec) -> SearchSpec:
        """The spec with the advised strategy.

        Raises:
            SpecError: nothing fits before the deadline.
        """
        if self.advice.strategy == "none":
            raise SpecError(
                f"{'; '.join(self.advice.reasons)}. What would change that: {self.advice.flips[0]}"
            )
        recipe = self.advice.recipe(self.situation.horizon)
        return dataclasses.replace(spec, strategy=recipe)


def make_plan(
    spec: SearchSpec,
    how: How,
    *,
    hours: float | None = None,
    gpu_hours: float | None = None,
    limit_s: float = 10.0,
    ranks: float | None = None,
    moves: bool = False,
) -> Plan:
    """Measures for about `limit_s` seconds, and advises.

    Args:
        hours: until the model is needed; what the strategy or the budget of the spec says if None.
        gpu_hours: that may be spent; likewise.
        ranks: Spearman of early and late ranks, from an earlier run (`Scores.early_ranks`).
        moves: whether the best settings change while a model trains, as in reinforcement learning.

    Raises:
        SpecError: the strategy does not say how long a training is; or a worker has several processes.
        TrainableError: the trainable does not train.
    """
    recipe: Any = spec.strategy
    abilities, horizon = abilities_of(recipe), _horizon(spec)
    measured, workers, pauses = _measure(spec, how, limit_s, horizon)
    nudgeable = _nudgeable(spec)
    situation = Situation(
        horizon=horizon,
        seconds=measured.seconds,
        workers=workers,
        hours=hours or abilities.hours or spec.budget.hours,
        gpu_hours=gpu_hours or abilities.gpu_hours or spec.budget.gpu_hours,
        gpus=spec.workers.gpu,
        start_s=measured.start_s,
        switch_s=measured.switch_s,
        can_pause=pauses,
        can_nudge=bool(nudgeable),
        has_schedule=has_schedule(spec),
        nudgeable=nudgeable,
        ranks=ranks,
        moves=moves,
        dimension=spec.space.dimension,
        knows=spec.baseline is not None,
    )
    advice = advise(situation, abilities.eta)
    return Plan(measured, situation, advice, _fuses(spec), _per_gpu(measured))


def written_into(file: Path, spec: SearchSpec) -> str:
    """The text of a spec's file with the strategy of `spec`, its checksum below it, and all else as it is.

    Raises:
        SpecError: the file has no line that begins with `strategy:`.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith("strategy:")), None)
    if at is None:
        raise SpecError(f"{file}: there is no line `strategy:` to replace")

    def is_next(line: str) -> bool:
        return bool(line.strip()) and not line.startswith((" ", "\t", "}"))

    end = next((i for i in range(at + 1, len(lines)) if is_next(lines[i])), len(lines))
    kept = {k: v for k, v in spec.to_dict()["strategy"].items() if v is not None}
    new = [*write_yaml({"strategy": kept}).rstrip().splitlines(), f"  {to_comment(kept, PLANNED)}"]
    changed = "\n".join([*lines[:at], *new, *([""] if end < len(lines) else []), *lines[end:]]) + "\n"
    read_yaml(changed, file.name)
    return changed


def _horizon(spec: SearchSpec) -> int:
    """The iterations of a training. Raises SpecError where nothing can be planned."""
    recipe: Any = spec.strategy
    if spec.workers.processes:
        raise LocatedError(
            "workers.processes",
            f"{spec.workers.processes}: a plan, and `strategy: auto`, measures trainings of one process; "
            "name the strategy, or measure with `processes` left out",
        )
    if (horizon := abilities_of(recipe).max_iterations) is None:
        raise SpecError(f"strategy {recipe.name} does not say how long a training is (max_iterations)")
    return horizon


def _measure(spec: SearchSpec, how: How, limit_s: float, horizon: int) -> tuple[Measured, int, bool]:
    from raysearch.spec.trainables import can_pause, load_trainable
    from raysearch.worker.job import Job
    from raysearch.worker.measure import measure, measure_on_ray, together
    from raysearch.worker.shipping import ship

    trainable = load_trainable(spec.trainable)
    length = abilities_of(spec.strategy).max_iterations
    job = Job("", ship(trainable), spec.metric, spec.mode, spec.config, spec.seed_as, length=length)
    if how.executor == "inline":
        from raysearch.worker.env_vars import environment

        with environment(RAY_CHDIR_TO_TRIAL_DIR="0"):
            found = measure(job, _configs(spec, 0), limit_s, horizon)
        return together(found), 1, can_pause(trainable)
    from raysearch.cluster.capacity import fitting, resources_of
    from raysearch.cluster.connect import connected

    resources = resources_of(spec.workers)
    with connected(how.address, how.local, say=how.say):
        fit = max(1, fitting(resources))
        workers = fit if spec.workers.count == "auto" else int(spec.workers.count)
        workers = min(workers, spec.workers.max or workers)
        share = [_configs(spec, i) for i in range(min(workers, fit))]
        found = measure_on_ray(job, share, resources, limit_s, horizon)
    return together(found), workers, can_pause(trainable)


def _configs(spec: SearchSpec, worker: int) -> list[Any]:
    """What a worker measures: the baseline first, then points that spread over the space."""
    points = spec.space.sobol_units(spec.seed, worker * CONFIGS, CONFIGS)
    drawn = [spec.space.decode(unit) for unit in points]
    first = [spec.baseline] if spec.baseline is not None and worker == 0 else []
    return [*first, *drawn][:CONFIGS]


def _nudgeable(spec: SearchSpec) -> int:
    try:
        return len(nudged_names(spec.space, None))
    except SpecError:
        return 0


def has_schedule(spec: SearchSpec) -> bool | None:
    """Whether the code of the trainable names a learning-rate schedule; None if it cannot be read."""
    from raysearch.spec.trainables import load_trainable

    try:
        source = inspect.getsource(load_trainable(spec.trainable))
    except (OSError, TypeError):
        return None
    return _SCHEDULE.search(source) is not None


def _fuses(spec: SearchSpec) -> bool:
    """Whether the trainable is a Learner, which trains by the hundred in one process."""
    from raysearch.spec.trainables import is_learner, load_trainable

    return is_learner(load_trainable(spec.trainable))


def _per_gpu(measured: Measured) -> int | None:
    if not measured.gpu_bytes or gpus() is None:
        return None
    import torch

    total = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    return max(1, int(0.9 * total / measured.gpu_bytes)) if total else None
