"""Several machines on one: Ray nodes in network namespaces, each with an address and processes of its own.

    with Machines(folder) as machines:
        head = machines.add(cpus=1)              # `ray start --head`, in the namespace that is the switch
        other = machines.add(cpus=2)
        machines.popen(["raysearch", "launch", ...], log)   # at the head's address
        other.cut(); other.freeze(); other.kill()

A node is a network namespace and a process namespace, so that killing its first process ends all that ran
there, as pulling the plug does. The first namespace holds a bridge that the others are plugged into; nothing
is connected to the machine's own network. Linux only, as root, with iproute2 and util-linux.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from raysearch.bench.support.contest import BenchError
from raysearch.bench.support.processes import (
    Process,
    child_of,
    namespace_of,
    pids,
    send,
    title_of,
    wait_until,
)

PREFIX = "rs4-"
PORT = 6379
RAY = {
    "RAY_AUTH_MODE": "disabled",  # nobody else can reach them, and nodes need no token of the user's
    # A node that is cut off is given up after some seconds in place of half a minute:
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount")
START_S = 300.0
STARTS = 4  # of a node that does not come up
STORE_BYTES = 80 * 2**20  # the least that Ray takes for its object store


@dataclass(frozen=True, slots=True)
class Socket:
    """Where a node is plugged in: the namespace of the switch, and the interface there."""

    switch: str
    name: str


class Machine:
    """A machine: made by `Machines.add`."""

    def __init__(
        self, name: str, address: str, socket: Socket, first: subprocess.Popen[bytes], log: Path
    ) -> None:
        self.name = name
        self.address = address
        self._socket = socket
        self._first = first
        self._log = log

    @property
    def is_alive(self) -> bool:
        """True while its first process runs."""
        return self._first.poll() is None

    @property
    def is_up(self) -> bool:
        """True once Ray runs on it."""
        return "Ray runtime started" in self._log.read_text(errors="replace")

    def said(self) -> str:
        """The end of what `ray start` printed."""
        return self._log.read_text(errors="replace")[-2000:]

    def processes(self) -> list[Process]:
        """Everything that runs there."""
        init = child_of(self._first.pid)
        home = namespace_of(init) if init is not None else None
        if home is None:
            return []
        return [Process(pid, title_of(pid)) for pid in pids() if namespace_of(pid) == home]

    def find(self, words: str) -> list[int]:
        """The pids of its processes whose title begins with `words`."""
        return [process.pid for process in self.processes() if process.title.startswith(words)]

    def cut(self) -> None:
        """Pulls the network cable."""
        _ip("-n", self._socket.switch, "link", "set", self._socket.name, "down")

    def heal(self) -> None:
        """Plugs it in again."""
        _ip("-n", self._socket.switch, "link", "set", self._socket.name, "up")

    def freeze(self) -> list[int]:
        """Stops every process; returns their pids, for `thaw`."""
        return [process.pid for process in self.processes() if send(process.pid, signal.SIGSTOP)]

    def kill(self) -> None:
        """Pulls the plug."""
        self._first.kill()
        self._first.wait()


@dataclass(slots=True)
class Machines:
    """A switch and what is plugged into it; all of it is gone when the block is left.

    Attributes:
        folder: for logs, and Ray's own files, by node; short, since Ray makes sockets in it.
        environment: of all nodes, beside that of this process.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: list[Machine] = field(default_factory=list)
    _key: str = ""
    _count: int = 0

    def __enter__(self) -> Machines:
        _sweep()
        self._key = f"{PREFIX}{os.getpid()}-{secrets.token_hex(1)}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()
        for name in namespaces():
            if name.startswith(self._key):
                _ip("netns", "del", name)  # the links in it go with it

    @property
    def head(self) -> Machine:
        """The first node."""
        return self.nodes[0]

    @property
    def address(self) -> str:
        """Of the cluster, for --address."""
        return f"{self._address(0)}:{PORT}"

    def find(self, words: str) -> list[int]:
        """The pids of the processes on all nodes whose title begins with `words`."""
        return [pid for node in self.nodes for pid in node.find(words)]

    def start(self, cpus: int) -> Machine:
        """Starts a node, the first one as the head, and does not wait for Ray on it to come up."""
        number, self._count = self._count, self._count + 1
        node = self._start(number, cpus)
        self.nodes.append(node)
        return node

    def add(self, cpus: int, seconds: float = START_S) -> Machine:
        """Starts a node; returns when Ray on it is up. Again where Ray gives up, as on a busy machine.

        Raises:
            BenchError: it does not come up.
        """
        for _ in range(STARTS):
            node = self.start(cpus)
            wait_until(lambda node=node: node.is_up or not node.is_alive, seconds)  # type: ignore[misc]
            if node.is_up:
                return node
            said = f"node {node.name} did not come up: {node.said()}"
            self.remove(node)
            self._count -= 1
        raise BenchError(said)

    def popen(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Starts a command at the head's address; what it prints goes to `log`. It outlives the head."""
        there = ["nsenter", f"--net=/run/netns/{self.head.name}", "--", *command]
        with log.open("ab") as file:
            return subprocess.Popen(there, stdout=file, stderr=subprocess.STDOUT, env=self._env())

    def replace_head(self, cpus: int) -> Machine:
        """A new cluster at the same place, after the death of the head; the other nodes are ended too."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes[1:]:
            _ip("netns", "del", node.name)
        _ip("netns", "del", self.head.name)
        self.nodes.clear()
        self._count = 0
        return self.add(cpus)

    def remove(self, node: Machine) -> None:
        """Takes a node that was killed out of the rack."""
        node.kill()
        self.nodes.remove(node)
        _ip("netns", "del", node.name)

    def _start(self, number: int, cpus: int) -> Machine:
        name, address = f"{self._key}-{number}", self._address(number)
        self._plug(number, name, address)
        place = self.folder / f"n{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        if number:
            role = [f"--address={self.address}"]
        ray = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            *role,
            f"--node-ip-address={address}",
            f"--num-cpus={cpus}",
            f"--object-store-memory={STORE_BYTES}",
            "--include-log-monitor=false",  # nobody reads the logs of workers at the driver's
            f"--temp-dir={place}",
            "--disable-usage-stats",
        ]
        leash = ["setpriv", "--pdeathsig", "KILL"]  # no node outlives this process
        shell = [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child=SIGKILL",
            "--mount-proc",
            "--propagation",
            "slave",
        ]
        log = self.folder / f"n{number}.log"
        with log.open("wb") as file:
            first = subprocess.Popen(
                [*leash, "ip", "netns", "exec", name, *shell, "--", *ray],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._env(),
            )
        return Machine(name, address, Socket(f"{self._key}-0", f"to-{number}"), first, log)

    def _plug(self, number: int, name: str, address: str) -> None:
        switch = f"{self._key}-0"
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        if not number:
            _ip("-n", name, "link", "add", "switch", "type", "bridge")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "switch")
            _ip("-n", name, "link", "set", "switch", "up")
            return
        plug = ["type", "veth", "peer", "name", "eth0", "netns", name]
        _ip("-n", switch, "link", "add", f"to-{number}", *plug)
        _ip("-n", switch, "link", "set", f"to-{number}", "master", "switch", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")

    def _address(self, number: int) -> str:
        return f"10.214.4.{number + 1}"

    def _env(self) -> dict[str, str]:
        """Without a proxy: it would be asked for the way to the other nodes, and cannot be reached."""
        here = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**here, **RAY, **self.environment}


def why_not() -> str:
    """Why no machines can be made here; empty if they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install iproute2 util-linux)"
    name = f"{PREFIX}{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        try:
            inside = ["unshare", "--pid", "--fork", "--mount-proc", "--propagation", "slave", "--", "true"]
            subprocess.run(["ip", "netns", "exec", name, *inside], check=True, capture_output=True)
            _ip("-n", name, "link", "add", "switch", "type", "bridge")
        finally:
            _ip("netns", "del", name)
    except (BenchError, subprocess.CalledProcessError) as error:
        return f"namespaces are not allowed here: {error}"
    return ""


def namespaces() -> list[str]:
    """The network namespaces that have a name."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line]


def _sweep() -> None:
    """Removes the namespaces and mounts of processes that were killed before they could."""
    for name in namespaces():
        if _is_stray(name):
            _ip("netns", "del", name)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, source = line.split()[4], line.partition(" - ")[2].split()[1]
        if _is_stray(source):
            _run("umount", "--lazy", place)


def _is_stray(name: str) -> bool:
    """True if the process that a name carries has ended."""
    owner = re.match(PREFIX + r"(\d+)-", name)
    return owner is not None and not Path("/proc", owner[1]).exists()


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """`folder` as a small file system of its own, which later mounts on it reach the nodes through."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", f"{PREFIX}{os.getpid()}-disk", str(folder))
    try:
        _run("mount", "--make-shared", str(folder))
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
