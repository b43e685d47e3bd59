"""What goes wrong in a cluster: kinds of faults, done to processes, nodes and the disk from outside."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raysearch.bench.support.machines import PREFIX, Machine, Machines
from raysearch.bench.support.processes import send, thaw

WORKER, COORDINATOR, RANK = "ray::ResourceTrainable", "ray::Coordinator", "ray::Rank"  # as Ray names them
BALLAST = "ballast"
LONG_S = 75.0  # longer than a silent worker is waited for

Undo = Callable[[], object]


@dataclass(slots=True)
class Scene:
    """What faults are done to.

    Attributes:
        disk: the small file system that the run lies on.
        rng: decides which process is hit, and for how long.
        driver: the process of the command; `head_is_dead` until a new cluster is there.
    """

    machines: Machines
    disk: Path
    rng: random.Random
    driver: subprocess.Popen[bytes]
    driver_was_killed: bool = False
    head_is_dead: bool = False

    @property
    def others(self) -> list[Machine]:
        """The nodes beside the head that are up."""
        return [node for node in self.machines.nodes[1:] if node.is_alive and node.is_up]

    def workers(self) -> list[int]:
        """The pids of the worker processes on all nodes."""
        return self.machines.find(WORKER)

    def ranks(self) -> list[int]:
        """The pids of the processes of workers that train with several."""
        return self.machines.find(RANK)

    def coordinator(self) -> list[int]:
        """The pid of the coordinator, if it lives."""
        return self.machines.head.find(COORDINATOR)


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that happened: to whom, for how long, and what ends it (None where it ends by itself)."""

    to: str
    seconds: float = 0.0
    undo: Undo | None = None


Fault = Callable[[Scene], Done | None]  # None: no process could be hit


def kill_worker(scene: Scene) -> Done | None:
    """kill -9 of a worker."""
    return _kill(scene, scene.workers())


def kill_rank(scene: Scene) -> Done | None:
    """kill -9 of one of the processes that train a trial together."""
    return _kill(scene, scene.ranks())


def kill_coordinator(scene: Scene) -> Done | None:
    """kill -9 of the coordinator."""
    return _kill(scene, scene.coordinator())


def kill_raylet(scene: Scene) -> Done | None:
    """kill -9 of the raylet of a node, with which the node goes."""
    return _kill(scene, [pid for node in scene.others for pid in raylet(node)])


def kill_node(scene: Scene) -> Done | None:
    """A node's plug is pulled."""
    if not scene.others:
        return None
    node = scene.rng.choice(scene.others)
    node.kill()
    return Done(node.address)


def kill_driver(scene: Scene) -> Done | None:
    """kill -9 of the command."""
    scene.driver_was_killed = True
    scene.driver.kill()
    scene.driver.wait()
    return Done("driver")


def kill_head(scene: Scene) -> Done | None:
    """kill -9 of the raylet of the head: the cluster is gone."""
    scene.head_is_dead = True
    return _kill(scene, raylet(scene.machines.head))


def freeze_head(scene: Scene) -> Done | None:
    """What keeps the cluster together (GCS, on the head) takes calls for some seconds, and answers none."""
    return _freeze(scene, _daemon(scene.machines.head, "gcs_server"), scene.rng.uniform(1.0, 30.0))


def freeze_worker(scene: Scene) -> Done | None:
    """A worker stops for some seconds; sometimes for so long that it is given up."""
    pids = scene.workers()
    seconds = LONG_S if scene.rng.random() < 0.1 else scene.rng.uniform(1.0, 10.0)
    return _freeze(scene, pids, seconds)


def freeze_rank(scene: Scene) -> Done | None:
    """One of the processes that train a trial together stops; often for so long that it is given up."""
    seconds = LONG_S if scene.rng.random() < 0.3 else scene.rng.uniform(1.0, 15.0)
    return _freeze(scene, scene.ranks(), seconds)


def freeze_coordinator(scene: Scene) -> Done | None:
    """The coordinator stops for some seconds."""
    return _freeze(scene, scene.coordinator(), scene.rng.uniform(1.0, 15.0))


def freeze_node(scene: Scene) -> Done | None:
    """A whole node stops for some seconds, and may be given up meanwhile."""
    if not scene.others:
        return None
    node = scene.rng.choice(scene.others)
    pids = node.freeze()
    return Done(node.address, scene.rng.uniform(1.0, 12.0), lambda: thaw(pids))


def cut_node(scene: Scene) -> Done | None:
    """A node's network is gone for some seconds, while it works on."""
    if not scene.others:
        return None
    node = scene.rng.choice(scene.others)
    node.cut()
    return Done(node.address, scene.rng.uniform(1.0, 15.0), lambda: _heal(scene, node))


def fill_disk(scene: Scene) -> Done | None:
    """The disk is full for some seconds."""
    ballast = scene.disk / BALLAST
    if _is_bad(scene.disk):
        return None
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass  # that is what it is for
    return Done("disk", scene.rng.uniform(1.0, 8.0), lambda: ballast.unlink(missing_ok=True))


def lose_disk(scene: Scene) -> Done | None:
    """The disk's files are out of reach for some seconds: another, empty and read-only, lies over it."""
    if _is_bad(scene.disk):
        return None
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", f"{PREFIX}{os.getpid()}-nothing", str(scene.disk)], check=True
    )
    uncover = ["umount", "--lazy", str(scene.disk)]
    return Done("disk", scene.rng.uniform(1.0, 8.0), lambda: subprocess.run(uncover, check=True))


def fail_writes(scene: Scene) -> Done | None:
    """Every write of the coordinator to a file fails for some seconds."""
    pids = scene.coordinator()
    if not pids:
        return None
    _, hard = resource.prlimit(pids[0], resource.RLIMIT_FSIZE)
    resource.prlimit(pids[0], resource.RLIMIT_FSIZE, (0, hard))
    return Done("coordinator", scene.rng.uniform(1.0, 8.0), lambda: _allow_writes(pids[0], hard))


def raylet(node: Machine) -> list[int]:
    """The pid of a node's raylet, if it is up."""
    return _daemon(node, "raylet")


def _daemon(node: Machine, name: str) -> list[int]:
    return [process.pid for process in node.processes() if process.title.split(" ")[0].endswith(f"/{name}")]


FAULTS: dict[str, tuple[float, Fault]] = {  # how often each comes, beside the others that can
    "kill worker": (5.0, kill_worker),
    "kill rank": (5.0, kill_rank),
    "kill coordinator": (3.0, kill_coordinator),
    "kill raylet of a node": (1.0, kill_raylet),
    "kill node": (0.5, kill_node),
    "kill driver": (1.0, kill_driver),
    "kill head": (0.2, kill_head),
    "freeze head": (0.5, freeze_head),
    "freeze worker": (2.0, freeze_worker),
    "freeze rank": (3.0, freeze_rank),
    "freeze coordinator": (1.0, freeze_coordinator),
    "freeze node": (1.0, freeze_node),
    "cut node": (1.5, cut_node),
    "full disk": (1.0, fill_disk),
    "disk out of reach": (1.0, lose_disk),
    "writes fail": (1.0, fail_writes),
}


def _kill(scene: Scene, pids: list[int]) -> Done | None:
    if not pids:
        return None
    pid = scene.rng.choice(sorted(pids))
    return Done(f"pid {pid}") if send(pid, signal.SIGKILL) else None


def _freeze(scene: Scene, pids: list[int], seconds: float) -> Done | None:
    if not pids:
        return None
    pid = scene.rng.choice(sorted(pids))
    return Done(f"pid {pid}", seconds, lambda: thaw([pid])) if send(pid, signal.SIGSTOP) else None


def _heal(scene: Scene, node: Machine) -> None:
    if node in scene.machines.nodes:  # not taken out of the rack meanwhile
        node.heal()


def _is_bad(disk: Path) -> bool:
    """True while it is full or out of reach: one of these at a time."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return mounts.count(str(disk)) > 1 or (disk / BALLAST).exists()


def _allow_writes(pid: int, hard: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    except ProcessLookupError:
        return  # a new one has no such limit
