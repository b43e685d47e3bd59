"""Which nodes answer: we connect to each raylet every second, and know a dead node long before Ray does.

Ray's head places placement groups one after the other, and waits without a limit for the node on which it
places one. A node that hangs or is cut off, and that Ray still takes for alive (for 15 to 90 s), therefore
holds up every later group, also those that would fit elsewhere. Ray cannot cancel such a group, so we place
none on a node that does not answer.

A raylet is a gRPC server, which sends HTTP/2 settings to every client that connects. A stopped one does
not, though its kernel may still accept the connection.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.tune import PlacementGroupFactory
from ray.util.placement_group import PlacementGroup, placement_group

KNOCK_S = 1.0  # between two rounds
SILENT_S = 3.0  # a node that has not answered for so long gets no new workers
AT_ONCE = 256  # connections of a round that are open at the same time
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and empty settings
NODE_ID = "ray.io/node-id"  # a label that every node has

Addresses = Mapping[str, tuple[str, int]]


class Pulse:
    """Connects to every node each second, in a thread of its own, until it is stopped."""

    def __init__(self, look: Callable[[], Addresses] | None = None) -> None:
        """Knows nothing yet; `look` says where the raylets of the nodes listen, by node id."""
        self._look = look or raylets
        self._addresses: Addresses = {}
        self._heard: dict[str, float] = {}
        self._silent: dict[str, str] = {}
        self._told: set[str] = set()
        self._over = threading.Event()
        self._news = threading.Condition()
        self._is_known = False
        self._key = uuid.uuid4().hex
        _LIVING[self._key] = self

    def __reduce__(self) -> tuple[Callable[[str], Pulse], tuple[str]]:
        """Tune pickles requests and reads them again in this process: there it is this very one."""
        return _living, (self._key,)

    @property
    def silent(self) -> Mapping[str, str]:
        """Nodes that do not answer: id -> address."""
        return self._silent

    def changes(self) -> tuple[dict[str, str], list[str]]:
        """(id -> address of nodes that fell silent, ids of those that answer again) since the last call."""
        silent, there = self._silent, self._addresses
        fallen = {node: address for node, address in silent.items() if node not in self._told}
        back = [node for node in self._told if node not in silent and node in there]
        self._told = {*silent}
        return fallen, back

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._knock, daemon=True, name="pulse").start()

    def stop(self) -> None:
        """Ends the thread."""
        self._over.set()

    def settle(self) -> None:
        """Waits until each node has answered, or its time is up."""
        with self._news:
            self._news.wait_for(lambda: self._is_known, 2 * SILENT_S)

    def _knock(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # Ray may be away for a while; the next round asks again
                self._addresses = self._look()
            began = time.monotonic()
            answered = answering(self._addresses, SILENT_S)
            now = time.monotonic()
            if now - began > 2 * SILENT_S:  # this process slept: no fault of the nodes
                continue
            self._heard = {n: now if n in answered else self._heard.get(n, began) for n in self._addresses}
            self._silent = {
                node: self._addresses[node][0]
                for node, heard in self._heard.items()
                if node not in answered and now - heard >= SILENT_S
            }
            with self._news:
                self._is_known = True
                self._news.notify_all()
            self._over.wait(KNOCK_S)


_LIVING: weakref.WeakValueDictionary[str, Pulse] = weakref.WeakValueDictionary()


def _living(key: str) -> Pulse:
    """The Pulse of this process; in another process a new one without nodes."""
    return _LIVING.get(key) or Pulse()


class Placement(PlacementGroupFactory):  # type: ignore[misc]
    """A request for a worker's share on nodes that answer, as far as is known when it is made."""

    def __init__(self, bundles: list[dict[str, float]], strategy: str, pulse: Pulse) -> None:
        super().__init__(bundles, strategy=strategy)
        self._pulse = pulse

    def to_placement_group(self) -> PlacementGroup:
        """The group; Tune asks for it whenever a worker is started, again too."""
        if not (silent := sorted(self._pulse.silent)):
            return super().to_placement_group()
        elsewhere = {NODE_ID: f"!in({','.join(silent)})"}
        return placement_group(
            self.bundles, self.strategy, bundle_label_selector=[elsewhere] * len(self.bundles)
        )


def raylets() -> Addresses:
    """Addresses of the raylets of the nodes that Ray takes for alive, by node id."""
    return {
        node["NodeID"]: (node["NodeManagerAddress"], node["NodeManagerPort"])
        for node in ray.nodes()
        if node["Alive"]
    }


def answering(addresses: Addresses, seconds: float) -> set[str]:
    """Those where something says a word, or hangs up, within so many seconds."""
    names = list(addresses)
    found: set[str] = set()
    for begin in range(0, len(names), AT_ONCE):
        found |= _answering({name: addresses[name] for name in names[begin : begin + AT_ONCE]}, seconds)
    return found


def _answering(addresses: Addresses, seconds: float) -> set[str]:
    found: set[str] = set()
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as open_ones, selectors.DefaultSelector() as selector:
        for name, (host, port) in addresses.items():
            wire = open_ones.enter_context(socket.socket(_family(host)))
            wire.setblocking(False)
            with contextlib.suppress(OSError):  # under way, or refused, which shows below
                wire.connect((host, port))
            selector.register(wire, selectors.EVENT_WRITE, name)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                _go_on(selector, key, found)
    return found


def _go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey, found: set[str]) -> None:
    """The next step of one connection: send the preface once it is open, and note an answer."""
    wire: Any = key.fileobj
    try:
        if key.events & selectors.EVENT_WRITE:
            wire.send(GREETING)
            selector.modify(wire, selectors.EVENT_READ, key.data)
            return
        wire.recv(1)
    except ConnectionResetError:
        pass  # closed by the other side, so a process is there
    except OSError:  # refused, or no route
        selector.unregister(wire)
        return
    found.add(key.data)
    selector.unregister(wire)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
