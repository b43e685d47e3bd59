"""Two searches on one cluster: each keeps to its part, and takes the whole when it is alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trainables

import raysearch
from raysearch.cli import main
from raysearch.executors.fleet import Member, Orders
from raysearch.executors.neighbours import within
from raysearch.journal import read_outcomes
from raysearch.tree import Outcome, Status

PATIENCE_S = 150.0


def members(*said: str) -> list[Member]:
    """`a:2` runs and has two leases, `b` waits, `c-` retires."""
    found = []
    for text in said:
        name, _, leases = text.rstrip("-").partition(":")
        found.append(
            Member(name, node="n" if leases else "", leases=int(leases or 0), retiring=text[-1] == "-")
        )
    return found


@pytest.mark.parametrize(
    ("orders", "there", "part", "expected"),
    [
        (Orders((0, 0, 0)), [], None, Orders((0, 0, 0))),
        (Orders((0, 0, 0)), [], 2, Orders((0, 0))),
        (Orders((0, 0, 0)), ["a:1"], 2, Orders((0,))),
        (Orders(), ["a:1", "b:1"], 2, Orders()),
        (Orders(), ["a:2", "b:0", "c:1"], 1, Orders((), (), ("b", "c"))),
        (Orders((0,)), ["a:2", "b", "c"], 1, Orders((), ("c", "b"), ())),
        (Orders(), ["a:2", "b:1-"], 1, Orders()),
        (Orders((), ("c",), ()), ["a:2", "b:1", "c"], 1, Orders((), ("c",), ("b",))),
        (Orders((0,)), ["a:1"], 0, Orders((), (), ("a",))),
    ],
)
def test_a_fleet_keeps_to_its_part_and_the_least_busy_go_first(
    orders: Orders, there: Sequence[str], part: int | None, expected: Orders
) -> None:
    assert within(orders, members(*there), part) == expected


class Watched:
    """A search in a thread of its own, and how many workers it has."""

    def __init__(self, storage: Path, name: str, **fields: Any) -> None:
        self.run = storage / name
        self.workers = 0
        self.seen: list[int] = []
        settings = {
            "space": {"rate": {"uniform": [0.0, 1.0]}},
            "config": {"seconds": 0.1},
            "metric": "loss",
            "mode": "min",
            "storage": str(storage),
            "name": name,
            "on_status": self._note,
            "strategy": raysearch.Caviar(
                samples=100_000, max_iterations=2, min_iterations=2, sampler="sobol", finish=None
            ),
        }
        self._thread = threading.Thread(
            target=raysearch.search, args=(trainables.Slow,), kwargs={**settings, **fields}
        )
        self._thread.start()

    def ends(self) -> list[Outcome]:
        """Waits for the end; returns what is in the journal."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return list(read_outcomes(self.run / "journal"))

    def _note(self, status: dict[str, Any]) -> None:
        self.workers = sum(1 for worker in status["workers"].values() if worker["node"])
        self.seen.append(self.workers)


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it never came to it"
        time.sleep(0.1)


def test_a_newcomer_gets_its_part_of_a_full_cluster_and_the_first_takes_it_back(
    ray_cluster: None, storage: Path
) -> None:
    first = Watched(storage, "first")
    until(lambda: first.workers == 4)
    second = Watched(storage, "second", priority=3)
    until(lambda: (first.workers, second.workers) == (1, 3))
    until(lambda: len(list(read_outcomes(second.run / "journal"))) > 5)
    assert main(["stop", str(second.run)]) == 0
    rows = second.ends()
    until(lambda: first.workers == 4)
    assert main(["stop", str(first.run)]) == 0
    for done in (rows, first.ends()):
        assert {o.status for o in done} == {Status.COMPLETED}
        assert len({o.segment.id for o in done}) == len(done)
    assert max(second.seen) == 3


def test_a_search_keeps_to_its_greatest_share_also_when_it_is_alone(ray_cluster: None, storage: Path) -> None:
    strategy = raysearch.Caviar(samples=12, max_iterations=2, min_iterations=2, sampler="sobol", finish=None)
    alone = Watched(storage, "alone", max_share=0.5, strategy=strategy)
    assert len(alone.ends()) == 12
    assert max(alone.seen) == 2


def test_a_paused_search_that_goes_on_after_all_gets_its_workers_back(
    ray_cluster: None, storage: Path
) -> None:
    search = Watched(storage, "search", config={"seconds": 3.0, "marker": ""}, workers=3)
    until(lambda: search.workers == 3)
    assert main(["pause", str(search.run)]) == 0
    until(lambda: 0 < search.workers < 3)
    assert main(["resume", str(search.run)]) == 0
    until(lambda: search.workers == 3)
    assert main(["stop", str(search.run), "--grace", "0"]) == 0
    assert {o.status for o in search.ends()} <= {Status.COMPLETED}
