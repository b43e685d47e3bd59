"""A small space, trainings in it that go well or badly, and a loop that runs a strategy to its end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.space.space import Space
from raysearch.strategies.base import Strategy

Train = Callable[[Segment], Outcome]

LIMIT = 5000  # segments, by which a small search must have ended
SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "momentum": {"uniform": [0.0, 0.99]},
        "layers": {"randint": [1, 5]},
        "optimizer": {"choice": ["sgd", "adamw"]},
        "beta2": {"uniform": [0.9, 0.999], "when": {"optimizer": "adamw"}},
    }
)
BASELINE: Config = {"lr": 0.01, "momentum": 0.9, "layers": 2, "optimizer": "sgd"}


def loss(config: Mapping[str, Any], iteration: int) -> float:
    """Falls with training; best near lr = 0.03."""
    return float(abs(math.log10(config["lr"]) + 1.5) + 0.1 * config["layers"] + 1.0 / iteration)


def train(segment: Segment) -> Outcome:
    """What a healthy worker sends back."""
    curve = [loss(segment.config, i) for i in range(segment.start + 1, segment.stop + 1)]
    return Outcome(segment, Status.COMPLETED, {"loss": curve}, checkpoint=f"c{segment.id}", seconds=1.0)


def unlucky(segment: Segment) -> Outcome:
    """As `train`, but every seventh trial diverges, and others fail or report nothing usable."""
    nothing = [math.nan] * (segment.stop - segment.start)
    if segment.trial % 7 == 3:
        return Outcome(segment, Status.DIVERGED, {"loss": nothing})
    if segment.trial % 7 == 4:
        return Outcome(segment, Status.FAILED, error="boom")
    if segment.trial % 7 == 5:
        return Outcome(segment, Status.COMPLETED, {"loss": nothing})
    return train(segment)


def failing(segment: Segment) -> Outcome:
    """A training that raises."""
    return Outcome(segment, Status.FAILED, error="boom")


def short(segment: Segment) -> Outcome:
    """A training that says after two iterations that it is done."""
    curve = [loss(segment.config, i) for i in range(segment.start + 1, min(2, segment.stop) + 1)]
    return Outcome(segment, Status.COMPLETED, {"loss": curve}, done=segment.stop >= 2)


def losing_each_once() -> Train:
    """A worker that dies in every segment once."""
    seen: set[int] = set()

    def fragile(segment: Segment) -> Outcome:
        if segment.id in seen:
            return train(segment)
        seen.add(segment.id)
        return Outcome(segment, Status.LOST, error="worker gone")

    return fragile


def run(
    strategy: Strategy, train: Train = train, free: int = 3, order: random.Random | None = None
) -> list[Outcome]:
    """Runs to the end with `free` workers; outcomes arrive in a random order if one is given.

    Raises:
        AssertionError: it waits for nothing and is not finished, or does not end.
    """
    told = [*steps(strategy, train, free, order)]
    assert strategy.ask(free) == [], "finished, and yet it asks for more"
    return told


def steps(strategy: Strategy, train: Train, free: int, order: random.Random | None) -> Iterator[Outcome]:
    """The outcomes of such a run, each after the strategy has folded it in."""
    flying: list[Segment] = []
    count = 0
    while not strategy.finished:
        flying += strategy.ask(free - len(flying))
        assert flying, "nothing asked for, nothing outstanding, and yet not finished"
        outcome = train(flying.pop(order.randrange(len(flying)) if order else 0))
        strategy.tell(outcome)
        yield outcome
        count += 1
        assert count < LIMIT, "a small search does not end"


def tell_all(strategy: Strategy, outcomes: Iterable[Outcome]) -> Strategy:
    """The strategy, after it was told these."""
    for outcome in outcomes:
        strategy.tell(outcome)
    return strategy


def by_id(outcomes: Sequence[Outcome]) -> dict[int, Segment]:
    """The segments by their ids."""
    return {outcome.segment.id: outcome.segment for outcome in outcomes}
