"""The field `workers` of a spec: their number, and the share of the cluster that each one takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raysearch.core import quantities
from raysearch.core.values import as_number, plain, show
from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.spec.readers import members, not_negative, positive, whole

PLACEMENTS = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
TRAIN_KEYS = ("num_workers", "resources_per_worker")
ALONE = {
    "train": "a Ray Train loop function runs in each process as it is; leave `train` out",
    "bundles": "what each process takes is said by cpu, gpu and resources",
    "on_oom": "the share of a worker with processes does not grow yet; leave it out",
}
GRACE_S = 30.0
TIMEOUT_S = 600.0
OWN_NAMES = {"grace_s": "grace", "timeout_s": "timeout"}  # in a spec, of fields whose unit is in the name


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers train, and what each one takes of the cluster.

    Attributes:
        count: "auto" is as many as the cluster has room for, now and when it grows; a number is the most.
        gpu: may be a fraction below 1: 0.25 puts four workers on a GPU.
        resources: custom Ray resources of each.
        min: the search begins when so many run.
        max: the most; the autoscaler sees demand for so many.
        memory: bytes of Ray's `memory` resource.
        accelerator_type: the kind of accelerator that a worker's node must have, such as A100.
        bundles: what is reserved beside the worker's own share, for actors and tasks of the trainable.
        placement: how a worker's bundles lie on nodes.
        train: of a Ray Train run that the trainable starts itself: {num_workers, resources_per_worker}. It
            takes its own share, for which room is left.
        grace_s: time that a worker which has to leave may take to end an iteration and save.
        on_oom: factors by which a share grows where memory ran out, by resource.
        processes: of each worker, which train one trial together as under torchrun; `cpu`, `gpu`, `memory`
            and `resources` are then what each process takes. None: the worker trains by itself.
        nodes: on so many nodes its processes lie, as many on each; None: wherever there is room.
        timeout_s: how long one process of a worker may wait for the others.
    """

    count: int | Literal["auto"] = "auto"
    cpu: float = 1.0
    gpu: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    min: int | None = None
    max: int | None = None
    memory: int = 0
    accelerator_type: str | None = None
    bundles: tuple[Mapping[str, float], ...] = ()
    placement: str = "PACK"
    train: Mapping[str, Any] = field(default_factory=dict)
    grace_s: float = GRACE_S
    on_oom: Mapping[str, float] = field(default_factory=dict)
    processes: int | None = None
    nodes: int | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def least(self) -> int:
        """The number that must run before the search begins."""
        return self.min or 1

    @property
    def most(self) -> int | None:
        """The largest number; None: as many as fit."""
        return self.max if self.count == "auto" else self.count

    def share(self) -> dict[str, float]:
        """The resources of the worker itself, or of each of its processes, by Ray's names, without zeros."""
        kind = {f"accelerator_type:{self.accelerator_type}": 0.001} if self.accelerator_type else {}
        wanted = {"CPU": self.cpu, "GPU": self.gpu, "memory": self.memory, **kind, **self.resources}
        return {name: float(amount) for name, amount in wanted.items() if amount > 0}

    def held(self) -> tuple[float, float]:
        """CPUs and GPUs that a worker takes in all: its processes, its bundles and its Ray Train run."""
        train = [self.train.get("resources_per_worker", {})] * int(self.train.get("num_workers", 0))
        taken = (*[self.share()] * (self.processes or 1), *self.bundles, *train)
        cpus, gpus = (sum(float(bundle.get(name, 0.0)) for bundle in taken) for name in ("CPU", "GPU"))
        return cpus, gpus

    def with_count(self, count: int) -> Workers:
        """The same with exactly `count` workers."""
        return dataclasses.replace(self, count=count, min=None, max=None)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a spec has them; of the rarer ones only those that were given."""
        always = {"count", "cpu", "gpu", "resources"}
        found: dict[str, Any] = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            empty = each.default if each.default_factory is dataclasses.MISSING else {}
            if each.name in always or value != empty:
                found[OWN_NAMES.get(each.name, each.name)] = value
        return dict(plain(found))


def read_workers(value: Any) -> Workers:
    """The workers that a number, "auto", a mapping or Workers say.

    Raises:
        SpecError: a setting is wrong; says what is allowed.
    """
    if isinstance(value, Workers):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        value = {"count": value}
    read = members(value, "workers", READERS)
    for name, own in OWN_NAMES.items():
        if own in read:
            read[name] = read.pop(own)
    workers = Workers(**read)
    _check(workers)
    return workers


def resource_name(key: str) -> str:
    """Ray's name of a resource that people write as cpu, gpu."""
    return {"cpu": "CPU", "gpu": "GPU"}.get(key, key)


def _check(workers: Workers) -> None:
    """Raises SpecError where fields contradict each other."""
    count, share = workers.count, workers.share()
    if count == "auto" and not share and not workers.bundles:
        raise SpecError("a worker that takes nothing fits any number of times; give cpu, gpu or a count")
    if count != "auto" and workers.max not in (None, count):
        raise SpecError(f"count: {count} and max: {workers.max} contradict each other: both are the most")
    if workers.most is not None and workers.least > workers.most:
        raise LocatedError(
            "workers.min", f"{workers.least} is more than the {workers.most} that there may be"
        )
    for key in workers.on_oom:
        if resource_name(key) not in share:
            raise LocatedError(
                f"workers.on_oom.{key}",
                f"a worker has no {key} that could grow; it has {', '.join(share) or 'nothing'}",
            )
    _check_processes(workers)


def _check_processes(workers: Workers) -> None:
    """Raises LocatedError where a worker's processes cannot be had as they are asked for."""
    count, nodes = workers.processes, workers.nodes
    if count is None:
        for name, field_name in (("nodes", "nodes"), ("timeout", "timeout_s")):
            if getattr(workers, field_name) != getattr(Workers(), field_name):
                raise LocatedError(
                    f"workers.{name}", "goes with `processes`, the number of a worker's processes"
                )
        return
    for name, instead in ALONE.items():
        if getattr(workers, name):
            raise LocatedError(f"workers.{name}", f"does not go with `processes`: {instead}")
    if nodes is not None and count % nodes:
        raise LocatedError(
            "workers.nodes", f"{count} processes cannot lie as many on each of {nodes} nodes; give a divisor"
        )
    if nodes is not None and workers.placement != "PACK":
        raise LocatedError("workers.placement", "`nodes` says how the processes lie; leave one of them out")
    if count > 1 and 0 < workers.gpu < 1:
        raise LocatedError(
            "workers.gpu", f"{show(workers.gpu)}: of a worker with several processes each takes whole GPUs"
        )


def _count(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise SpecError(f"must be a whole number from 1, or auto, not {value!r}")
    return whole(1)(value)


def _gpu(value: Any) -> float:
    number = not_negative(value)
    if number > 1 and number != int(number):
        raise SpecError(f"{show(number)}: above one, Ray gives out whole GPUs only")
    return number


def _amounts(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping, not {value!r}")
    return {resource_name(str(name)): positive(amount) for name, amount in value.items()}


def _bundles(value: Any) -> tuple[dict[str, float], ...]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"must be a list such as [{{CPU: 1}}, {{GPU: 1}}], not {value!r}")
    bundles = []
    for number, bundle in enumerate(value):
        with located(f"workers.bundles[{number}]"):
            bundles.append(_amounts(bundle))
            if not bundle:
                raise SpecError("is empty")
    return tuple(bundles)


def _placement(value: Any) -> str:
    if value not in PLACEMENTS:
        raise SpecError(unknown("placement", value, PLACEMENTS))
    return str(value)


def _train(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise SpecError(
            f"must be a mapping such as {{num_workers: 4, resources_per_worker: {{GPU: 1}}}}, not {value!r}"
        )
    for key in value:
        if key not in TRAIN_KEYS:
            raise LocatedError(f"workers.train.{key}", unknown("field", key, TRAIN_KEYS))
    with located("workers.train.num_workers"):
        number = whole(1)(value.get("num_workers", 1))
    with located("workers.train.resources_per_worker"):
        return {
            "num_workers": number,
            "resources_per_worker": _amounts(value.get("resources_per_worker", {"CPU": 1})),
        }


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SpecError(f"must be text such as A100, not {value!r}")
    return value.removeprefix("accelerator_type:")


def _on_oom(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping such as {{gpu: x2}}, not {value!r}")
    return {str(key): _factor(str(key), factor) for key, factor in value.items()}


def _factor(key: str, value: Any) -> float:
    with located(f"workers.on_oom.{key}"):
        number = as_number(value.strip().strip("xX") if isinstance(value, str) else value, "the factor")
        if number <= 1:
            raise SpecError(
                f"{value!r} gives no more than there was; a factor above one, such as x2, is needed"
            )
    return number


READERS: dict[str, Callable[[Any], Any]] = {
    "count": _count,
    "cpu": not_negative,
    "gpu": _gpu,
    "resources": _amounts,
    "min": whole(1),
    "max": whole(1),
    "memory": quantities.size,
    "accelerator_type": _text,
    "bundles": _bundles,
    "placement": _placement,
    "train": _train,
    "grace": quantities.seconds,
    "on_oom": _on_oom,
    "processes": whole(1),
    "nodes": whole(1),
    "timeout": quantities.seconds,
}
