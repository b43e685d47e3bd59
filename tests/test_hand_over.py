"""Which model panda hands over: that of the end, unless an earlier one is better beyond noise."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from test_lines import step
from test_results import make_run

from raysearch.core.segment import Event, Outcome, Status, segment_id
from raysearch.space import Space
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import notes_of
from raysearch.strategies.hand_over import handed_over
from raysearch.strategies.panda import Panda

SPACE = Space.from_dict({"lr": {"loguniform": [1e-3, 1.0]}})
FALLING = [2.0 * 0.8**i + 0.1 for i in range(20)]


def test_of_noisy_values_that_no_longer_fall_it_is_nearly_always_the_end() -> None:
    early = 0
    for seed in range(100):
        rng = random.Random(seed)
        values = [2.0 * 0.6**i + 0.3 + rng.gauss(0, 0.02) for i in range(40)]
        early += handed_over(values) != 39
    assert early <= 3


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_line_that_overfits_hands_over_where_it_was_best(noise: float) -> None:
    rng = random.Random(1)
    values = [*FALLING, *(FALLING[-1] + 0.05 * i for i in range(1, 12))]
    noisy = [value + rng.gauss(0, noise) for value in values]
    assert abs(handed_over(noisy) - 19) <= 2


def test_a_jump_at_the_very_end_is_not_taken_for_noise() -> None:
    assert handed_over([*FALLING, 409.0]) == 19
    assert handed_over([*FALLING, math.nan]) == 19


def test_few_values_and_repeated_ones_say_nothing_of_the_noise() -> None:
    assert handed_over([1.0, 0.5, 0.9]) == 2
    assert handed_over([0.5] * 30 + [0.51] * 3) == 32
    with pytest.raises(ValueError, match="without an end"):
        handed_over([])


def test_the_strategy_keeps_that_model_and_says_so() -> None:
    strategy = Panda(max_iterations=200).start(SPACE, metric="loss", mode="max", baseline={"lr": 0.1})
    ends: dict[int, float] = {}
    while not strategy.finished:
        for segment in strategy.ask(1):
            values = [-abs(at - 180) - 1.0 for at in range(segment.start + 1, segment.stop + 1)]
            ends[segment.id] = values[-1]
            strategy.tell(Outcome(segment, Status.COMPLETED, {"loss": values}, f"c{segment.id}"))
    best = max(ends, key=lambda one: ends[one])
    assert best in strategy.kept()
    (note,) = [one for one in notes_of(strategy) if "handed over" in one]
    assert "iteration 200, loss is worse by" in note


def told(values: list[float], names: list[str | None]) -> list[Outcome]:
    found: list[Outcome] = []
    for at, (value, name) in enumerate(zip(values, names, strict=True)):
        event = Event.DECAY if at else Event.START
        made = step(0, at, at, [value], event, found[-1].segment.id if found else None)
        found.append(Outcome(made.segment, made.status, made.curve, name))
    return found


OVERFIT = [*FALLING, *(FALLING[-1] + 0.05 * i for i in range(1, 6))]


@pytest.mark.parametrize(("is_kept", "place"), [(True, 19), (False, 24)])
def test_the_results_hand_over_the_same_model_where_its_checkpoint_is(
    tmp_path: Path, is_kept: bool, place: int
) -> None:
    assert handed_over(OVERFIT) == 19
    checkpoints = Checkpoints(RunPaths(tmp_path / "x").checkpoints)
    names: list[str | None] = []
    for at in range(len(OVERFIT)):
        folder = checkpoints.path_for_new(segment_id(0, at), "a")
        (folder / "model").write_text("weights")
        names.append(checkpoints.commit(folder) if is_kept or at != 19 else None)
    results = make_run(tmp_path / "x", told(OVERFIT, names), strategy="{name: panda, max_iterations: 25}")
    best = results.best
    assert (best.iteration, best.value) == (place + 1, OVERFIT[place])
    assert best.checkpoint == checkpoints.path(str(names[place]))


def test_while_a_line_is_not_at_its_end_it_is_shown_as_it_stands(tmp_path: Path) -> None:
    none: list[str | None] = [None] * len(OVERFIT)
    results = make_run(tmp_path / "x", told(OVERFIT, none), strategy="{name: panda, max_iterations: 99}")
    assert results.best.iteration == 25
