"""One contender on one task from one start: trained in this process, without journal, files or Ray.

Panda is asked as a search asks it; its segments are trained one after the other, and its forks are states
in memory.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import raysearch
from raysearch.bench.support.population_rivals import RULES
from raysearch.bench.support.raised_models import Model
from raysearch.bench.support.raised_tasks import TASKS, Task
from raysearch.bench.support.schedule_rivals import RIVALS
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.space.space import Space
from raysearch.strategies.seeding import fresh_seed

ONE = 1.25  # trainings that a single model may cost
WIDE = 10 ** (1.5 + 1)  # the bounds of the rate, about the middle
POPULATIONS = (2, 4, 8)


@dataclass(frozen=True)
class Result:
    """What a contender handed over.

    Attributes:
        test, val: NaN where it diverged.
        iterations: all that were trained.
        seconds: of the process's CPU.
    """

    task: str
    contender: str
    start: float
    seed: int
    horizon: int
    test: float
    val: float
    iterations: int
    seconds: float

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from others."""
        return (self.task, self.contender, self.start, self.seed, self.horizon)


def contenders() -> list[str]:
    """Every name: single rivals, and panda and rules of populations with their number of members."""
    several = [f"{rule}-{n}" for n in POPULATIONS for rule in ("panda", *RULES)]
    return [*RIVALS, "panda-1", *several]


def measured(task_name: str, contender: str, start: float, seed: int, quick: bool = False) -> Result:
    """Trains a contender from `start` times the task's middle rate.

    Raises:
        SpecError: there is no such contender.
    """
    task = TASKS[task_name]
    horizon = task.quick if quick else task.horizon
    began = time.process_time()
    model, iterations = _raised(task, contender, start * task.middle, seed, horizon)
    val, test = float(model.validate()[0]), float(model.test())
    seconds = round(time.process_time() - began, 3)
    return Result(task_name, contender, start, seed, horizon, test, val, iterations, seconds)


def drive(strategy: Any, make: Callable[[int], Model], mode: str, most: int) -> tuple[Model, int]:
    """Trains what a strategy asks for; (the model at the best end, iterations trained).

    Args:
        make: a fresh model under the seed of the segment that begins it.
        most: the iteration at which a line ends.
    """
    model = make(0)
    states: dict[int, Any] = {}
    ends: list[tuple[float, Any]] = []
    trained = 0
    seeds: dict[int, int] = {}
    while not strategy.finished:
        for segment in strategy.ask(1):
            outcome, state = _train(segment, model, states, make, seeds)
            trained += outcome.reached - segment.start
            states[segment.id], seeds[segment.id] = state, segment.seed
            strategy.tell(outcome)
            value = outcome.curve["value"][-1] if len(outcome.curve["value"]) else math.nan
            if outcome.reached >= most and math.isfinite(value):
                ends.append((value if mode == "min" else -value, state))
        kept = strategy.kept()
        states = {number: state for number, state in states.items() if number in kept}
    if ends:
        model.load(min(ends, key=lambda end: end[0])[1])
    return model, trained


# ---- inside


def _raised(task: Task, contender: str, lr: float, seed: int, horizon: int) -> tuple[Model, int]:
    if contender in RIVALS:
        iterations = round(ONE * horizon)
        model = task.make(fresh_seed(seed, 0))
        RIVALS[contender](model, lr, iterations)
        return model, iterations
    rule, _, number = contender.rpartition("-")
    if contender not in contenders():
        raise SpecError(f"there is no contender {contender!r}; known: {', '.join(contenders())}")
    members = int(number)
    if rule == "panda":
        low, high = task.middle / WIDE, task.middle * WIDE
        recipe = raysearch.Panda(max_iterations=horizon, population=members)
        space = Space.from_dict({"lr": {"loguniform": [low, high]}})
        strategy = recipe.start(space, metric="value", mode=task.mode, seed=seed, baseline={"lr": lr})
        return drive(strategy, task.make, task.mode, horizon)
    bounds = math.log(task.middle / WIDE), math.log(task.middle * WIDE)
    models = [task.make(fresh_seed(seed, member)) for member in range(members)]
    sign = 1.0 if task.mode == "min" else -1.0
    given = {"iterations": horizon, "sign": sign, "seed": fresh_seed(seed, 77)}
    return RULES[rule](models, [lr] * members, bounds, **given), members * horizon


def _train(
    segment: Segment,
    model: Model,
    states: dict[int, Any],
    make: Callable[[int], Model],
    seeds: dict[int, int],
) -> tuple[Outcome, Any]:
    parent = segment.parent
    model.load(make(segment.seed).state() if parent is None else states[parent])
    if parent is not None and seeds[parent] != segment.seed:
        model.reseed(segment.seed)
    values: list[float] = []
    parts: list[list[float]] = []
    for _ in range(segment.stop - segment.start):
        model.learn(float(segment.config["lr"]))
        value, cut = model.validate()
        values.append(value)
        parts.append(cut)
        if not math.isfinite(value):
            break
    curve: dict[str, Any] = {"value": values}
    for k in range(len(parts[-1])):
        curve[f"value_parts/{k}"] = [row[k] for row in parts]
    is_sound = math.isfinite(values[-1])
    status = Status.COMPLETED if is_sound else Status.DIVERGED
    error = "" if is_sound else f"value was {values[-1]} at iteration {segment.start + len(values)}"
    outcome = Outcome(segment, status, curve, f"c{segment.id}" if is_sound else None, error=error)
    return outcome, model.state()


def as_dict(result: Result) -> dict[str, Any]:
    """For a line of JSON."""
    return dataclasses.asdict(result)
