"""Manifests for KubeRay: a `RayCluster` to submit to, or a `RayJob` that runs one search and goes away.

Fields: KubeRay's API reference, ray.io/v1. The user's files (the spec, and the trainable's file if it is one)
travel in a ConfigMap, so that one `kubectl apply` is enough; packages come with the image or through pip.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from raysearch.cluster.job_package import run_of
from raysearch.cluster.render.layout import Layout
from raysearch.cluster.versions import ray_version
from raysearch.errors import SpecError

FOLDER = "/home/ray/search"
IDLE_S = 300
GRACE_S = 60  # in which a worker saves its training when its pod is taken away
MAP_BYTES = 900_000  # a ConfigMap holds one MiB
SPOT_TAINTS = {  # taints that clouds put on spot nodes
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
}


def ray_cluster(layout: Layout, image: str) -> list[dict[str, Any]]:
    """A RayCluster that grows from `nodes` to `max_nodes` workers and back."""
    _check(layout)
    head = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": layout.name}}
    return [{**head, "spec": _cluster(layout, image, None)}]


def ray_job(
    layout: Layout, image: str, files: dict[str, str], install: Sequence[str]
) -> list[dict[str, Any]]:
    """A RayJob that launches the search, and the ConfigMap of its files (name -> text)."""
    _check(layout)
    size = sum(len(text.encode()) for text in files.values())
    if size > MAP_BYTES:
        raise SpecError(
            f"the spec and its trainable's file have {size:,} bytes; a ConfigMap holds {MAP_BYTES:,}: put "
            "the code into the image, and name the trainable as module:attribute"
        )
    keys = {name: name.replace("/", "__") for name in files}
    volume = {
        "name": "search",
        "configMap": {
            "name": f"{layout.name}-files",
            "items": [{"key": key, "path": name} for name, key in keys.items()],
        },
    }
    environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE_S)}}
    if install:
        environment["pip"] = [*install]
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": layout.name},
        "spec": {
            "entrypoint": _entrypoint(layout),
            "runtimeEnvYAML": yaml.safe_dump(environment, sort_keys=False),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": IDLE_S,
            "backoffLimit": 2,  # each with a new cluster: it goes on where the journal ends
            "rayClusterSpec": _cluster(layout, image, volume if files else None),
        },
    }
    held = {"name": f"{layout.name}-files"}
    data = {keys[name]: text for name, text in files.items()}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held, "data": data}
    return [*([config_map] if files else []), job]


def _entrypoint(layout: Layout) -> str:
    """Launches, or goes on: KubeRay starts it again after the head was lost."""
    resume = shlex.join(["raysearch", "resume", run_of(layout.storage, layout.name)])
    launch = f"{layout.command()} --name {layout.name}"
    return shlex.join(["bash", "-c", f"cd {FOLDER} && ({resume} || {launch})"])


def _cluster(layout: Layout, image: str, volume: dict[str, Any] | None) -> dict[str, Any]:
    head_resources = {"cpu": "2", "memory": "8Gi"}
    ports = [{"name": "gcs", "containerPort": 6379}, {"name": "dashboard", "containerPort": 8265}]
    head = {**_container("ray-head", image, head_resources, layout), "ports": ports}
    worker = _container("ray-worker", image, _worker_resources(layout), layout)
    head_pod, worker_pod = _pod(layout, head), _pod(layout, worker)
    if volume is not None:
        head_pod.setdefault("volumes", []).append(volume)
        head.setdefault("volumeMounts", []).append({"name": "search", "mountPath": FOLDER})
    return {
        "rayVersion": ray_version(),
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"idleTimeoutSeconds": IDLE_S, "upscalingMode": "Default"},
        "headGroupSpec": {
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
            "template": {"spec": head_pod},
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": layout.nodes,
                "minReplicas": layout.nodes,
                "maxReplicas": layout.most_nodes,
                "rayStartParams": {},
                "template": {"spec": {**worker_pod, **_placed(layout)}},
            }
        ],
    }


def _container(name: str, image: str, resources: dict[str, str], layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "image": image,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }
    if layout.secret:
        found["envFrom"] = [{"secretRef": {"name": layout.secret}}]
    if layout.claim:
        found["volumeMounts"] = [{"name": "runs", "mountPath": layout.storage}]
    return found


def _pod(layout: Layout, container: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": GRACE_S}
    if layout.claim:
        pod["volumes"] = [{"name": "runs", "persistentVolumeClaim": {"claimName": layout.claim}}]
    return pod


def _placed(layout: Layout) -> dict[str, Any]:
    """The nodes on which workers may run."""
    tolerations = []
    if layout.gpus:
        tolerations.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    if layout.spot:
        tolerations += [
            {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
            for key, value in SPOT_TAINTS.items()
        ]
    labels = dict(label.split("=", 1) for label in layout.labels)
    return {
        **({"tolerations": tolerations} if tolerations else {}),
        **({"nodeSelector": labels} if labels else {}),
    }


def _worker_resources(layout: Layout) -> dict[str, str]:
    cpus = layout.cpus or 4 * max(1, layout.gpus)
    found = {"cpu": str(cpus), "memory": layout.memory or f"{4 * cpus}Gi"}
    return {**found, "nvidia.com/gpu": str(layout.gpus)} if layout.gpus else found


def _check(layout: Layout) -> None:
    if layout.claim and not PurePosixPath(layout.storage).is_absolute():
        raise SpecError(
            f"--storage {layout.storage}: with --claim it is the folder at which {layout.claim} is mounted, "
            "such as /mnt/runs"
        )
    if not layout.claim and "://" not in layout.storage:
        raise SpecError(
            f"--storage {layout.storage}: pods share no folder. Give a store (s3://bucket/runs), or a volume "
            "that all pods mount: --claim NAME --storage /mnt/runs"
        )
