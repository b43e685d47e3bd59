"""How many workers there should be, which of them bigger, and which should go."""

from __future__ import annotations

from collections.abc import Sequence

from raysearch.cluster.capacity import Resources
from raysearch.executors.tune.scaling import AHEAD, LINGER_S, SHORT_S, Bounds, Fleet, StaffMember, StaffOrders

ONE = Resources(({"CPU": 1.0},))
QUARTERS = [Resources(({"GPU": share},)) for share in (0.25, 0.5, 1.0)]


def fleet(
    least: int = 1, most: int | None = None, can_grow: bool = False, shares: Sequence[Resources] = (ONE,)
) -> Fleet:
    return Fleet(shares, Bounds(least, most, can_grow))


def cpus(*counts: int) -> dict[str, dict[str, float]]:
    return {f"node-{i}": {"CPU": float(count)} for i, count in enumerate(counts)}


def running(count: int, node: str = "node-0", level: int = 0, first: int = 0) -> list[StaffMember]:
    return [StaffMember(f"worker-{first + i}", level, node, leases=1) for i in range(count)]


def test_there_are_as_many_workers_as_the_nodes_have_room_for_now_and_when_they_come_and_go() -> None:
    auto = fleet()
    assert auto.orders([], cpus(2), {}, 0.0) == StaffOrders(start=(0, 0))
    assert auto.orders(running(2), cpus(2), {}, 1.0) == StaffOrders()
    assert auto.orders(running(2), cpus(2, 3), {}, 2.0) == StaffOrders(start=(0, 0, 0))
    left = [*running(2), StaffMember("worker-2"), StaffMember("worker-3")]  # these wait: their node has gone
    assert auto.orders(left, cpus(2), {}, 3.0) == StaffOrders(cancel=("worker-3", "worker-2"))


def test_running_workers_are_never_taken_away_for_want_of_room() -> None:
    assert fleet().orders(running(4), cpus(2), {}, 0.0) == StaffOrders()


def test_min_waits_for_nodes_that_are_not_there_yet_and_max_is_not_exceeded() -> None:
    assert fleet(least=3).orders([], cpus(1), {}, 0.0) == StaffOrders(start=(0, 0, 0))
    assert fleet(most=2).orders([], cpus(8), {}, 0.0) == StaffOrders(start=(0, 0))
    assert fleet(most=2).orders(running(2), cpus(2), {}, 0.0) == StaffOrders()
    assert fleet().orders([], {}, {}, 0.0) == StaffOrders(start=(0,))


def test_workers_on_a_node_that_does_not_answer_take_nobody_elses_place_and_count_towards_max() -> None:
    away = running(2, "node-9", first=5)
    assert fleet().orders([*away, *running(1), StaffMember("worker-1")], cpus(2), {}, 0.0) == StaffOrders()
    assert fleet().orders([*away, *running(1)], cpus(2), {}, 1.0) == StaffOrders(start=(0,))
    assert fleet(most=3).orders([*away], cpus(2), {}, 2.0) == StaffOrders(start=(0,))
    assert fleet(most=2).orders([*away], cpus(2), {}, 3.0) == StaffOrders()


def test_with_max_some_wait_as_demand_and_without_it_nothing_is_asked_for_that_is_not_there() -> None:
    assert fleet(most=9).orders([], cpus(4), {}, 0.0) == StaffOrders(start=(0,) * 9)
    assert fleet(most=10_000).orders([], cpus(4), {}, 0.0) == StaffOrders(start=(0,) * (4 + AHEAD))
    left = [*running(2), StaffMember("worker-2"), StaffMember("worker-3")]
    assert fleet(most=4).orders(left, cpus(2), {}, 0.0) == StaffOrders()
    growing = fleet(most=9, shares=QUARTERS)
    assert growing.orders([], {"a": {"GPU": 1.0}}, {}, 0.0) == StaffOrders(start=(0,) * 4)
    assert fleet(most=9, can_grow=True).orders([], cpus(4), {}, 0.0) == StaffOrders(start=(0,) * 9)
    assert fleet(can_grow=True).orders([], cpus(4), {}, 0.0) == StaffOrders(start=(0,) * 4)
    assert fleet(least=2, can_grow=True).orders([], {}, {}, 0.0) == StaffOrders(start=(0, 0))


def test_a_bigger_worker_gets_the_node_where_the_fewest_have_to_go_for_it() -> None:
    nodes = {"busy": {"GPU": 1.0}, "free": {"GPU": 1.0}}
    members = [*running(4, "busy"), *running(3, "free", first=4)]
    orders = fleet(shares=QUARTERS).orders(members, nodes, {0: 7, 1: 1}, 0.0)
    assert orders == StaffOrders(start=(1,), retire=("worker-4",))
    asked = [*members, StaffMember("worker-7", level=1)]
    asked[4] = StaffMember("worker-4", 0, "free", leases=1, retiring=True)
    assert fleet(shares=QUARTERS).orders(asked, nodes, {0: 7, 1: 1}, 0.5) == StaffOrders()


def test_bigger_workers_get_their_part_of_the_cluster_by_open_work() -> None:
    nodes = {"a": {"GPU": 2.0}}
    orders = fleet(shares=QUARTERS).orders(running(8, "a"), nodes, {0: 4, 1: 4}, 0.0)
    assert orders.start == (1, 1)
    assert len(orders.retire) == 4
    everything = fleet(shares=QUARTERS).orders(running(8, "a"), nodes, {2: 5}, 0.0)
    assert everything.start == (2, 2)
    assert len(everything.retire) == 8


def test_a_bigger_worker_stays_a_while_and_gives_its_share_back() -> None:
    some, nodes = fleet(shares=QUARTERS), {"a": {"GPU": 1.0}}
    members = [*running(2, "a"), *running(1, "a", level=1, first=2)]
    assert some.orders(members, nodes, {0: 2, 1: 1}, 0.0) == StaffOrders()
    assert some.orders(members, nodes, {0: 2}, LINGER_S / 2) == StaffOrders()
    assert some.orders(members, nodes, {0: 2}, LINGER_S + 1) == StaffOrders(retire=("worker-2",))
    assert some.orders(members[:2], nodes, {0: 2}, LINGER_S + 2) == StaffOrders(start=(0, 0))
    waiting = [*members[:2], StaffMember("worker-3", level=1)]
    assert fleet(shares=QUARTERS).orders(waiting, nodes, {0: 2}, 0.0).cancel == ("worker-3",)


def test_max_counts_bigger_workers_too() -> None:
    members = running(1, "a", level=1)
    assert fleet(most=2, shares=QUARTERS).orders(members, {"a": {"GPU": 4.0}}, {1: 1}, 0.0).start == (0,)


def test_what_is_missing_is_said_once_with_what_there_is() -> None:
    some = fleet(least=3)
    assert some.missing(running(1), cpus(1), 0.0) == ""
    text = "waits for 3 workers: 1 run. One takes 1 CPU; the nodes have room for 1"
    assert some.missing(running(1), cpus(1), SHORT_S) == text
    assert some.missing(running(1), cpus(1), SHORT_S + 1) == ""
    assert some.missing(running(3), cpus(4), 9.0) == ""
    assert some.missing([], {}, 10.0) == ""
    assert some.missing([], {}, 10.0 + SHORT_S).startswith("waits for 3 workers: 0 run")
    scaled = fleet(least=2, most=4, can_grow=True)
    scaled.missing([], {}, 0.0)
    assert scaled.missing([], {}, SHORT_S).endswith("room for 0; the autoscaler is asked for more")
