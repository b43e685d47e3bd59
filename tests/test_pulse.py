"""Which nodes answer, and where groups are placed meanwhile."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from ports import free_port
from ray.util.placement_group import placement_group_table, remove_placement_group
from waiting import PATIENCE_S, wait_for

from raysearch.cluster.node_health import Addresses, Placement, Pulse, answering, raylets


@pytest.fixture
def mute() -> Iterator[tuple[str, int]]:
    """Where connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@contextlib.contextmanager
def hanging_up() -> Iterator[tuple[str, int]]:
    """Where connections are taken and closed at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # when it ends
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)


@pytest.fixture
def pulse() -> Iterator[Callable[[Callable[[], Addresses]], Pulse]]:
    """Starts one that knocks until the test has ended."""
    started: list[Pulse] = []

    def start(look: Callable[[], Addresses]) -> Pulse:
        started.append(Pulse(look))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.usefixtures("ray_cluster")
def test_a_raylet_answers_and_what_is_mute_or_not_there_does_not(mute: tuple[str, int]) -> None:
    there = raylets()
    others = {"mute": mute, "gone": ("127.0.0.1", free_port())}
    said: list[set[str]] = []

    def all_there_answer() -> bool:  # a busy machine may be slow to answer once
        said.append(answering({**there, **others}, 2.0))
        return said[-1] == {*there}

    wait_for(all_there_answer, saw=lambda: said)
    assert set().union(*said) == {*there}


def test_whoever_hangs_up_is_there(
    mute: tuple[str, int], pulse: Callable[[Callable[[], Addresses]], Pulse]
) -> None:
    with hanging_up() as address:
        beats = pulse(lambda: {"closes": address, "mute": mute})
        wait_for(lambda: beats.silent == {"mute": mute[0]}, saw=lambda: beats.silent)


def test_it_is_said_once_that_a_node_fell_silent_and_that_it_answers_again(
    mute: tuple[str, int], pulse: Callable[[Callable[[], Addresses]], Pulse]
) -> None:
    there = {"node": mute}
    beats = pulse(lambda: there)
    wait_for(lambda: beats.silent)
    assert beats.changes() == ({"node": mute[0]}, [])
    assert beats.changes() == ({}, [])
    with hanging_up() as address:
        there["node"] = address
        wait_for(lambda: not beats.silent)
        assert beats.changes() == ({}, ["node"])
        assert beats.changes() == ({}, [])
    wait_for(lambda: beats.silent)
    assert beats.changes() == ({"node": mute[0]}, [])
    there.clear()  # Ray gave it up
    wait_for(lambda: not beats.silent)
    assert beats.changes() == ({}, [])


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_is_placed_on_a_silent_node_also_after_tune_has_pickled_the_request() -> None:
    beats = Pulse(dict)
    request = pickle.loads(pickle.dumps(Placement([{"CPU": 1.0}], "PACK", beats)))
    beats._silent = dict.fromkeys(raylets(), "127.0.0.1")
    held_back = request.to_placement_group()
    beats._silent = {"another": "10.0.0.2"}
    placed = request.to_placement_group()
    assert placed.wait(PATIENCE_S)  # Ray places them one after the other: the first one has been looked at
    assert placement_group_table(held_back)["state"] == "PENDING"
    for group in (held_back, placed):
        remove_placement_group(group)
