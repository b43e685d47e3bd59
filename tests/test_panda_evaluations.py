"""Panda where the metric is measured only every few iterations and repeated in between, and in both modes."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from raysearch.core.segment import Mode, Outcome, Segment, Status
from raysearch.space import Space
from raysearch.strategies.base import notes_of
from raysearch.strategies.panda import Panda
from raysearch.strategies.panda.evaluations import Evaluations
from raysearch.strategies.panda.loss_guard import Guard
from raysearch.strategies.rounds import End

SPACE = Space.from_dict({"lr": {"loguniform": [1e-5, 1.0]}})
HORIZON, BEST = 400, 0.03


class Training:
    """A loss that falls faster the nearer the rate is to BEST; measured every few iterations."""

    def __init__(self, every: int, mode: Mode, noise: float = 0.0, jump: int = 0) -> None:
        self.every, self.sign, self.noise = every, 1.0 if mode == "min" else -1.0, noise
        self.jump = jump
        self.ends: dict[int, tuple[float, float]] = {}

    def train(self, segment: Segment) -> Outcome:
        loss, known = (2.3, 2.3) if segment.parent is None else self.ends[segment.parent]
        lr = segment.config["lr"]
        values = []
        for at in range(segment.start + 1, segment.stop + 1):
            loss -= 0.06 * min(lr, BEST) / (lr + BEST) * (loss - 0.1)
            if at % self.every == 0:
                known = loss + self.noise * random.Random(at + segment.seed).gauss(0, 1)
                known += 2.0 if at == self.jump else 0.0
            values.append(self.sign * known)
        self.ends[segment.id] = loss, known
        return Outcome(segment, Status.COMPLETED, {"loss": values}, checkpoint=f"c{segment.id}")

    def run(self, mode: Mode, population: int = 1) -> tuple[list[Segment], list[str]]:
        recipe = Panda(max_iterations=HORIZON, population=population)
        strategy = recipe.start(SPACE, metric="loss", mode=mode, seed=1, baseline={"lr": 3e-4})
        told = []
        while not strategy.finished:
            for segment in strategy.ask(1):
                strategy.tell(self.train(segment))
                told.append(segment)
        return told, list(notes_of(strategy))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_rate_is_found_though_the_metric_is_measured_every_few_iterations(mode: Mode, every: int) -> None:
    training = Training(every, mode)
    told, notes = training.run(mode)
    assert not notes, "the rate is not taken for ignored"
    last = max(told, key=lambda s: s.stop)
    assert last.stop == HORIZON
    assert training.ends[last.id][0] < 1.0, "1.9 at the rate it began with"
    assert sum(s.stop - s.start for s in told) <= 1.25 * HORIZON


def test_both_modes_decide_alike_noise_included() -> None:
    ways = []
    modes: tuple[Mode, ...] = ("min", "max")
    for mode in modes:
        told, _ = Training(2, mode, noise=0.02).run(mode)
        ways.append([(s.start, s.stop, s.event, s.config["lr"]) for s in told])
    assert ways[0] == ways[1]
    assert {"accept", "reject"} <= {str(event) for _, _, event, _ in ways[0]}


def test_four_models_are_not_hurt_by_repeated_values() -> None:
    training = Training(5, "max")
    told, notes = training.run("max", population=4)
    assert not notes
    assert min(training.ends[s.id][0] for s in told if s.stop == HORIZON) < 1.0


def test_probes_end_where_the_metric_is_measured() -> None:
    told, _ = Training(5, "min").run("min")
    late = [s.stop for s in told if s.event == "nudge" and s.start >= 100]
    assert late
    assert all(stop % 5 == 0 for stop in late)


def test_one_high_evaluation_that_is_repeated_is_no_spike() -> None:
    told, _ = Training(5, "min", jump=200).run("min")
    assert not [s.reason for s in told if s.event == "rollback"]


def end(*losses: float) -> End:
    return End(Segment(1, 0, None, {}, 6, 8, 0, ""), 8, losses[-1], losses=losses)


def test_how_often_is_learnt_from_the_reports_and_forgotten_with_them() -> None:
    known = Evaluations()
    assert known.next(7) == 7
    known.heard(0, [3.0, 3.0, 2.0, 2.0, 2.0, 1.0])
    assert known.every == 2, "after iterations 1, 3 and 6"
    assert known.next(7) == 8
    assert known.are_silent(end(1.0, 1.0), end(1.0))
    assert not known.are_silent(end(1.0, 1.0), end(0.9))
    assert not known.are_silent(end(1.0), replace(end(1.0), loss=math.inf)), "one failed"
    fresh = known.fresh([1.0, 0.9, 0.9])
    assert math.isnan(fresh[0])
    assert fresh[1] == 0.9
    assert math.isnan(fresh[2])
    known.cut(3, 2.0)
    assert known.are_silent(end(2.0))


@pytest.mark.parametrize(("every", "spikes"), [(1, False), (5, True)])
def test_a_spike_takes_as_many_evaluations_as_an_interval_has(every: int, spikes: bool) -> None:
    guard = Guard(interval=10)
    guard.note(20, 1.0, [1.0, 1.01] * 10)
    assert bool(guard.spike([9.0, 9.0, 9.0], every)) is spikes
