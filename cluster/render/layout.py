"""The layout of a cluster, and its search: the options of `raysearch cluster render`.

Checked here once; `ray_launcher`, `kuberay` and `slurm` turn it into files.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path

from raysearch.cluster.render.texts import check_texts
from raysearch.errors import SpecError


@dataclass(frozen=True, slots=True)
class Layout:
    """A cluster and its search; None where the kind of cluster has a default, or does not need it.

    Attributes:
        name: of the cluster, its job or its pods: lower case letters, digits and -.
        nodes: that train, from the start on; the head comes on top where it does not train.
        max_nodes: up to which the cluster may grow; `nodes` where it does not.
        gpus: of each node.
        cpus: of each node.
        memory: of each node, as Kubernetes and Slurm write it: 64Gi, 64G.
        instance: machine type at a cloud.
        accelerator: GPU's name as Slurm or GCP write it, such as a100 or nvidia-tesla-t4.
        image: container image that the nodes run.
        install: what pip is to install on each node: wheels and checkouts of this machine, addresses,
            requirements; empty where the image has everything.
        spot: nodes that train may be taken away at any time, and cost less; the head is never one.
        region, zone, project: at a cloud.
        working_dir: folder with the spec and the user's code.
        storage: where runs are kept: a folder that all nodes see, or s3:// or gs://.
        spec: the search, as a path in `working_dir`, or the name of an example.
        time: limit of a Slurm job: minutes, HH:MM:SS or D-HH:MM:SS.
        partition, account: of Slurm.
        hosts: of a list of machines, the head first.
        user, key: with which they are reached by SSH.
        claim: Kubernetes volume claim that is mounted at `storage`.
        secret: Kubernetes secret whose entries become environment variables (keys of stores, of W&B).
        labels: KEY=VALUE labels of the Kubernetes nodes to use.
        setup: shell commands before Ray starts, such as `module load cuda`.
    """

    name: str
    spec: str
    nodes: int = 1
    max_nodes: int | None = None
    gpus: int = 0
    cpus: int | None = None
    memory: str | None = None
    instance: str | None = None
    accelerator: str | None = None
    image: str | None = None
    install: tuple[str, ...] = ()
    spot: bool = False
    region: str | None = None
    zone: str | None = None
    project: str | None = None
    working_dir: Path = field(default_factory=Path)
    storage: str = "runs"
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    hosts: tuple[str, ...] = ()
    user: str | None = None
    key: str | None = None
    claim: str | None = None
    secret: str | None = None
    labels: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises SpecError for what no kind of cluster could do."""
        check_texts({each.name: getattr(self, each.name) for each in fields(self)})
        least = {"--nodes": (self.nodes, 1), "--gpus": (self.gpus, 0), "--cpus": (self.cpus, 1)}
        for option, (value, low) in least.items():
            if value is not None and value < low:
                raise SpecError(f"{option} {value}: must be a whole number from {low}")
        if self.max_nodes is not None and self.max_nodes < self.nodes:
            raise SpecError(f"--max-nodes {self.max_nodes}: is less than --nodes {self.nodes}")

    @property
    def most_nodes(self) -> int:
        """The largest number of nodes."""
        return self.max_nodes or self.nodes

    def command(self, address: str | None = None, storage: str | None = None) -> str:
        """The launch of its search as it is typed on the cluster."""
        words = ["raysearch", "launch", self.spec, "--storage", storage or self.storage]
        return shlex.join([*words, "--address", address] if address else words)

    def needs_store(self) -> None:
        """Raises SpecError unless runs are kept where nodes that come and go all see them."""
        if "://" not in self.storage:
            raise SpecError(
                f"--storage {self.storage}: machines of a cloud share no folder; give a store, such as "
                "s3://bucket/runs or gs://bucket/runs"
            )

    def needs_shared_folder(self) -> None:
        """Raises SpecError for a folder that is a different place on each machine."""
        if "://" not in self.storage and not self.storage.startswith(("/", "~", "$")):
            raise SpecError(
                f"--storage {self.storage}: is relative, and would lie somewhere else on each node; give a "
                "folder that all nodes see, such as /shared/runs, or a store such as s3://bucket/runs"
            )
