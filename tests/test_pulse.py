"""Which nodes answer, and where groups are placed meanwhile."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator

import pytest
from ray.util.placement_group import placement_group_table, remove_placement_group
from waiting import wait_for

from raysearch.cluster.node_health import Placement, Pulse, answering, raylets


@pytest.fixture
def mute() -> Iterator[tuple[str, int]]:
    """Where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.usefixtures("ray_cluster")
def test_a_raylet_answers_and_what_is_mute_or_not_there_does_not(mute: tuple[str, int]) -> None:
    there = raylets()
    others = {"mute": mute, "gone": ("127.0.0.1", free_port())}
    assert answering({**there, **others}, 2.0) == {*there}


def test_whoever_hangs_up_is_there(mute: tuple[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def hang_up() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        beats = Pulse(lambda: {"closes": server.getsockname(), "mute": mute})
        beats.start()
        wait_for(hang_up)
        wait_for(lambda: beats.silent)
        beats.stop()
    assert beats.silent == {"mute": mute[0]}


def test_it_is_said_once_that_a_node_fell_silent_and_that_it_answers_again(mute: tuple[str, int]) -> None:
    there = {"node": mute}
    beats = Pulse(lambda: there)
    beats.start()
    beats.settle()
    assert beats.changes() == ({"node": mute[0]}, [])
    assert beats.changes() == ({}, [])
    there["node"] = ("127.0.0.1", free_port())
    with socket.create_server(there["node"]) as server:
        wait_for(lambda: server.accept()[0].close() or not beats.silent)
        assert beats.changes() == ({}, ["node"])
        assert beats.changes() == ({}, [])
    wait_for(lambda: beats.silent)
    assert beats.changes() == ({"node": mute[0]}, [])
    there.clear()  # Ray gave it up
    wait_for(lambda: not beats.silent)
    assert beats.changes() == ({}, [])
    beats.stop()


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_is_placed_on_a_silent_node_also_after_tune_has_pickled_the_request() -> None:
    beats = Pulse(dict)
    request = pickle.loads(pickle.dumps(Placement([{"CPU": 1.0}], "PACK", beats)))
    beats._silent = dict.fromkeys(raylets(), "127.0.0.1")
    held_back = request.to_placement_group()
    beats._silent = {"another": "10.0.0.2"}
    placed = request.to_placement_group()
    assert placed.wait(60)  # Ray places them one after the other: the first one has been looked at
    assert placement_group_table(held_back)["state"] == "PENDING"
    for group in (held_back, placed):
        remove_placement_group(group)
