"""Tune's side of the fleet: who is asked for, and how a worker's end is understood."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayError

from raysearch.engine.messages import MEMORY_KILL, WITH_ITS_NODE, Death
from raysearch.executors.tune.scaling import StaffOrders
from raysearch.executors.tune.tune_plugins import Asking, Roster, as_death, death_of

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
