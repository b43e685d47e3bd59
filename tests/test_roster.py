"""Tune's side of the fleet: who is asked for, and how a worker's end is understood."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayError

from raysearch.engine.messages import MEMORY_KILL, WITH_ITS_NODE, Death
from raysearch.executors.tune.scaling import StaffOrders
from raysearch.executors.tune.tune_plugins import Asking, Cancelling, Deaths, Roster, as_death, death_of

KILLED = "1 worker(s) were killed due to the node running low on memory. Memory on the node was 7.7GB used"


def names(asking: Asking) -> list[str]:
    found = []
    while (config := asking.suggest(str(len(found)))) is not None:
        found.append(config["worker"])
    return found


def test_a_tune_that_is_begun_again_is_asked_for_everyone_who_was_not_let_go() -> None:
    roster = Roster()
    roster.carry_out(StaffOrders(start=(0, 0, 0)))
    first = Asking(roster)
    assert names(first) == ["worker-0", "worker-1", "worker-2"]
    roster.carry_out(StaffOrders(start=(0,), cancel=("worker-1",)))
    first.on_trial_complete("2")
    assert names(Asking(roster)) == ["worker-0", "worker-3"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemoryError(KILLED), (Death.OUT_OF_MEMORY, MEMORY_KILL)),
        (
            RayActorError(error_msg="The actor died because its node has died."),
            (Death.WITH_NODE, WITH_ITS_NODE),
        ),
        (RayActorError(), (Death.ALONE, "its worker died")),
        (ActorUnavailableError("no answer", b"\0" * 16), (Death.UNCLEAR, "its worker cannot be reached")),
    ],
)
def test_why_a_process_is_gone(error: RayError, expected: tuple[Death, str]) -> None:
    death = as_death(error)
    assert isinstance(death, RayActorError)
    assert death_of(death) == expected


def test_other_errors_are_left_as_they_are() -> None:
    error = ValueError("no")
    assert as_death(error) is error


# ---- the error that Tune handles


class FakeManager:
    """The methods by which Tune hears of failures; each hands the error on, as Ray's does."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        self._tell(exception)

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
        self._tell(exception)


def test_why_a_worker_died_is_taken_from_tune_and_not_from_the_file_that_others_can_write() -> None:
    told: list[tuple[Any, ...]] = []
    roster = Roster()
    coordinator = SimpleNamespace(died=SimpleNamespace(remote=lambda *what: told.append(what)))
    deaths = Deaths(coordinator, roster)
    metadata = SimpleNamespace(pickled_error_filename="error.pkl")
    trial = SimpleNamespace(config={"worker": "worker-0"}, run_metadata=metadata)
    manager = FakeManager(lambda error: deaths.on_trial_recover(0, [], trial))
    controller = SimpleNamespace(_actor_manager=manager, get_live_trials=list, get_trials=list)
    Cancelling(roster).choose_trial_to_run(controller)
    manager._actor_task_failed(tracked_actor_task="task", exception=OutOfMemoryError(KILLED))
    manager._actor_start_failed("actor", RayActorError())
    manager._actor_task_failed("task", RuntimeError("raised by a trainable"))
    deaths.on_trial_recover(0, [], trial)
    assert [what[:3] for what in told] == [
        ("worker-0", Death.OUT_OF_MEMORY, MEMORY_KILL),
        ("worker-0", Death.ALONE, "its worker died"),
    ]
    assert metadata.pickled_error_filename is None
