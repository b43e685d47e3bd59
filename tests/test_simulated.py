"""The simulator: times and values as in the table, faults by probability, the same every time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from raysearch.core.segment import Mode, Status
from raysearch.executors.simulated import RowsOf, SimulatedFaults, Simulator, Table
from raysearch.space import Space
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.samplers import uniform

SPACE = Space.from_dict({"x": {"uniform": [0.0, 1.0]}, "kind": {"choice": ["a", "b"]}})


def table(n: int = 40, epochs: int = 9, mode: Mode = "max") -> Table:
    """Row i has x = i/n, rises with training, and takes i+1 seconds an epoch."""
    configs = [{"x": i / n, "kind": "ab"[i % 2]} for i in range(n)]
    t = np.arange(1.0, epochs + 1)
    values = np.array([i / n + 1.0 - 1.0 / t for i in range(n)])
    seconds = np.array([(i + 1) * t for i in range(n)])
    return Table(SPACE, configs, values if mode == "max" else -values, seconds, "acc", mode)


def start(it: Table, **fields: Any) -> Any:
    settings = {"samples": len(it.configs), "max_iterations": it.epochs, "finish": None}
    recipe = Caviar(**{**settings, **fields, "sampler": RowsOf(it, uniform(SPACE, 3))})
    return recipe.start(SPACE, metric=it.metric, mode=it.mode, seed=3)


def test_one_worker_spends_the_seconds_of_the_table() -> None:
    it = table(n=6)
    trace = Simulator(it, start(it, min_iterations=9), workers=1, until_s=1e9).run()
    assert trace.ended_at == 9 * (1 + 2 + 3 + 4 + 5 + 6)
    assert trace.outcomes == {Status.COMPLETED: 6}
    assert len(trace.at) == 54
    assert list(trace.at) == sorted(trace.at)


def test_workers_share_the_work() -> None:
    it = table(n=40)
    alone = Simulator(it, start(it, min_iterations=9), workers=1, until_s=1e9).run()
    many = Simulator(it, start(it, min_iterations=9), workers=8, until_s=1e9).run()
    assert alone.ended_at / 8 <= many.ended_at <= alone.ended_at / 8 + 9 * 40


def test_a_value_is_known_once_its_epoch_was_trained() -> None:
    it = table(n=1)
    trace = Simulator(it, start(it), workers=1, until_s=1e9).run()
    assert trace.best_at([0.5, 1.0, 2.9, 9.0], "max")[1:] == pytest.approx([0.0, 0.5, 1 - 1 / 9])
    assert math.isnan(trace.best_at([0.5], "max")[0])


def test_time_ends_the_search() -> None:
    it = table()
    trace = Simulator(it, start(it), workers=4, until_s=50.0).run()
    assert trace.ended_at <= 50.0
    assert trace.at.max() <= 50.0


def test_the_mode_turns_the_values_around() -> None:
    up, down = table(mode="max"), table(mode="min")
    traces = [Simulator(t, start(t), workers=4, until_s=1e9).run() for t in (up, down)]
    assert np.array_equal(traces[0].at, traces[1].at)
    assert np.array_equal(traces[0].value, -traces[1].value)
    times = [10.0, 100.0, 1e6]
    regrets = [t.regret(trace.best_at(times, t.mode)) for t, trace in zip((up, down), traces, strict=True)]
    assert np.array_equal(*regrets)
    assert regrets[0][-1] == 0.0


def test_regret_is_one_at_the_median_and_nought_at_the_best() -> None:
    it = table()
    each = it.values.max(axis=1)
    assert it.regret(np.array([each.max(), np.median(each), 0.0])) == pytest.approx([0.0, 1.0, 1.0])


def test_a_proposal_takes_the_nearest_unused_row_and_every_row_once() -> None:
    it = table()
    rows = RowsOf(it, uniform(SPACE, 1))
    taken = [rows.propose(i) for i in range(41)]
    assert taken[-1] is None
    assert sorted(str(c) for c in taken[:-1]) == sorted(str(c) for c in it.configs)
    wanted = uniform(SPACE, 1).propose(0)
    first = taken[0]
    assert first is not None
    assert first["kind"] == wanted["kind"]
    assert abs(first["x"] - wanted["x"]) <= 1 / 40


def test_values_without_an_order_are_at_the_same_distance_from_each_other() -> None:
    space = Space.from_dict({"kind": {"choice": ["a", "b", "c"]}, "x": {"uniform": [0.0, 1.0]}})
    configs = [{"kind": "a", "x": 0.9}, {"kind": "b", "x": 0.5}]
    it = Table(space, configs, np.zeros((2, 1)), np.ones((2, 1)), "loss", "min")
    assert it.nearest({"kind": "c", "x": 0.8}, None) == 0
    assert it.nearest({"kind": "c", "x": 0.6}, None) == 1


def test_a_nan_in_the_table_is_a_diverged_run() -> None:
    it = table(n=3)
    it.values[1, 0:] = math.nan
    trace = Simulator(it, start(it), workers=1, until_s=1e9).run()
    assert trace.outcomes[Status.DIVERGED] == 1
    assert math.isfinite(trace.best_at([1e9], "max")[0])


@pytest.mark.parametrize("variant", ["promotion", "stopping"])
def test_a_search_ends_in_spite_of_faults(variant: str) -> None:
    it = table()
    faults = SimulatedFaults(worker_dies=0.2, raises=0.1, diverges=0.1, seed=1)
    trace = Simulator(it, start(it, variant=variant), workers=4, until_s=1e9, faults=faults).run()
    assert min(trace.outcomes[s] for s in Status) >= 1
    assert trace.best_at([1e9], "max")[0] > 1.5


def test_lost_workers_cost_time_and_no_outcome() -> None:
    it = table()
    calm = Simulator(it, start(it, min_iterations=9), workers=1, until_s=1e9).run()
    rough = Simulator(it, start(it, min_iterations=9), 1, 1e9, SimulatedFaults(worker_dies=0.1, seed=2)).run()
    assert rough.ended_at > calm.ended_at
    assert rough.outcomes[Status.COMPLETED] == calm.outcomes[Status.COMPLETED] == 40


def test_the_same_seed_gives_the_same_trace() -> None:
    it = table()
    faults = SimulatedFaults(0.1, 0.1, 0.1, seed=5)
    one, two = (Simulator(it, start(it), 4, 1e9, faults).run() for _ in range(2))
    assert np.array_equal(one.at, two.at)
    assert np.array_equal(one.value, two.value, equal_nan=True)
    assert one.outcomes == two.outcomes
