"""The coordinator's door: turns come in, strangers do not, and whatever breaks, calls go on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pickle
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from waiting import PATIENCE_S, wait_for

from raysearch.engine.messages import Reply, Turn
from raysearch.executors.tune import frames
from raysearch.executors.tune import socket_link as module
from raysearch.executors.tune.frames import HEAD, MOST_BYTES, Frames, Kind
from raysearch.executors.tune.socket_link import (
    NONCE_BYTES,
    Address,
    DoorLink,
    is_allowed,
    knock,
    open_door,
)


class Calls:
    """In the place of actor calls; answers with a bar that says so."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def send(self, turn: Turn) -> Any:
        self.turns.append(turn)

        class Said:
            def ready(self) -> bool:
                return True

            def get(self) -> Reply:
                return Reply(bars={0: -1.0})

        return Said()


class Served:
    """A door in a thread of its own, with an exchange that can be told what to do."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.cancelled = threading.Event()
        self.act: Callable[[Turn], Awaitable[Reply]] = self._reply
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(
            open_door("127.0.0.1", self._exchange), self.loop
        ).result(PATIENCE_S)

    async def _exchange(self, turn: Turn) -> Reply:
        self.turns.append(turn)
        return await self.act(turn)

    async def _reply(self, turn: Turn) -> Reply:
        return Reply(bars={turn.want: 0.5})

    async def hang(self, turn: Turn) -> Reply:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Reply()

    def close(self) -> None:
        async def cancel() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel(), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(module, "CONNECT_S", PATIENCE_S)  # a busy machine opens a door late
    monkeypatch.setattr(module, "LINGER_S", PATIENCE_S)
    found = Served()
    yield found
    found.close()


def test_turns_come_in_through_the_door_one_after_the_other(served: Served) -> None:
    calls = Calls()
    link = DoorLink(lambda: served.address, calls)
    for want in range(1, 30):
        assert link.send(Turn("w", want=want)).get() == Reply(bars={want: 0.5})
    assert [turn.want for turn in served.turns] == [*range(1, 30)]
    assert calls.turns == []
    link.hang_up()


def test_a_large_turn_is_taken_in_whole(served: Served) -> None:
    link = DoorLink(lambda: served.address, Calls())
    holding = tuple(range(1_000_000))
    answer = link.send(Turn("w", want=1, holding=holding))
    assert answer.get().bars == {1: 0.5}
    assert served.turns[0].holding == holding
    link.hang_up()


def test_nobody_who_does_not_know_the_token_comes_in(served: Served) -> None:
    wrong = dataclasses.replace(served.address, token=b"x" * NONCE_BYTES)
    with pytest.raises(OSError, match=r"closed|reset"):
        knock(wrong)
    with socket.create_connection((served.address.host, served.address.port)) as wire:
        wire.settimeout(PATIENCE_S)
        wire.recv(NONCE_BYTES)
        wire.sendall(frame(Turn("w", want=1)))  # without a proof; never unpickled
        with contextlib.suppress(ConnectionResetError):
            assert wire.recv(1) == b""
    assert served.turns == []


def test_visitors_that_prove_nothing_take_no_more_than_so_many_files_and_workers_still_come_in(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRANGERS", 3)
    silent = []
    for _ in range(5):
        wire = socket.create_connection((served.address.host, served.address.port))
        wire.settimeout(PATIENCE_S)
        assert len(wire.recv(NONCE_BYTES)) == NONCE_BYTES
        silent.append(wire)
    link = DoorLink(lambda: served.address, Calls())
    for _ in range(3):
        assert link.send(Turn("w", want=2)).get() == Reply(bars={2: 0.5})
    for wire in silent[:3]:  # two by the last two, and one by the worker
        with contextlib.suppress(ConnectionResetError):
            assert wire.recv(1) == b""
    for wire in silent[3:]:
        wire.setblocking(False)
        with pytest.raises(BlockingIOError):
            wire.recv(1)
        wire.close()
    link.hang_up()


def test_a_worker_does_not_unpickle_what_an_impostor_sends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1], b"t" * NONCE_BYTES)

        def impostor() -> None:
            wire, _ = server.accept()
            wire.sendall(b"n" * NONCE_BYTES)
            wire.recv(2 * NONCE_BYTES)
            wire.sendall(b"p" * NONCE_BYTES + frame(Reply(stop=True)))
            wire.close()

        thread = threading.Thread(target=impostor)
        thread.start()
        calls = Calls()
        assert DoorLink(lambda: address, calls).send(Turn("w")).get().bars == {0: -1.0}
        assert len(calls.turns) == 1
        thread.join(PATIENCE_S)


def test_an_exchange_whose_door_closes_is_asked_again_by_a_call_and_dropped_at_the_coordinator(
    served: Served,
) -> None:
    served.act = served.hang
    calls = Calls()
    link = DoorLink(lambda: served.address, calls)
    answer = link.send(Turn("w", want=7))
    assert link._wire is not None
    wait_for(lambda: served.turns)  # it has come in, and hangs
    assert not answer.ready()
    link._wire.socket.shutdown(socket.SHUT_RDWR)
    assert answer.ready()
    assert answer.get().bars == {0: -1.0}
    assert [turn.want for turn in calls.turns] == [7]
    assert served.cancelled.wait(PATIENCE_S)


def test_a_turn_while_the_one_before_is_not_answered_goes_by_a_call(served: Served) -> None:
    served.act = served.hang
    calls = Calls()
    link = DoorLink(lambda: served.address, calls)
    first = link.send(Turn("w", want=1))
    wait_for(lambda: served.turns)  # it has come in, and hangs
    assert link.send(Turn("w", want=2)).get().bars == {0: -1.0}
    assert not first.ready()
    assert [turn.want for turn in calls.turns] == [2]
    link.hang_up()
    assert served.cancelled.wait(PATIENCE_S)


def test_an_exchange_that_raises_is_asked_again_by_a_call_which_says_why(served: Served) -> None:
    async def wrong(turn: Turn) -> Reply:
        raise RuntimeError("a defect")

    served.act = wrong
    served.loop.set_exception_handler(lambda loop, context: None)
    calls = Calls()
    link = DoorLink(lambda: served.address, calls)
    assert link.send(Turn("w", want=3)).get().bars == {0: -1.0}
    assert [turn.want for turn in calls.turns] == [3]


def test_a_reply_that_never_comes_is_not_waited_for_for_ever(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    served.act = served.hang
    answer = DoorLink(lambda: served.address, Calls()).send(Turn("w"))
    wait_for(lambda: served.turns)  # it has come in, and hangs
    assert answer.get().bars == {0: -1.0}
    assert served.cancelled.wait(PATIENCE_S)


def test_where_no_door_can_be_reached_turns_go_by_calls_and_it_is_not_tried_each_time() -> None:
    asked: list[int] = []

    def find() -> Address | None:
        asked.append(1)
        return Address("127.0.0.1", 1, b"") if len(asked) == 1 else None

    calls = Calls()
    link = DoorLink(find, calls)
    for _ in range(5):
        link.send(Turn("w")).get()
    assert (len(asked), len(calls.turns)) == (1, 5)


def test_after_the_coordinator_started_again_the_new_door_is_used(served: Served) -> None:
    doors = [served.address]
    calls = Calls()
    link = DoorLink(lambda: doors[-1], calls)
    link.send(Turn("w", want=1)).get()
    again = Served()
    doors.append(again.address)
    assert link._wire is not None
    link._wire.socket.shutdown(socket.SHUT_RDWR)
    link.send(Turn("w", want=2)).get()
    assert link.send(Turn("w", want=3)).get().bars == {3: 0.5}
    assert [turn.want for turn in again.turns] == [3]
    link.hang_up()
    again.close()


@pytest.mark.parametrize(("value", "allowed"), [("", True), ("0", True), ("1", False), ("yes", False)])
def test_a_door_is_not_opened_where_ray_encrypts(
    value: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", value)
    assert is_allowed() is allowed


def both(kind: Kind = Kind.TURN) -> tuple[Frames, Frames]:
    return Frames(kind, b"t", b"n"), Frames(kind, b"t", b"n")


def frame(value: Any) -> bytes:
    """A frame of somebody who does not know the token."""
    return Frames(Kind.TURN, b"?", b"?").packed(value)


def test_frames_come_out_as_they_went_in_one_after_the_other() -> None:
    ours, theirs = both()
    for value in ({"a": 1}, "b", [*range(1000)]):
        sent = ours.packed(value)
        assert theirs.length(sent) == len(sent) - HEAD.size
        assert theirs.opened(sent, sent[HEAD.size :]) == value


def test_a_frame_that_is_changed_repeated_left_out_or_turned_round_is_not_unpickled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, _ = both()
    first, second = ours.packed("one"), ours.packed("two")
    monkeypatch.setattr(pickle, "loads", lambda data: pytest.fail("unpickled"))
    rng = random.Random(1)
    for _ in range(200):
        wrong = bytearray(first)
        wrong[rng.randrange(HEAD.size - 16, len(wrong))] ^= 1 << rng.randrange(8)
        with pytest.raises(ConnectionAbortedError, match="changed on its way"):
            both()[1].opened(wrong, wrong[HEAD.size :])
    for kind, sent in ((Kind.TURN, second), (Kind.REPLY, first)):  # the first is missing; an echo
        with pytest.raises(ConnectionAbortedError, match="changed on its way"):
            both(kind)[1].opened(sent, sent[HEAD.size :])
    for head in (HEAD.pack(b"turn", MOST_BYTES + 1, b"x" * 16), HEAD.pack(b"GET ", 9, b"x" * 16)):
        with pytest.raises(ConnectionAbortedError, match="no frame"):
            both()[1].length(head)


def closes(wire: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return wire.recv(1) == b""
    return True


@pytest.mark.parametrize("what", ["changed", "long", "no turn", "two at once"])
def test_a_worker_that_sends_what_is_no_turn_is_dropped_and_others_go_on(served: Served, what: str) -> None:
    wire = knock(served.address)
    sent = bytearray(wire.turns.packed("text" if what == "no turn" else Turn("w", want=1)))
    if what == "changed":
        sent[-1] ^= 1
    if what == "long":
        sent[: HEAD.size] = HEAD.pack(b"turn", MOST_BYTES + 1, b"x" * 16)
    if what == "two at once":
        sent += wire.turns.packed(Turn("w", want=2))
    wire.socket.settimeout(PATIENCE_S)
    wire.socket.sendall(sent)
    assert closes(wire.socket)
    assert served.turns == []
    link = DoorLink(lambda: served.address, Calls())
    assert link.send(Turn("w", want=5)).get().bars == {5: 0.5}
    link.hang_up()
    wire.socket.close()


def test_a_worker_that_never_ends_its_frame_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_S", 0.2)
    wire = knock(served.address)
    wire.socket.settimeout(PATIENCE_S)
    wire.socket.sendall(wire.turns.packed(Turn("w", want=1))[:-1])
    assert closes(wire.socket)
    assert served.turns == []
    wire.socket.close()


def test_a_turn_that_is_too_large_for_a_frame_goes_by_a_call_and_the_next_through_the_door(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 10_000)
    calls = Calls()
    link = DoorLink(lambda: served.address, calls)
    assert link.send(Turn("w", want=1)).get().bars == {1: 0.5}
    assert link.send(Turn("w", holding=tuple(range(10_000)))).get().bars == {0: -1.0}
    assert link.send(Turn("w", want=2)).get().bars == {2: 0.5}
    link.hang_up()
