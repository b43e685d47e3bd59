"""Files for Ray's own cluster launcher (`ray up`): machines of AWS and GCP, and plain lists of machines.

The head is a small machine that trains nothing and is never a spot instance: the coordinator lives there.
Fields: ray/autoscaler/ray-schema.json; node_config is passed on to the cloud's own API.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from raysearch.cluster.render.layout import Layout
from raysearch.cluster.render.packages import Package
from raysearch.errors import SpecError

FOLDER = "~/search"  # where the working directory lies on each machine
IDLE_MINUTES = 10
DISK_GB = 200
AWS_TYPES = {0: "m6i.4xlarge", 1: "g5.4xlarge", 4: "g5.12xlarge", 8: "p4d.24xlarge"}
GCP_TYPES = {0: "n2-standard-16", 1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32"} | {
    8: "a2-highgpu-8g"
}
GCP_GPU = "nvidia-tesla-t4"
GCP_OF_GPU = {  # machines that have GPUs of their own, to which none is attached
    "nvidia-tesla-a100": "a2-highgpu",
    "nvidia-a100-80gb": "a2-ultragpu",
    "nvidia-h100-80gb": "a3-highgpu",
}
GCP_OWN_GPUS = ("a2-", "a3-", "a4-", "g2-")
GCP_IMAGES = "projects/deeplearning-platform-release/global/images/family"
WAIT_FOR_DRIVER = "timeout 600 bash -c 'until nvidia-smi; do sleep 5; done'"
SKIPPED = (".git", ".venv", "**/__pycache__", "runs")


def aws(layout: Layout) -> dict[str, Any]:
    """A cluster of EC2 instances, for `ray up`."""
    layout.needs_store()
    worker: dict[str, Any] = {
        "InstanceType": layout.instance or _known(AWS_TYPES, layout.gpus),
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": DISK_GB}}],
    }
    if layout.spot:
        worker["InstanceMarketOptions"] = {"MarketType": "spot"}
    region = layout.region or "us-west-2"
    zone = layout.zone or ",".join(region + letter for letter in "abc")
    provider = {"type": "aws", "region": region, "availability_zone": zone, "cache_stopped_nodes": False}
    return _cluster(layout, provider, {"InstanceType": "m6i.xlarge"}, worker)


def gcp(layout: Layout) -> dict[str, Any]:
    """A cluster of Compute Engine instances, for `ray up`."""
    layout.needs_store()
    if layout.project is None:
        raise SpecError("--project: Google Cloud needs the id of your project (gcloud projects list)")
    region = layout.region or "us-central1"
    zone = layout.zone or f"{region}-a"
    machine = layout.instance or _gcp_machine(layout.gpus, layout.accelerator)
    worker = _gcp_node(machine, bool(layout.gpus))
    has_own = machine.startswith(GCP_OWN_GPUS)
    if layout.gpus and not has_own and (layout.accelerator or not layout.instance):
        kind = {"acceleratorType": layout.accelerator or GCP_GPU, "acceleratorCount": layout.gpus}
        worker["guestAccelerators"] = [kind]
    if layout.gpus:
        worker["metadata"] = {"items": [{"key": "install-nvidia-driver", "value": "True"}]}
    scheduling: list[dict[str, Any]] = [{"preemptible": True}] if layout.spot else []
    if layout.gpus:
        scheduling.append({"onHostMaintenance": "TERMINATE"})
    if scheduling:
        worker["scheduling"] = scheduling
    provider = {"type": "gcp", "region": region, "availability_zone": zone, "project_id": layout.project}
    return _cluster(layout, provider, _gcp_node("n2-standard-4", False), worker)


def ssh(layout: Layout) -> dict[str, Any]:
    """Machines that are there already, reached by SSH, for `ray up`; the first is the head and trains too."""
    layout.needs_shared_folder()
    if not layout.hosts:
        raise SpecError("--hosts: name the machines, the head first, such as --hosts node1,node2,node3")
    if len({*layout.hosts}) < len(layout.hosts):
        raise SpecError(f"--hosts {','.join(layout.hosts)}: names a machine twice")
    head, *others = layout.hosts
    auth = {"ssh_user": layout.user or "ubuntu", **({"ssh_private_key": layout.key} if layout.key else {})}
    start = "ulimit -n 65536; ray start"
    return {
        "cluster_name": layout.name,
        "provider": {"type": "local", "head_ip": head, "worker_ips": others},
        "auth": auth,
        "max_workers": len(others),
        **_files(layout),
        "setup_commands": [*layout.setup],
        "head_start_ray_commands": [
            "ray stop",
            f"{start} --head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{start} --address=$RAY_HEAD_IP:6379"],
    }


def with_packages(config: dict[str, Any], installed: Sequence[Package]) -> dict[str, Any]:
    """The file, by which pip installs packages on each machine; those of this machine are copied there."""
    mounts = {f"~/{package.on_node}": str(package.local) for package in installed if package.local}
    words = [
        f'"$HOME"/{shlex.quote(package.on_node + package.extras)}'
        if package.local
        else shlex.quote(package.words)
        for package in installed
    ]
    commands = [*config["setup_commands"], *([" ".join(["pip", "install", *words])] if words else [])]
    return {**config, "file_mounts": {**config["file_mounts"], **mounts}, "setup_commands": commands}


def command(layout: Layout, file: str) -> str:
    """The one command that starts the cluster and the search on it; it goes on without the laptop."""
    search = f"cd {FOLDER} && {layout.command('auto')}"
    return f"ray exec --start --tmux {shlex.quote(file)} {shlex.quote(search)}"


def _cluster(
    layout: Layout, provider: dict[str, Any], head: dict[str, Any], worker: dict[str, Any]
) -> dict[str, Any]:
    resources = {"CPU": layout.cpus} if layout.cpus else {}  # Ray asks the cloud for what is not given
    docker = {"docker": {"image": layout.image, "container_name": "raysearch"}} if layout.image else {}
    return {
        "cluster_name": layout.name,
        "provider": provider,
        "auth": {
            "ssh_user": layout.user or "ubuntu",
            **({"ssh_private_key": layout.key} if layout.key else {}),
        },
        **docker,
        "max_workers": layout.most_nodes,
        "idle_timeout_minutes": IDLE_MINUTES,
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": head},
            "worker": {
                "min_workers": layout.nodes,
                "max_workers": layout.most_nodes,
                "resources": {**resources, **({"GPU": layout.gpus} if layout.gpus else {})},
                "node_config": worker,
            },
        },
        **_files(layout),
        "initialization_commands": [],
        "setup_commands": [*layout.setup],
        "worker_setup_commands": [WAIT_FOR_DRIVER] if layout.gpus else [],
    }


def _files(layout: Layout) -> dict[str, Any]:
    return {"file_mounts": {FOLDER: str(layout.working_dir)}, "rsync_exclude": [*SKIPPED]}


def _gcp_node(machine: str, has_gpus: bool) -> dict[str, Any]:
    family = "common-cu121" if has_gpus else "common-cpu"
    disk = {"diskSizeGb": DISK_GB, "sourceImage": f"{GCP_IMAGES}/{family}"}
    return {
        "machineType": machine,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}],
    }


def _gcp_machine(gpus: int, accelerator: str | None) -> str:
    """The machine that has so many of these GPUs, or to which they are attached.

    Raises:
        SpecError: there is none of that number.
    """
    if accelerator not in GCP_OF_GPU:
        return _known(GCP_TYPES, gpus)
    return _known({count: f"{GCP_OF_GPU[accelerator]}-{count}g" for count in (1, 2, 4, 8)}, gpus)


def _known(types: dict[int, str], gpus: int) -> str:
    if gpus not in types:
        known = ", ".join(map(str, types))
        raise SpecError(
            f"--gpus {gpus}: a machine type is known for {known} GPUs; name another with --instance-type"
        )
    return types[gpus]
