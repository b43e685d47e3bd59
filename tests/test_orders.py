"""Orders to a running caviar search: a configuration of one's own next, more samples, another space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import completed

from raysearch.cli import main
from raysearch.core.segment import FROM_PERSON, Segment
from raysearch.errors import SpecError
from raysearch.results import load
from raysearch.run.orders import Orders
from raysearch.space import Space
from raysearch.spec.search_spec import load_spec
from raysearch.storage.journal.reading import read_events
from raysearch.storage.paths import RunPaths
from raysearch.strategies.caviar import Caviar

SPACE = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "act": {"choice": ["relu", "gelu"]}})
MINE = {"lr": 0.0123, "act": "gelu"}
ORDER = {"kind": "enqueue", "config": MINE}
TINY = """
import json, pathlib
from raysearch.run.orders import Orders

def train(config):
    from ray import tune
    given = pathlib.Path("orders.json")
    if given.exists():
        text = given.read_text()
        given.unlink()
        for order in json.loads(text):
            Orders(pathlib.Path("runs/s/orders")).give(order)
    for i in range(3):
        tune.report({"loss": abs(config["lr"] - 0.1) + 1 / (i + 1)})
"""
SPEC = """
trainable: tiny.py:train
metric: loss
mode: min
space: {lr: {loguniform: [1.0e-4, 1.0]}, act: {choice: [relu, gelu]}}
strategy: {name: caviar, samples: 8, max_iterations: 3, sampler: sobol, finish: off}
"""


def started(samples: int = 6, **more: Any) -> Any:
    recipe = Caviar(samples, 9, sampler="sobol", finish=None)
    return recipe.start(SPACE, metric="loss", mode="min", seed=1, **more)


def firsts(segments: list[Segment]) -> dict[int, Any]:
    return {s.trial: s.config for s in segments if s.start == 0}


def test_an_enqueued_configuration_is_the_next_trial_and_a_replay_gives_it_the_same_number() -> None:
    strategy = started()
    begun = strategy.ask(2)
    stamped = strategy.plan_intervention(ORDER)
    assert (stamped["trial"], stamped["words"]) == (2, "trial 2 is this configuration")
    strategy.intervene(stamped)
    again = strategy.plan_intervention({**ORDER, "config": {**MINE, "lr": 0.5}})
    assert again["trial"] == 3
    strategy.intervene(again)
    asked = strategy.ask(3)
    assert firsts(asked) == {2: MINE, 3: {**MINE, "lr": 0.5}, 4: asked[2].config}
    assert (asked[0].origin, asked[0].reason) == (FROM_PERSON, "enqueued by a person")
    other = started()  # another life: orders first, then outcomes
    for one in (stamped, again):
        other.intervene(one)
    for segment in begun:
        other.tell(completed(segment))
    assert [s.config for s in other.ask(3) if s.start == 0][:2] == [MINE, {**MINE, "lr": 0.5}]


def test_the_trials_around_an_enqueued_one_are_those_of_a_search_without_it() -> None:
    plain, ordered = started(), started()
    ordered.intervene({**ORDER, "trial": 2})
    expected, found = firsts(plain.ask(6)), firsts(ordered.ask(6))
    assert found.pop(2) == MINE
    expected.pop(2)
    assert found == expected


def test_the_baseline_keeps_its_trial() -> None:
    strategy = started(baseline={"lr": 0.1, "act": "relu"})
    assert strategy.plan_intervention(ORDER)["trial"] == 1


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (
            {"kind": "enqueue", "config": {"lr": 3.0, "act": "relu"}},
            r"lr = 3.0 is outside \[1e-4, 1.0\]",
        ),
        ({"kind": "enqueue", "config": {"lr": 0.1}}, "config: .*act"),
        ({"kind": "enqueue", "config": {**MINE, "x": 1}}, "config: .*x"),
        ({"kind": "enqueue", "config": [1]}, r"config: \[1\] is no mapping"),
        ({"kind": "enqueue"}, "config: None is no mapping"),
        ({"kind": "nudge", "values": {"lr": 1}}, "unknown order to caviar 'nudge'"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_words(order: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        started().plan_intervention(order)


def test_when_every_trial_has_begun_it_says_how_to_give_it_more() -> None:
    strategy = started(samples=2)
    strategy.ask(2)
    with pytest.raises(SpecError, match=r"all 2 samples have begun or are taken; give it more first"):
        strategy.plan_intervention(ORDER)
    strategy.grow(3)
    assert strategy.plan_intervention(ORDER)["trial"] == 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    Path("s.yaml").write_text(SPEC)
    return tmp_path


INLINE = ("--executor", "inline")


def test_orders_that_come_while_a_search_runs_are_journalled_and_obeyed(here: Path) -> None:
    orders = [{"kind": "samples", "samples": "+4"}, ORDER, {**ORDER, "config": {"lr": 7.0, "act": "relu"}}]
    Path("orders.json").write_text(json.dumps(orders))
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 0
    results = load("runs/s")
    configs = [*results.configs_by_trial().values()]
    assert len(configs) == 12
    assert MINE in configs
    assert load_spec("runs/s/spec.yaml").strategy.samples == 12  # type: ignore[attr-defined]
    events = [event.kind for event in read_events(RunPaths(Path("runs/s")).journal)]
    assert events.count("edit") == 1
    assert events.count("intervention") == 1
    answers = sorted(Path("runs/s/orders").glob("*.answer"))
    said = [Orders(Path("runs/s/orders")).answered(file.stem) for file in answers]
    assert said[:2] == [(True, "12 samples in all"), (True, "trial 1 is this configuration")]
    assert said[2] is not None
    assert said[2][0] is False
    assert "lr = 7.0 is outside [1e-4, 1.0]" in said[2][1]


def test_another_space_pauses_the_run_and_resume_goes_on_in_it(here: Path) -> None:
    narrow = {"lr": {"loguniform": [1e-3, 1e-2]}, "act": {"choice": ["relu", "gelu"]}}
    wrong = {"kind": "space", "space": {"lr": {"loguniform": [0, 1]}}}
    Path("orders.json").write_text(json.dumps([wrong, {"kind": "space", "space": narrow}]))
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 75
    before = len(load("runs/s").configs_by_trial())
    assert before < 8
    assert yaml.safe_load(Path("runs/s/spec.yaml").read_text())["space"] == narrow
    refused = sorted(Path("runs/s/orders").glob("*.answer"))[0]
    assert "[space.lr]" in (Orders(Path("runs/s/orders")).answered(refused.stem) or (False, ""))[1]
    assert main(["resume", "runs/s", *INLINE]) == 0
    later = {t: c for t, c in load("runs/s").configs_by_trial().items() if t >= before}
    assert later
    assert all(1e-3 <= c["lr"] <= 1e-2 for c in later.values())


def test_a_configuration_waits_for_the_resume_of_a_run_that_nobody_runs(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 0
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    assert main(["enqueue", "runs/s", "mine.yaml"]) == 0
    assert "the order is taken in by raysearch resume runs/s --samples +1" in capsys.readouterr().out
    assert main(["resume", "runs/s", "--samples", "+1", *INLINE]) == 0
    assert load("runs/s").configs_by_trial()[8] == MINE
    Path("mine.yaml").write_text("lr: 9")
    assert main(["enqueue", "runs/s", "mine.yaml"]) == 2
    assert "mine.yaml: config: " in capsys.readouterr().err


def test_a_strategy_that_tries_no_configurations_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/p").mkdir(parents=True)
    text = SPEC.replace(
        "{name: caviar, samples: 8, max_iterations: 3, sampler: sobol, finish: off}",
        "{name: panda, max_iterations: 9}",
    )
    Path("runs/p/spec.yaml").write_text(text.replace("tiny.py", str(here / "tiny.py")))
    Path("runs/p/journal").mkdir()
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    assert main(["enqueue", "runs/p", "mine.yaml"]) == 2
    assert "strategy panda takes no configurations; caviar does" in capsys.readouterr().err
