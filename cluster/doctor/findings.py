"""Facts about a cluster -> what they mean for a search, and what to do. Pure: no Ray, no clock, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from raysearch.cluster.doctor.facts import ClusterFacts, NodeFacts
from raysearch.cluster.versions import differences
from raysearch.core.version import install

MIB, GIB = 2**20, 2**30
DISK_FEW = GIB
RAY_FULL = 0.95  # of a disk: then Ray puts no objects on it any more
FILES_LEAST, FILES_FEW = 1024, 8192
MEMORY_FEW = GIB
CLOCK_OFF_S, CLOCK_REFUSED_S = 5.0, 900.0  # object stores refuse requests of a clock that is 15 minutes off
PAIRS_SHOWN = 3  # of nodes that cannot talk
NAMED = 3  # nodes that a sentence names


class Severity(str, Enum):
    """How much a finding matters: `fatal` keeps a search from running, `warning` may cost it something."""

    good = "good"
    warning = "warning"
    fatal = "fatal"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found: about what, in words, and what to do about it ("" where nothing is)."""

    level: Severity
    about: str
    text: str
    do: str = ""


def judge(facts: ClusterFacts) -> list[Finding]:
    """All findings, the good ones too, in the order in which they are read."""
    return [finding for check in _CHECKS for finding in check(facts)]


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Those that are not good, the fatal ones first."""
    bad = [finding for finding in findings if finding.level is not Severity.good]
    return sorted(bad, key=lambda finding: finding.level is not Severity.fatal)


def is_fatal(findings: Iterable[Finding]) -> bool:
    """Whether a search could not run."""
    return any(finding.level is Severity.fatal for finding in findings)


# ---- the checks


def _nodes(facts: ClusterFacts) -> Iterator[Finding]:
    gpus = facts.total("GPU")
    kinds = sorted({name.partition(":")[2] for n in facts.nodes for name in n.resources if "_type:" in name})
    of_kind = f" ({', '.join(kinds)})" if kinds else ""
    count = len(facts.nodes)
    text = f"{_count(count, 'node')}, {facts.total('CPU'):g} CPUs, {gpus:g} GPUs{of_kind}"
    yield Finding(Severity.good, "nodes", text)
    there = count + len(facts.silent)
    if facts.expected is not None and there < facts.expected:
        yield Finding(
            Severity.fatal,
            "nodes",
            f"{there} of {facts.expected} nodes have joined",
            "look into the output of the others' `ray start`: can they reach the head's port?",
        )
    for name, why in facts.silent.items():
        yield Finding(
            Severity.warning,
            "nodes",
            f"{name} has not answered within {facts.waited_s:g} s ({why})",
            "see whether it is overloaded or cut off (ray status); its workers would hang as well",
        )


def _room(facts: ClusterFacts) -> Iterator[Finding]:
    if facts.no_room:
        yield Finding(Severity.fatal, "room", facts.no_room)
    elif facts.worker:
        text = f"{_count(facts.room, 'worker')} at once, each with {facts.worker}"
        yield Finding(Severity.good, "room", text)


def _versions(facts: ClusterFacts) -> Iterator[Finding]:
    missing = [node for node in facts.nodes if "raysearch" not in node.versions]
    if missing:
        yield Finding(
            Severity.fatal,
            "versions",
            f"raysearch is not installed on {_names(missing)}",
            f"install version {facts.here['raysearch']} there ({install()}), or use an image that has it",
        )
    groups: dict[tuple[str, str], list[NodeFacts]] = {}
    for node in facts.nodes:
        for difference in differences(node.versions, facts.here).items():
            groups.setdefault(difference, []).append(node)
    for (package, text), nodes in groups.items():
        level = Severity.warning if package == "python" else Severity.fatal
        yield Finding(
            level,
            "versions",
            f"{_names(nodes)}: {text}",
            "install the same version on all nodes; or, if only this machine differs, --submit the search",
        )
    if not missing and not groups:
        said = facts.here
        yield Finding(
            Severity.good,
            "versions",
            f"raysearch {said['raysearch']}, Ray {said['ray']}, Python {said['python']} everywhere",
        )


def _trainable(facts: ClusterFacts) -> Iterator[Finding]:
    if not facts.has_trainable:
        return
    groups: dict[str, list[NodeFacts]] = {}
    for node in facts.nodes:
        if node.trainable:
            groups.setdefault(node.trainable, []).append(node)
    for error, nodes in groups.items():
        yield Finding(
            Severity.fatal,
            "trainable",
            f"it cannot be loaded on {_names(nodes)}: {error}",
            "install what it imports there, or send it along: --submit with --pip or --py-module",
        )
    if not groups:
        yield Finding(Severity.good, "trainable", "it can be loaded on every node")


def _storage(facts: ClusterFacts) -> Iterator[Finding]:
    if facts.storage is None:
        return
    if facts.storage_error:
        text = f"{facts.storage} cannot be written from here: {facts.storage_error}"
        yield Finding(Severity.fatal, "storage", text, "make it writable, or give another storage")
        return
    seen = [(node, node.storage) for node in facts.nodes if node.storage is not None]
    broken = [(node, s) for node, s in seen if s.error is not None]
    for node, storage in broken:
        yield Finding(
            Severity.fatal,
            "storage",
            f"{facts.storage} cannot be used on {node.name}: {storage.error}",
            "give that node the rights or the key for it (a role, AWS_* variables), or another storage",
        )
    apart = [node for node, s in seen if s.error is None and not (s.reads and s.is_read)]
    if apart:
        yield Finding(
            Severity.fatal,
            "storage",
            f"{facts.storage} on {_names(apart)} is another place than here: files written on one are not "
            "found on the other",
            "use a folder that all nodes mount (NFS), or a store: storage: s3://bucket/runs",
        )
    few = [(node, s.free) for node, s in seen if s.free is not None and s.free < DISK_FEW]
    if few:
        node, free = min(few, key=lambda pair: pair[1])
        yield Finding(
            Severity.warning,
            "storage",
            f"{facts.storage} has {_bytes(free)} left (seen from {node.name})",
            "make room, or set `quota:` for checkpoints in the spec; where it is full, a search ends",
        )
    if not broken and not apart:
        yield Finding(Severity.good, "storage", f"{facts.storage} is the same place from every node")


def _clocks(facts: ClusterFacts) -> Iterator[Finding]:
    off = [(node, skew) for node in facts.nodes if (skew := _skew(node.clock_s))]
    is_store = facts.storage is not None and "://" in facts.storage
    for node, skew in off:
        refused = is_store and abs(skew) > CLOCK_REFUSED_S
        yield Finding(
            Severity.fatal if refused else Severity.warning,
            "clock",
            f"{node.name} is at least {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
            "set its clock (chronyc makestep, or systemctl restart systemd-timesyncd)"
            + ("; the store refuses requests that are 15 minutes off" if refused else ""),
        )
    if not off and len(facts.nodes) > 1:
        yield Finding(Severity.good, "clock", f"no clock is seen to be off by more than {CLOCK_OFF_S:g} s")


def _disks(facts: ClusterFacts) -> Iterator[Finding]:
    for node in facts.nodes:
        free, total = node.disk
        if total and free < DISK_FEW:
            text = f"{node.name} has {_bytes(free)} left for Ray's files"
            yield Finding(Severity.warning, "disk", text, "make room, or start Ray with --temp-dir elsewhere")
        elif total and 1 - free / total > RAY_FULL:
            yield Finding(
                Severity.warning,
                "disk",
                f"{node.name}: the disk with Ray's files is {1 - free / total:.0%} full "
                f"({_bytes(free)} left); above 95% Ray puts no objects there",
                "make room, or start Ray with --temp-dir on a larger disk",
            )


def _limits(facts: ClusterFacts) -> Iterator[Finding]:
    few = [node for node in facts.nodes if node.open_files < FILES_FEW]
    if few:
        least = min(node.open_files for node in few)
        yield Finding(
            Severity.fatal if least < FILES_LEAST else Severity.warning,
            "files",
            f"on {_names(few)} a process may open {least:,} files; {FILES_FEW:,} are wanted",
            "ulimit -n 65536 before `ray start`, or LimitNOFILE in its service",
        )
    short = [node for node in facts.nodes if node.memory_free is not None and node.memory_free < MEMORY_FEW]
    for node in short:
        yield Finding(
            Severity.warning,
            "memory",
            f"{node.name} has {_bytes(node.memory_free or 0)} of memory left",
            "end what else runs there; Ray kills workers when memory runs out",
        )
    for node in facts.nodes:
        wanted = node.amount("object_store_memory")
        if 0 < node.shm_bytes < wanted * 0.9:
            yield Finding(
                Severity.warning,
                "memory",
                f"{node.name}: /dev/shm has {_bytes(node.shm_bytes)}, the object store may take "
                f"{_bytes(wanted)}",
                "docker run --shm-size, an emptyDir with medium: Memory at /dev/shm, or a smaller "
                "--object-store-memory",
            )


def _objects(facts: ClusterFacts) -> Iterator[Finding]:
    broken = [node for node in facts.nodes if not node.data_ok]
    if broken:
        yield Finding(
            Severity.fatal,
            "objects",
            f"an object put here did not arrive whole on {_names(broken)}",
            "open the nodes' ports to each other (object manager and workers, see ray start --help)",
        )
    elif len(facts.nodes) > 1:
        yield Finding(Severity.good, "objects", "the object store carries data to every node")


def _groups(facts: ClusterFacts) -> Iterator[Finding]:
    if facts.apart is None:
        return
    level = Severity.fatal if facts.groups else Severity.warning
    for first, second, why in facts.apart[:PAIRS_SHOWN]:
        yield Finding(
            level,
            "process group",
            f"processes on {first} and {second} cannot train together: {why}",
            "let the nodes reach each other at every port; where they have several networks, set "
            "GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME on each, or keep each worker on one node: "
            "workers: {nodes: 1}",
        )
    if (more := len(facts.apart) - PAIRS_SHOWN) > 0:
        yield Finding(level, "process group", f"nor can {_count(more, 'pair')} more")
    if not facts.apart:
        text = "processes on all nodes can train together: a group of them added up numbers"
        yield Finding(Severity.good, "process group", text)


def _wandb(facts: ClusterFacts) -> Iterator[Finding]:
    if facts.wandb is not None:
        text, is_wrong = facts.wandb
        do = "" if not is_wrong else "set WANDB_API_KEY and WANDB_BASE_URL, or wandb: {mode: offline}"
        yield Finding(Severity.warning if is_wrong else Severity.good, "W&B", text, do)


_CHECKS: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    _nodes,
    _room,
    _versions,
    _trainable,
    _storage,
    _objects,
    _groups,
    _clocks,
    _disks,
    _limits,
    _wandb,
)


def _skew(bounds: tuple[float, float]) -> float:
    """The least that a clock is off by within its bounds, in seconds; 0 if it may be right enough."""
    low, high = bounds
    nearest = low if low > 0 else high if high < 0 else 0.0
    return nearest if abs(nearest) > CLOCK_OFF_S else 0.0


def _names(nodes: Sequence[NodeFacts]) -> str:
    names = [node.name for node in nodes]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _bytes(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
