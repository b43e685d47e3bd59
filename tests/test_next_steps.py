"""What a report proposes next follows from what the run is, and each command is one that does it."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
import trainables

import raysearch
from raysearch.cli import main
from raysearch.core.budget import Amount
from raysearch.engine.wind_down import COMPLETE, PAUSED, Ended, Ending
from raysearch.report.next_steps import Edge, Facts, Kind, Step, at_edges, enough_samples, steps
from raysearch.report.sections import content_of
from raysearch.report.standing import Phase, Standing, last_standing
from raysearch.space.space import Space
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.schema import JournalEvent

SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-4, 1.0]},
        "layers": {"randint": [1, 8]},
        "dropout": {"uniform": [0.0, 0.5]},
        "optimizer": {"choice": ["sgd", "adamw"]},
    }
)
INSIDE = {"lr": 1e-2, "layers": 4, "dropout": 0.2, "optimizer": "sgd"}
DONE = Facts(
    "runs/a b", Standing(Phase.COMPLETE, COMPLETE), 3, INSIDE, SPACE, None, samples=40, has_finish=True
)


def kinds(facts: Facts) -> list[Kind]:
    return [step.kind for step in steps(facts)]


def the(kind: Kind, facts: Facts) -> Step:
    (found,) = [step for step in steps(facts) if step.kind is kind]
    return found


def edges(**values: object) -> list[Edge]:
    return at_edges(SPACE, {**INSIDE, **values})


def test_a_run_with_nothing_against_it_is_handed_over() -> None:
    (step,) = steps(DONE)
    assert shlex.split(step.command) == ["raysearch", "export", "runs/a b", "--config", "-o", "best.yaml"]
    assert step.words == "Hand over the winner, trial 3: its configuration as a file."


def test_a_baseline_that_the_verdict_keeps_is_what_is_handed_over() -> None:
    kept = the(Kind.EXPORT, dataclasses.replace(DONE, keeps_baseline=True))
    assert "--baseline" in shlex.split(kept.command)


@pytest.mark.parametrize(
    ("standing", "words", "more"),
    [
        (Standing(Phase.KILLED), "its process was ended from outside", []),
        (Standing(Phase.ENDED, PAUSED), "paused", []),
        (Standing(Phase.ENLARGED), "it was made larger since it ended", []),
        (
            Standing(Phase.ENDED, Ended(Ending.BUDGET, "2 hours are used up", Amount.HOURS)),
            "2 hours are used up",
            [*Amount.HOURS.more],
        ),
    ],
)
def test_an_unfinished_run_goes_on_before_anything_else(
    standing: Standing, words: str, more: list[str]
) -> None:
    at_an_edge = {**INSIDE, "lr": 1e-4}
    (step,) = steps(dataclasses.replace(DONE, standing=standing, config=at_an_edge, has_finish=False))
    assert step.kind is Kind.RESUME
    assert shlex.split(step.command) == ["raysearch", "resume", "runs/a b", *more]
    assert words in step.words


def test_of_a_run_that_is_being_run_nothing_is_asked() -> None:
    assert steps(dataclasses.replace(DONE, standing=Standing(Phase.RUNNING, holder="process 1 on a"))) == []


def test_ends_are_found_on_the_scale_of_the_domain() -> None:
    assert edges() == []
    assert edges(lr=2e-3) == [], "0.2% of the way on a linear scale, a third on a logarithmic one"
    (low,) = edges(lr=1.1e-4)
    assert (low.name, low.is_upper, low.wider) == ("lr", False, (1e-5, 1.0))
    (high,) = edges(dropout=0.495)
    assert (high.name, high.is_upper, high.wider) == ("dropout", True, (0.0, 0.75))
    assert [edge.wider for edge in edges(layers=8)] == [(1, 12)]


def test_natural_limits_and_short_lists_are_no_edges() -> None:
    assert edges(dropout=0.0) == [], "no dropout is less than none"
    assert edges(lr=1.0) == []
    assert edges(layers=1) == [], "there are no zero layers"
    two = Space.from_dict({"n": {"randint": [3, 4]}})
    assert at_edges(two, {"n": 4}) == []


def test_only_what_matters_is_at_an_edge() -> None:
    config = {**INSIDE, "lr": 1e-4, "layers": 8}
    assert [edge.name for edge in at_edges(SPACE, config, {"layers"})] == ["layers"]


def test_a_wider_space_is_one_that_the_spec_takes_with_its_condition_kept() -> None:
    space = Space.from_dict(
        {"optimizer": {"choice": ["a", "b"]}, "deep": {"lr": {"uniform": [1, 2], "when": {"optimizer": "a"}}}}
    )
    (edge,) = at_edges(space, {"optimizer": "a", "deep": {"lr": 2.0}})
    assert edge.field == "space.deep.lr.uniform=[1.0, 2.5]"


def test_few_samples_are_ten_for_each_hyper_parameter() -> None:
    assert enough_samples(SPACE) == 40
    assert enough_samples(Space.from_dict({"a": {"choice": [1, 2]}, "b": {"choice": [1, 2, 3]}})) == 6
    assert Kind.SAMPLES not in kinds(DONE)
    step = the(Kind.SAMPLES, dataclasses.replace(DONE, samples=39))
    assert step.command == "raysearch resume 'runs/a b' --samples 40"


def test_a_schedule_is_replayed_until_it_was() -> None:
    raised = dataclasses.replace(DONE, samples=None, is_raised=True, has_schedule=True, has_finish=False)
    assert kinds(raised) == [Kind.REPLAY, Kind.EXPORT]
    assert kinds(dataclasses.replace(raised, has_finish=True)) == [Kind.EXPORT]
    assert kinds(dataclasses.replace(raised, has_schedule=False)) == [Kind.EXPORT]


def test_how_a_run_stands_follows_from_its_events() -> None:
    def after(*kinds: str) -> Phase:
        detail = {"ending": "complete", "kind": "complete"}
        return last_standing([JournalEvent(k, detail if k == "end" else {}, 1.0) for k in kinds]).phase

    assert after() is Phase.UNKNOWN
    assert after("spec", "start") is Phase.KILLED
    assert after("start", "end") is Phase.COMPLETE
    assert after("start", "end", "edit") is Phase.ENLARGED
    assert after("start", "end", "edit", "start", "end") is Phase.COMPLETE
    stopped = JournalEvent("end", {"ending": "stopped", "kind": "stopped"}, 2.0)
    assert last_standing([JournalEvent("start", {}, 1.0), stopped]).words == "stopped"


def test_the_commands_of_a_report_do_what_they_say(storage: Path) -> None:
    """A search without a finish, too small, its winner at an edge: each command is run, then none is left."""
    results = raysearch.search(
        trainables.Walk,
        executor="inline",
        space={"rate": {"uniform": [0.5, 0.9]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=6, max_iterations=3, min_iterations=1, sampler="sobol", finish=None
        ),
        storage=str(storage),
        name="small",
    )
    (section,) = [s for s in content_of(results).sections if s.key == "next"]
    commands = [shlex.split(command) for _, command in section.steps]
    assert [c[1] for c in commands] == ["resume", "resume", "export"]
    assert commands[0][3:] == ["--samples", "10"]
    for _, *command in commands[:2]:
        assert main([*command, "--executor", "inline"]) == 0
    grown = raysearch.load(storage / "small")
    assert len(grown.trials()) == 10
    assert grown.verdict().contenders
    (section,) = [s for s in content_of(grown).sections if s.key == "next"]
    assert [shlex.split(command)[1] for _, command in section.steps] == ["export"]


def test_a_report_of_an_unfinished_run_says_so_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "spec.yaml").write_text("metric: loss\nmode: min\nspace: {rate: {uniform: [0.0, 1.0]}}\n")
    with Journal.create(folder / "journal") as journal:
        journal.append_event("start", {}, 1000.0)
        journal.append_event("end", {"ending": "stopped by SIGINT", "kind": "signal"}, 1001.0)
    content = content_of(raysearch.load(folder))
    assert content.headline == "Not finished, stopped by SIGINT: no trial has ended yet."
    assert content.tone == "warn"
    assert content.sections[0].steps[0][1] == f"raysearch resume {folder}"
