"""What decisions read of a search: its ending, the cause of a failure, a snapshot. Words are for people."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
from scripted import completed, segment
from test_engine import failed, make

from raysearch.core.budget import Amount, Budget, Spent
from raysearch.core.segment import Cause
from raysearch.engine.memory_retry import RAN_OUT
from raysearch.engine.messages import MEMORY_KILL
from raysearch.engine.snapshot import CoordinatorFacts
from raysearch.engine.wind_down import (
    COMPLETE,
    INTERRUPTED,
    PAUSED,
    STOPPED,
    Ended,
    Ending,
    by_signal,
    ended_of,
    more_of,
)
from raysearch.storage.journal.decisions import causes

ALL = [
    COMPLETE,
    PAUSED,
    STOPPED.with_words("stopped; what 2 workers had in training was cut"),
    INTERRUPTED,
    by_signal("Ctrl-C"),
    Ended(Ending.BUDGET, "the budget of 3 trials is used up", Amount.TRIALS),
    Ended(Ending.FAILED, "the first 10 segments all failed, so the search was ended."),
]


@pytest.mark.parametrize("ended", ALL)
def test_an_ending_comes_back_from_the_journal_as_it_was(ended: Ended) -> None:
    assert ended_of(json.loads(json.dumps(ended.as_detail()))) == ended


@pytest.mark.parametrize("ended", ALL)
def test_a_journal_that_has_only_the_sentence_reads_alike(ended: Ended) -> None:
    assert ended_of({"ending": ended.words, "spent": {}}) == ended


def test_a_life_that_did_not_say_why_it_ended_has_no_ending() -> None:
    assert ended_of({"ending": ""}) is None
    assert ended_of({}) is None
    assert more_of(None) == ()


def test_the_words_of_an_ending_decide_nothing() -> None:
    odd = Ended(Ending.FAILED, "paused: so the error begins", None)
    assert ended_of(odd.as_detail()) == odd


@pytest.mark.parametrize(
    ("amount", "spent"),
    [
        (Amount.HOURS, Spent(seconds=3600.0)),
        (Amount.GPU_HOURS, Spent(gpu_s=3600.0)),
        (Amount.CPU_HOURS, Spent(cpu_s=3600.0)),
        (Amount.MONEY, Spent(worker_s=3600.0)),
    ],
)
def test_what_is_used_up_is_found_said_and_read_again(amount: Amount, spent: Spent) -> None:
    budget = Budget(**{amount.value: 1.0}, prices={"worker_hour": 1.0})  # type: ignore[arg-type]
    assert budget.exhausted(Spent()) is None
    assert budget.exhausted(spent) is amount
    ended = ended_of({"ending": budget.used_up(amount)})
    assert ended is not None
    assert (ended.kind, ended.used_up, more_of(ended)) == (Ending.BUDGET, amount, amount.more)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("", Cause.OTHER),
        ("ValueError: bad", Cause.OTHER),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", Cause.OUT_OF_MEMORY),
        (MEMORY_KILL, Cause.MEMORY_KILL),
        (f"{RAN_OUT} 1 GPU, tried again with 2 GPU: {MEMORY_KILL}", Cause.SHARE_TOO_SMALL),
        (
            "TrainableError: the path changes, and the trainable writes no checkpoint through which",
            Cause.NO_CHECKPOINT,
        ),
        (f"attempt 1 of 2 failed: {MEMORY_KILL}", Cause.OUT_OF_MEMORY),
    ],
)
def test_the_errors_of_old_journals_are_read_in_one_place(error: str, cause: Cause) -> None:
    assert [*causes([None, "{}"], [error, error])] == [cause, cause]


def test_a_trainable_without_a_checkpoint_that_is_needed_ends_the_search() -> None:
    search, _, _, _ = make(segment(0), retries=5)
    search.lease("w", 1, 0.0)
    error = "NoCheckpointError: there is nothing to go on from"
    search.exchange("w", [failed(segment(0), error, Cause.NO_CHECKPOINT)], 1, 1.0)
    ended = search.lifetime.ended
    assert ended is not None
    assert ended.kind is Ending.FAILED
    assert ended.words.endswith("The run can be resumed when that is mended")


# ---- the snapshot


def test_a_snapshot_is_read_by_attribute_and_by_the_keys_that_json_has() -> None:
    search, _, _, _ = make(segment(0), segment(1, stop=3))
    search.lease("w", 2, 0.0)
    search.exchange("w", [completed(segment(0), 0.25)], 0, 4.0, [segment(1).id])
    status = search.status(5.0)
    plain = json.loads(json.dumps(status.as_dict()))
    assert plain == {
        "ending": "",
        "failed": "",
        "winding": "",
        "spent": "",
        "forecast": "",
        "seconds": 5.0,
        "life_s": 5.0,
        "trials": 1,
        "finals": 0,
        "segments": {"completed": 1},
        "stops": 1,
        "rungs": [{"iteration": 1, "completed": 1, "best": 0.25}],
        "ended": {"completed": 1},
        "iterations": 1,
        "latest": {"trial": 0, "iteration": 1, "value": 0.25, "config": {"x": 0}},
        "best": {"trial": 0, "segment": 0, "value": 0.25, "iteration": 1, "config": {"x": 0}},
        "busy_s": 0.0,
        "recent": [],
        "running": 1,
        "queued": 0,
        "leased": 1,
        "workers": {
            "w": {
                "leases": 1,
                "current": "1.0",
                "segment": segment(1).id,
                "iteration": 0,
                "segments": 1,
                "busy_s": 0.0,
                "silent_s": 1.0,
                "lives": 0,
                "node": "",
                "level": 0,
            }
        },
        "warnings": {},
    }
    assert dict(status) == status.as_dict()
    assert len(status) == len(plain)
    assert status["trials"] == status.trials
    assert status.get("pid") is None
    with pytest.raises(KeyError):
        status["unknown"]


def test_the_coordinators_facts_are_keys_of_a_snapshot_that_has_them_also_at_the_driver() -> None:
    search, _, _, _ = make(segment(0))
    search.lease("w", 1, 0.0)
    facts = CoordinatorFacts(pid=7, memory_mb=1.5, cpu_s=0.5, work={}, need=None)
    status = search.status(1.0).but(winding="paused")
    assert "pid" not in status
    whole = pickle.loads(pickle.dumps(dataclasses.replace(status, coordinator=facts)))
    assert (whole["pid"], whole["need"], whole["winding"]) == (7, None, "paused")
    assert whole.live.workers["w"] == status.live.workers["w"]
    assert {*whole} - {*status} == {"pid", "memory_mb", "cpu_s", "work", "need"}
