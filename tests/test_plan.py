"""Plan: the advice for a situation, what a measured run says, and the spec that is written."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysearch.bench.plan import cases, outcomes, table
from raysearch.bench.support.landscapes import Landscape
from raysearch.cli import main
from raysearch.core.segment import Segment, segment_id
from raysearch.results import load
from raysearch.results.rung_scores import scores_of
from raysearch.spec import load_spec
from raysearch.strategies.advice import BOTH, TWICE, advise, caviar_trainings
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.situation import Situation
from raysearch.strategies.two_stage import PANDA, TwoStage
from raysearch.worker import measure

ITERATION_S = 0.0125
TRAINABLE = """
from ray import tune

class Slow(tune.Trainable):
    def setup(self, config):
        self.x, self.t = config["x"], 0

    def step(self):
        self.t += 1
        return {"loss": (self.x - 0.3) ** 2 + 1 / self.t}

    def save_checkpoint(self, folder):
        open(f"{folder}/t", "w").write(str(self.t))

    def load_checkpoint(self, folder):
        self.t = int(open(f"{folder}/t").read())

class Broken(tune.Trainable):
    def step(self):
        raise RuntimeError("no data")
"""
SPEC = """# the search
trainable: slow.py:Slow
metric: loss
mode: min
space: {x: {uniform: [0.0, 1.0]}}
strategy: {name: auto, max_iterations: 27}
storage: runs  # where
"""


def situation(trainings: float, depth: float, **fields: Any) -> Situation:
    """So many whole trainings of 81 iterations of a minute in all, so many behind one another."""
    workers = max(1, round(trainings / depth))
    return Situation(81, 60.0, workers, hours=depth * 81 / 60, **fields)


@pytest.mark.parametrize(
    ("trainings", "depth", "fields", "strategy"),
    [
        (0.5, 0.5, {}, "none"),
        (1.1, 1.1, {}, "panda"),
        (5.0, 2.5, {}, "panda"),
        (64.0, 2.0, {}, "panda"),
        (64.0, 4.0, {}, "two_stage"),
        (64.0, 4.0, {"has_schedule": True}, "caviar"),
        (64.0, 1.4, {"has_schedule": True}, "caviar"),
        (2.0, 2.0, {"has_schedule": True}, "panda"),
        (64.0, 4.0, {"can_pause": False}, "caviar"),
        (64.0, 4.0, {"moves": True}, "panda"),
        (64.0, 4.0, {"ranks": 0.2, "has_schedule": True}, "panda"),
        (64.0, 2.0, {"dimension": 7, "nudgeable": 2}, "caviar"),
    ],
)
def test_the_advice_for_a_situation(
    trainings: float, depth: float, fields: dict[str, Any], strategy: str
) -> None:
    advice = advise(situation(trainings, depth, **fields))
    assert advice.strategy == strategy
    assert advice.reasons
    assert advice.flips
    if strategy != "none":
        s = situation(trainings, depth, **fields)
        assert advice.recipe(81).name == strategy
        assert s.hours is not None
        assert advice.hours <= 1.05 * s.hours


def test_without_a_deadline_the_search_is_no_endless_one() -> None:
    advice = advise(Situation(81, 1.0, 8))
    assert (advice.strategy, advice.trials) == ("two_stage", 300)
    assert math.isfinite(advice.hours)


def test_gpu_hours_limit_as_a_deadline_does() -> None:
    free = Situation(81, 60.0, 16, gpus=1.0)
    bound = Situation(81, 60.0, 16, gpus=1.0, gpu_hours=1.35 * 5)
    assert free.trainings == math.inf
    assert bound.trainings == pytest.approx(5.0)
    assert advise(bound).gpu_hours <= 1.35 * 5.01


def test_the_first_situation_that_fits_both_stages_gets_both() -> None:
    assert advise(situation(BOTH + 3, TWICE + 0.1)).strategy == "two_stage"
    assert advise(situation(BOTH - 3, TWICE + 0.1)).strategy == "panda"


def test_caviar_costs_more_than_its_rungs_alone() -> None:
    rungs = sum(20 / 3**k * (3**k - (3 ** (k - 1) if k else 0)) for k in range(4)) / 27
    assert rungs < caviar_trainings(27, 20, 3) < 4 * rungs
    assert caviar_trainings(27, 20, 3) < caviar_trainings(27, 40, 3) < 40


def test_the_second_stage_raises_the_leader_of_the_first_in_the_same_tree() -> None:
    task = Landscape(seed=1, horizon=18)
    strategy = TwoStage(12, 18).start(task.space, metric="loss", mode="min", seed=1)
    asked: list[Segment] = []
    while not strategy.finished:
        for segment in strategy.ask(3):
            asked.append(segment)
            strategy.tell(task.train(segment))
    first = [s for s in asked if s.trial < PANDA]
    second = asked[len(first) :]
    assert all(s.trial >= PANDA for s in second)
    assert second[0].reason == "start: the leader of the first stage"
    alone = Caviar(12, 18, finish=None).start(task.space, metric="loss", mode="min", seed=1)
    again = task.fresh()
    while not alone.finished:
        for segment in alone.ask(3):
            alone.tell(again.train(segment))
    assert alone.leader is not None
    others = {k: v for k, v in alone.leader.items() if k != "lr"}
    assert {k: v for k, v in second[0].config.items() if k != "lr"} == others
    assert max(s.stop for s in second) == 18


def test_a_landscape_trains_on_from_where_it_stood() -> None:
    task, config = Landscape(seed=3, blur=0.0, horizon=9), {"lr": 0.1, "x0": 0.5, "x1": 0.5}
    whole = task.train(Segment(segment_id(0, 0), 0, None, config, 0, 9, 1, "x")).curve["loss"]
    a = task.train(Segment(segment_id(1, 0), 1, None, config, 0, 4, 1, "x")).curve["loss"]
    b = task.train(Segment(segment_id(1, 1), 1, segment_id(1, 0), config, 4, 9, 1, "x")).curve["loss"]
    assert [*a, *b] == pytest.approx(whole)
    fast = Segment(segment_id(2, 0), 2, None, {**config, "lr": 1.0}, 0, 9, 1, "x")
    assert task.train(fast).curve["loss"][-1] > whole[-1]


def test_the_bench_gives_a_row_for_the_plan_and_for_each_strategy() -> None:
    every = cases(2, 0)
    rows = table(every, [outcomes(case, 1) for case in every])
    assert [r["contender"] for r in rows] == ["the plan", "caviar", "panda", "two_stage", "guarded"]
    assert all(r["mean_regret"] >= 0 for r in rows)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec and its trainable, whose iterations take ITERATION_S by the clock of the plan."""
    looks = itertools.count()  # one an iteration
    clock = SimpleNamespace(perf_counter=lambda: next(looks) * ITERATION_S)
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.chdir(tmp_path)
    Path("slow.py").write_text(TRAINABLE)
    Path("s.yaml").write_text(SPEC)
    return tmp_path


def test_a_plan_measures_the_trainable_and_is_written_into_the_spec(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["plan", "s.yaml", "--executor", "inline", "--seconds", "0.5", "--deadline", "30s"]
    assert main([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["seconds"] == pytest.approx(ITERATION_S)
    assert found["measured"]["checkpoint_bytes"] > 0
    assert found["advice"]["strategy"] == "two_stage"
    assert main([*args, "--write"]) == 0
    text = Path("s.yaml").read_text()
    assert text.startswith("# the search\n")
    assert "storage: runs  # where" in text
    assert load_spec("s.yaml").strategy.name == "two_stage"


def test_auto_is_decided_at_launch_and_its_run_says_what_it_became(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["launch", "s.yaml", "--name", "a", "--executor", "inline", "--set", "strategy.hours=0.0004"]
    assert main(args) == 0
    assert load_spec("runs/a/spec.yaml").strategy.name == "panda"
    assert "strategy: panda, because" in capsys.readouterr().out
    assert load("runs/a").trials()["iterations"].max() == 27


def test_an_earlier_run_and_the_user_may_say_that_early_ranks_mislead(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inline = ("--executor", "inline")
    spec = "strategy={name: caviar, samples: 48, max_iterations: 4, eta: 2, min_iterations: 1, finish: off}"
    assert main(["launch", "s.yaml", "--name", "old", "--set", spec, *inline]) == 0
    ranks = scores_of(load("runs/old"), load_spec("s.yaml").space).early_ranks()
    assert ranks == pytest.approx(1.0)
    capsys.readouterr()
    args = ["plan", "s.yaml", *inline, "--seconds", "0.3", "--deadline", "30s", "--json"]
    assert main([*args, "--like", "runs/old"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["situation"]["ranks"] == pytest.approx(1.0)
    assert found["advice"]["strategy"] == "two_stage"
    assert main([*args, "--moving"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"]["strategy"] == "panda"


def test_what_cannot_be_planned_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inline = ("--executor", "inline")
    assert main(["plan", "s.yaml", *inline, "--deadline", "soon"]) == 2
    assert "--deadline" in capsys.readouterr().err
    assert main(["plan", "s.yaml", *inline, "--set", "trainable=slow.py:Broken"]) == 2
    assert "no data" in capsys.readouterr().err
    assert main(["plan", "s.yaml", *inline, "--deadline", "0.05s", "--seconds", "0.2", "--write"]) == 2
    said = capsys.readouterr()
    assert "nothing fits" in said.out
    assert "max_iterations of at most" in said.err
