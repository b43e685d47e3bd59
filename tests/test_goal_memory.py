"""A memory holds searches of several objectives, for new ones of the same objectives and limits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_goals import TWO, model

import raysearch
from raysearch.core.pareto import non_dominated
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives, Standing
from raysearch.space.space import Space
from raysearch.strategies.samplers.transfer import _comparable
from raysearch.workflows.memory.goals import goals_in
from raysearch.workflows.memory.recall import Record, recall
from raysearch.workflows.memory.store import META, Memory, record_of

LIMIT = "latency <= 30"
SPACE = {"width": {"uniform": [0.0, 1.0]}, "waste": {"uniform": [0.0, 1.0]}}


def search(tmp_path: Path, name: str, **settings: Any) -> raysearch.Results:
    strategy = raysearch.Caviar(samples=14, max_iterations=3, sampler="sobol", finish=None)
    given = {"objectives": TWO, "limits": [LIMIT], "space": SPACE, "strategy": strategy, "name": name}
    given |= {"storage": tmp_path, "executor": "inline", "progress": False, "checks": False}
    return raysearch.search(model, **{**given, **settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of one search, in the folder `memory` beside its runs."""
    root = tmp_path_factory.mktemp("memory")
    Memory(root / "memory").add(record_of(search(root, "first"), task=None, now=0.0))
    return root


def test_a_record_comes_back_with_all_objectives_and_ranks_by_them(folder: Path) -> None:
    (record,) = Memory(folder / "memory").records().good
    assert (dict(record.objectives), [*record.limits]) == (TWO, [LIMIT])
    results = raysearch.load(folder / "first")
    trials = results.trials()
    assert [*record.further] == ["latency"]
    assert sorted(record.further["latency"]) == sorted(trials["latency"])
    order = np.argsort(record.scores)
    longest = [i for i in range(len(order)) if record.iterations[i] == 3]
    assert sorted(order[: len(longest)].tolist()) == longest
    points = np.array([(record.values[i], record.further["latency"][i]) for i in longest])
    within = points[:, 1] <= 30
    best = record.configs[int(order[0])]
    on = np.flatnonzero(within)[non_dominated(points[within])]
    assert best in [record.configs[longest[int(k)]] for k in on]


def test_a_new_search_of_the_same_objectives_begins_from_the_portfolio(folder: Path) -> None:
    results = search(folder, "second", memory=str(folder / "memory"))
    reasons = results.trials()["reason"].tolist()
    first = results.segments().query("start == 0")["reason"].tolist()
    assert any("the best of first, number 1" in reason for reason in (*reasons, *first))


def test_what_a_memory_expects_of_a_point_is_of_one_score_and_is_left_out() -> None:
    draw = np.random.default_rng(0)
    configs = [{"width": float(a), "waste": float(b)} for a, b in draw.random((20, 2))]
    values = [c["waste"] for c in configs]
    record = Record("t", "r", "loss", "min", SPACE, configs, [3] * 20, values, 0.0)
    both = Record(
        *("t", "r", "loss", "min", SPACE, configs, [3] * 20, values, 0.0),
        objectives=TWO,
        further={"latency": [c["width"] for c in configs]},
    )
    space = Space.from_dict(SPACE)
    assert recall([record], space, "loss", "min").transfer.expected
    found = recall([both], space, "loss", "min", goals=Objectives(TWO))
    assert found.transfer.portfolio
    assert not found.transfer.expected


@pytest.mark.parametrize(
    ("goals", "words"),
    [
        (Objectives({"loss": "min"}), "it was searched for loss (min), latency (min) within latency <= 30"),
        (Objectives(TWO), "this is loss (min), latency (min)"),
        (
            Objectives(TWO, (Limit("latency <= 20"),)),
            "latency (min) within latency <= 20",
        ),
        (Objectives({"loss": "min", "latency": "max"}, (Limit(LIMIT),)), "this is loss (min), latency (max)"),
    ],
)
def test_a_search_for_something_else_takes_nothing_from_it(
    folder: Path, goals: Objectives, words: str
) -> None:
    held = Memory(folder / "memory").records().good
    found = recall(held, Space.from_dict(SPACE), "loss", "min", goals=goals)
    assert found.transfer.is_empty
    ((task, why),) = found.refused
    assert task == "first"
    assert words in why


def test_a_record_of_several_objectives_is_none_for_an_older_version(folder: Path) -> None:
    (file,) = (folder / "memory").glob("*.parquet")
    assert b'"version": 2' in pq.read_table(pa.BufferReader(file.read_bytes())).schema.metadata[META]


def test_halves_of_objectives_are_refused() -> None:
    fields = {"version": 2, "objectives": TWO, "limits": [], "further": {"latency": [1.0, None]}}
    read = goals_in(fields, 2)["further"]["latency"]
    assert read[0] == 1.0
    assert math.isnan(read[1])
    with pytest.raises(ValueError, match="another number of values than of trials"):
        goals_in(fields, 3)
    with pytest.raises(ValueError, match="unknown mode 'least'"):
        goals_in({**fields, "objectives": {"loss": "least"}}, 2)


def test_transferred_and_free_trials_are_compared_by_all_objectives() -> None:
    front = [Standing((2.0, 0.0)), Standing((0.0, 2.0))]
    behind = [Standing((3.0, 3.0)), Standing((0.0, 9.0), (0.5,)), math.inf]
    a, b = _comparable(front, behind)
    assert max(a) < min(b)
    assert _comparable([0.5, 0.1], [0.3]) == ([0.5, 0.1], [0.3])
