"""One Search under every executor, and from every moment at which it may have died."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trainables
from ray import tune

import raysearch
from raysearch.core.segment import Outcome, Status
from raysearch.engine.search import Search
from raysearch.executors.simulated import Simulator, Table
from raysearch.space import Space
from raysearch.storage.journal.reading import read_outcomes
from raysearch.strategies.finish import Finish

SPACE = {"rate": {"uniform": [0.0, 1.0]}}
RECIPE = raysearch.Caviar(
    samples=15,
    max_iterations=9,
    min_iterations=1,
    sampler="sobol",
    variant="promotion",
    finish=Finish(top=2, seeds=2),
)
BASELINE = {"rate": 0.75}


def said(outcomes: list[Outcome]) -> list[tuple[Any, ...]]:
    """What was decided and what came of it, without times and names; NaN as text, to be compared."""
    return [
        (o.segment, o.status.value, [str(v) for v in o.curve["loss"]])
        for o in outcomes
        if o.status is not Status.LOST
    ]


def strategy() -> Any:
    return RECIPE.start(Space.from_dict(SPACE), metric="loss", mode="min", seed=3, baseline=BASELINE)


def searched(storage: Path, executor: Any, seconds: float) -> list[Outcome]:
    raysearch.search(
        trainables.Curve,
        executor=executor,
        space=SPACE,
        metric="loss",
        mode="min",
        strategy=RECIPE,
        baseline=BASELINE,
        seed=3,
        workers=1,
        config={"seconds": seconds},
        storage=str(storage),
        name=executor,
    )
    return list(read_outcomes(storage / executor / "journal"))


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    return searched(tmp_path_factory.mktemp("runs"), "inline", 0.0)


def test_the_simulated_search_decides_what_the_inline_one_does(inline: list[Outcome]) -> None:
    configs = list({o.segment.config["rate"]: dict(o.segment.config) for o in inline}.values())
    values = np.array([[trainables.curve(c["rate"], step) for step in range(1, 10)] for c in configs])
    seconds = np.tile(np.arange(1.0, 10.0), (len(configs), 1))
    table = Table(Space.from_dict(SPACE), configs, values, seconds, "loss", "min")
    rows: list[Outcome] = []

    class Log:
        def append(self, outcomes: Any) -> None:
            rows.extend(outcomes)

    simulator = Simulator(table, strategy(), workers=1, until_s=math.inf)
    simulator.search.journal = Log()
    simulator.run()
    assert [(s, status) for s, status, _ in said(rows)] == [(s, status) for s, status, _ in said(inline)]


def test_the_tune_search_decides_what_the_inline_one_does(
    inline: list[Outcome], ray_cluster: None, storage: Path
) -> None:
    # An iteration long enough that the worker takes one lease at a time, as the inline executor does.
    assert said(searched(storage, "tune", 0.15)) == said(inline)


def test_a_search_that_died_after_any_outcome_goes_on_to_the_same_end(inline: list[Outcome]) -> None:
    by_id = {o.segment.id: o for o in inline}
    for died_after in range(len(inline) + 1):
        search = Search(strategy(), metric="loss", mode="min")
        search.replay(inline[:died_after])
        rest: list[Outcome] = []
        while not (reply := search.exchange("w", rest[-1:], 1, 0.0)).stop:
            [lease] = reply.leases
            rest.append(by_id[lease.segment.id])
        assert said(inline[:died_after] + rest) == said(inline)


def test_the_finish_trains_the_best_and_the_baseline_on_the_same_fresh_seeds(inline: list[Outcome]) -> None:
    finals = [o.segment for o in inline if o.segment.role in ("finalist", "baseline")]
    seeds: dict[tuple[str, Any], list[int]] = {}
    for segment in finals:
        seeds.setdefault((segment.role, segment.source), []).append(segment.seed)
    assert len(seeds) == 3
    assert len({tuple(sorted(s)) for s in seeds.values()}) == 1
    assert all(len(set(s)) == 2 for s in seeds.values())
    assert {s.seed for s in finals}.isdisjoint(o.segment.seed for o in inline if o.segment.role == "search")


def threads(config: dict[str, Any]) -> None:
    """Reports how many threads torch may take."""
    tune.report({"loss": float(torch.get_num_threads())})


class Threads(trainables.Curve):
    """The same as a class."""

    def step(self) -> dict[str, Any]:
        return {"loss": float(torch.get_num_threads())}


@pytest.mark.parametrize("trainable", [threads, Threads])
def test_the_inline_search_takes_the_threads_that_a_worker_has(trainable: Any, storage: Path) -> None:
    before = torch.get_num_threads()
    results = raysearch.search(
        trainable,
        executor="inline",
        space=SPACE,
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=2, max_iterations=1, min_iterations=1, finish=None),
        workers={"count": 1, "cpu": 3},
        storage=str(storage),
        name="run",
    )
    assert results.best.value == 3
    assert torch.get_num_threads() == before
