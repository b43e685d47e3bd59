"""What a strategy decided of a segment: kept in the journal, and read from the reasons of journals of 0.1."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from raysearch.core.segment import FROM_BASELINE, Event, Outcome, Role, Segment, Status, segment_id
from raysearch.results.columns import Segments
from raysearch.storage.journal.decisions import decisions, detail_text
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.old_rows import old_decision
from raysearch.storage.journal.reading import read_outcomes
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.panda import Panda
from raysearch.strategies.retest import Retest
from raysearch.testing import small_recipes
from raysearch.testing.worlds import BASELINE, SPACE, run, tell_all, unlucky


@pytest.mark.parametrize(
    ("reason", "event", "origin"),
    [
        ("new trial from sampler model", Event.NONE, ""),
        ("the baseline", Event.NONE, FROM_BASELINE),
        ("memory: the box of past tasks", Event.NONE, "the box of past tasks"),
        ("memory: known good, number 1: by hand", Event.NONE, "known good, number 1: by hand"),
        ("rung 9: rank 2 of 27, promoted", Event.PROMOTION, ""),
        ("rung 3: rank 1 of 4, goes on", Event.PROMOTION, ""),
        ("from iteration 1 to the first rung, 3", Event.NONE, ""),
        ("finalist: rank 1 at iteration 9, seed 1 of 2", Event.NONE, ""),
        ("accept: lr 0.1 -> 0.2: gain +0.1 +- 0.01 > 0", Event.ACCEPT, ""),
        ("rollback: to a fresh model: boom; lr at half", Event.ROLLBACK, ""),
        ("adopt: trained for 9 iterations before this search", Event.ADOPT, ""),
        ("control: the incumbent, trained to the end again", Event.CONTROL, ""),
        ("confirmation, seed 1 of 3", Event.CONFIRMATION, ""),
        ("promotion: somebody's own word", Event.NONE, ""),
        ("", Event.NONE, ""),
    ],
)
def test_reasons_of_old_journals_are_read_in_one_place(reason: str, event: Event, origin: str) -> None:
    assert old_decision(reason) == (event, origin)


@pytest.mark.parametrize(
    "label", ["caviar", "panda-one", "panda-eight", "retest-screened", "two_stage-small"]
)
def test_old_reasons_say_what_new_segments_hold(label: str) -> None:
    recipe = small_recipes([label.partition("-")[0]])[label]
    told = run(recipe.start(SPACE, metric="loss", mode="min", seed=1, baseline=BASELINE), unlucky)
    for segment in (outcome.segment for outcome in told):
        assert old_decision(segment.reason) == (segment.event, segment.origin), segment.reason


def test_a_journal_keeps_event_origin_and_role(tmp_path: Path) -> None:
    segments = [
        Segment(segment_id(0, 0), 0, None, {"x": 1.0}, 0, 1, 0, "words", origin="a task: with a colon"),
        Segment(
            segment_id(1, 0), 1, None, {"x": 1.0}, 0, 1, 0, "nudge: in truth accepted", event=Event.ACCEPT
        ),
        Segment(segment_id(2, 0), 2, None, {"x": 1.0}, 0, 1, 0, "words", role=Role.FINALIST),
    ]
    with Journal.create(tmp_path / "j") as journal:
        journal.append_event("start", {}, 1.0)
        journal.append([Outcome(s, Status.COMPLETED, {"loss": [1.0]}) for s in segments])
        read = [o.segment for o in read_outcomes(tmp_path / "j")]
        journal.compact()
    for found in (read, [o.segment for o in read_outcomes(tmp_path / "j")]):
        assert [(s.event, s.origin, s.role) for s in found] == [(s.event, s.origin, s.role) for s in segments]
        assert all(isinstance(s.role, Role) and isinstance(s.event, Event) for s in found)
    columns = Segments.read(tmp_path / "j", "loss", "min")
    assert [one.event for one in columns.decisions(range(3))] == [Event.NONE, Event.ACCEPT, Event.NONE]


def test_rows_without_a_decision_are_read_by_their_reason() -> None:
    segment = Segment(0, 0, None, {}, 0, 1, 0, "nudge: x", event=Event.HOLD)
    new = detail_text(Outcome(segment, Status.COMPLETED))
    found = list(decisions([new, None, "{}"], ["nudge: x", "nudge: x", "nudge: x"]))
    assert [one.event for one in found] == [Event.HOLD, Event.NUDGE, Event.NONE]


def test_what_a_newer_version_writes_is_read() -> None:
    assert Event("entangle") is Event.NONE
    assert Role("referee") is Role.SEARCH


@pytest.mark.parametrize("population", [1, 4, 8])
def test_looking_at_a_search_while_it_is_replayed_changes_nothing(population: int) -> None:
    """The decay of the shorter training used numbers that the longer one needs for other work."""
    recipe = Panda(max_iterations=24, population=population, interval=3)
    begin = {"metric": "loss", "mode": "min", "seed": 1, "baseline": BASELINE}
    told = run(recipe.start(SPACE, **begin), unlucky)
    longer = recipe.extended(max_iterations=48)
    looked_at, quiet = longer.start(SPACE, **begin), tell_all(longer.start(SPACE, **begin), told)
    for outcome in told:
        looked_at.tell(outcome)
        looked_at.kept()
        assert not looked_at.finished
    assert [o.segment for o in run(looked_at, unlucky)] == [o.segment for o in run(quiet, unlucky)]


def test_a_search_by_stopping_that_was_replayed_says_that_it_is_over() -> None:
    recipe = Caviar(40, 27, variant="stopping", sampler="sobol")
    begin = {"metric": "loss", "mode": "min", "seed": 1, "baseline": BASELINE}
    told = run(recipe.start(SPACE, **begin), unlucky, free=5)
    assert tell_all(recipe.start(SPACE, **begin), told).finished


def test_a_retest_tells_its_control_by_its_event() -> None:
    recipe = Retest.examples()["screened"]
    told = run(recipe.start(SPACE, metric="loss", mode="min", seed=1, baseline=BASELINE))
    assert [o.segment.event for o in told].count(Event.CONTROL) == 1


def test_a_pickled_segment_has_its_role_event_and_origin() -> None:
    sent = Segment(0, 0, None, {}, 0, 1, 0, "x", role=Role.BASELINE, event=Event.ORDER, origin="memory")
    came = pickle.loads(pickle.dumps(sent))
    assert (came.role, came.event, came.origin) == (Role.BASELINE, Event.ORDER, "memory")
    assert isinstance(came.role, Role)
    assert isinstance(came.event, Event)
