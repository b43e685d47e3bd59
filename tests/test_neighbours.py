"""Two searches on one cluster: each keeps to its part, and takes the whole when it is alone."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from waiting import Children

from raysearch.cli import main
from raysearch.core.segment import Outcome, Status
from raysearch.executors.tune.neighbours import NAMESPACE, within
from raysearch.executors.tune.scaling import StaffMember, StaffOrders
from raysearch.storage.journal.reading import read_outcomes

DRIVER = Path(__file__).with_name("neighbour.py")


def members(*said: str) -> list[StaffMember]:
    """`a:2` runs and has two leases, `b` waits, `c-` retires."""
    found = []
    for text in said:
        name, _, leases = text.rstrip("-").partition(":")
        found.append(
            StaffMember(name, node="n" if leases else "", leases=int(leases or 0), retiring=text[-1] == "-")
        )
    return found


@pytest.mark.parametrize(
    ("orders", "there", "part", "expected"),
    [
        (StaffOrders((0, 0, 0)), [], None, StaffOrders((0, 0, 0))),
        (StaffOrders((0, 0, 0)), [], 2, StaffOrders((0, 0))),
        (StaffOrders((0, 0, 0)), ["a:1"], 2, StaffOrders((0,))),
        (StaffOrders(), ["a:1", "b:1"], 2, StaffOrders()),
        (StaffOrders(), ["a:2", "b:0", "c:1"], 1, StaffOrders((), (), ("b", "c"))),
        (StaffOrders((0,)), ["a:2", "b", "c"], 1, StaffOrders((), ("c", "b"), ())),
        (StaffOrders(), ["a:2", "b:1-"], 1, StaffOrders()),
        (StaffOrders((), ("c",), ()), ["a:2", "b:1", "c"], 1, StaffOrders((), ("c",), ("b",))),
        (StaffOrders((0,)), ["a:1"], 0, StaffOrders((), (), ("a",))),
    ],
)
def test_a_fleet_keeps_to_its_part_and_the_least_busy_go_first(
    orders: StaffOrders, there: Sequence[str], part: int | None, expected: StaffOrders
) -> None:
    assert within(orders, members(*there), part) == expected


class Running:
    """A search in a process of its own, and how many workers its coordinator says it has."""

    def __init__(self, start_process: Children, storage: Path, name: str, **fields: Any) -> None:
        address = ray.get_runtime_context().gcs_address
        self.run = storage / name
        self._process = start_process(sys.executable, DRIVER, storage, name, address, json.dumps(fields))

    @property
    def workers(self) -> int:
        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == NAMESPACE and actor["name"].startswith(f"{self.run.name}-"):
                coordinator = ray.get_actor(actor["name"], namespace=NAMESPACE)
                status = ray.get(coordinator.status.remote())
                return sum(1 for worker in status["workers"].values() if worker["node"])
        return 0

    def waits(self, condition: Callable[[], object]) -> None:
        self._process.wait_for(condition)

    def ends(self) -> list[Outcome]:
        """Waits for the end; returns what is in the journal."""
        self._process.end()
        return list(read_outcomes(self.run / "journal"))


@pytest.fixture
def running(ray_cluster: None, start_process: Children, storage: Path) -> Callable[..., Running]:
    return functools.partial(Running, start_process, storage)


@pytest.mark.slow
def test_a_search_keeps_to_its_share_yields_to_a_newcomer_and_takes_back_what_left_it(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    marker = tmp_path / "go on"
    first = running("first", max_share=0.75, marker=str(marker))
    first.waits(lambda: first.workers == 3)
    assert main(["pause", str(first.run)]) == 0
    first.waits(lambda: first.workers == 1)  # which trains the trial that waits
    assert main(["resume", str(first.run)]) == 0
    first.waits(lambda: first.workers == 3)
    marker.touch()
    second = running("second", priority=3)
    second.waits(lambda: (first.workers, second.workers) == (1, 3))
    assert main(["stop", str(second.run)]) == 0
    rows = second.ends()
    first.waits(lambda: first.workers == 3)
    assert main(["pause", str(first.run)]) == 0
    for done in (rows, first.ends()):
        assert done
        assert {o.status for o in done} == {Status.COMPLETED}
        assert len({o.segment.id for o in done}) == len(done)


def test_workers_without_work_go_to_a_neighbour_while_the_last_trial_is_trained(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    marker = tmp_path / "go on"
    first = running("first", marker=str(marker), samples=4)
    first.waits(lambda: first.workers == 4)
    second = running("second")
    second.waits(lambda: (first.workers, second.workers) == (1, 3))
    marker.touch()
    rows = first.ends()
    assert sorted(o.segment.trial for o in rows if o.status is Status.COMPLETED) == [0, 1, 2, 3]
    assert main(["stop", str(second.run), "--grace", "0"]) == 0
    second.ends()
