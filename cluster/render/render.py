"""`raysearch cluster render KIND`: a file for a cluster and its search, and the one command that uses it."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from raysearch.cluster.render import kuberay, ray_launcher, slurm
from raysearch.cluster.render.layout import Layout
from raysearch.cluster.versions import ray_version
from raysearch.core.version import DISTRIBUTION, __version__
from raysearch.errors import SpecError, unknown

KINDS: Mapping[str, str] = {
    "aws": "EC2 instances, by Ray's cluster launcher",
    "gcp": "Compute Engine instances, by Ray's cluster launcher",
    "ssh": "machines you have, by Ray's cluster launcher over SSH",
    "kuberay-job": "Kubernetes: a RayJob that runs the search and goes away",
    "kuberay-cluster": "Kubernetes: a RayCluster that searches are submitted to",
    "slurm": "a batch script for sbatch",
}


def file_name(kind: str, layout: Layout) -> str:
    """The default name of the file."""
    return f"{layout.name}-{kind}.{'sh' if kind == 'slurm' else 'yaml'}"


def render(kind: str, layout: Layout, file: str | None = None) -> str:
    """The text of the file; its first comment holds the command that runs it.

    Raises:
        SpecError: there is no such kind, or the layout lacks or misuses something for it.
    """
    if kind not in KINDS:
        raise SpecError(unknown("kind of cluster", kind, KINDS))
    layout = _with_packages(kind, layout)
    file = file or file_name(kind, layout)
    if kind == "slurm":
        return _script(layout, file)
    documents, command = _DOCUMENTS[kind](layout, file)
    text = yaml.safe_dump_all(documents, sort_keys=False, width=10_000, default_flow_style=False)
    return f"# {KINDS[kind]}. Run it:\n#   {command}\n{_hint(kind, layout)}{text}"


def local_files(layout: Layout) -> dict[str, str]:
    """The files that a search consists of, by their path in the working directory: name -> text.

    The spec, and the trainable's file where it is one; nothing of an example that the package holds.

    Raises:
        SpecError: one of them cannot be read, or lies outside the working directory.
    """
    from raysearch.cluster.job_package import check_relative, trainable_file
    from raysearch.spec.search_spec import load_spec

    path = layout.working_dir / layout.spec
    if not path.is_file():
        return {}
    check_relative(path)
    names = [layout.spec]
    if file := trainable_file(load_spec(path).trainable, layout.working_dir):
        names.append(file)
    try:
        return {name: (layout.working_dir / name).read_text("utf-8") for name in names}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{layout.spec}: its files cannot be read: {error}") from None


def image_of(layout: Layout) -> str:
    """The image given, or Ray's own for the versions that are installed here."""
    python = "".join(platform.python_version_tuple()[:2])
    gpu = "-gpu" if layout.gpus else ""
    return layout.image or f"rayproject/ray:{ray_version()}-py{python}{gpu}"


# ---- inside

_Documents = tuple[list[dict[str, Any]], str]


def _with_packages(kind: str, layout: Layout) -> Layout:
    """The layout with raysearch to be installed, unless an image or the user's own list says otherwise."""
    if layout.install or layout.image or kind in ("slurm", "kuberay-cluster"):
        return layout
    ray = [] if kind.startswith("kuberay") else [f"ray[default]=={ray_version()}"]
    return dataclasses.replace(layout, install=(*ray, f"{DISTRIBUTION}[cluster]=={__version__}"))


def _by_launcher(build: Callable[[Layout], dict[str, Any]]) -> Callable[[Layout, str], _Documents]:
    return lambda layout, file: ([build(layout)], ray_launcher.command(layout, file))


def _ray_job(layout: Layout, file: str) -> _Documents:
    documents = kuberay.ray_job(layout, image_of(layout), local_files(layout))
    return documents, f"kubectl apply -f {shlex.quote(file)}"


def _ray_cluster(layout: Layout, file: str) -> _Documents:
    return kuberay.ray_cluster(layout, image_of(layout)), f"kubectl apply -f {shlex.quote(file)}"


_DOCUMENTS: Mapping[str, Callable[[Layout, str], _Documents]] = {
    "aws": _by_launcher(ray_launcher.aws),
    "gcp": _by_launcher(ray_launcher.gcp),
    "ssh": _by_launcher(ray_launcher.ssh),
    "kuberay-job": _ray_job,
    "kuberay-cluster": _ray_cluster,
}


def _hint(kind: str, layout: Layout) -> str:
    """Further hints, as comments."""
    if kind == "kuberay-job":
        return f"# Its output: kubectl logs -f job/{layout.name}; its end: kubectl get rayjob {layout.name}\n"
    if kind == "kuberay-cluster":
        forward = f"kubectl port-forward svc/{layout.name}-head-svc 8265"
        submit = shlex.join(["raysearch", "launch", layout.spec, "--storage", layout.storage, "--submit"])
        return f"# Then, with `{forward}` running: {submit} --address http://127.0.0.1:8265\n"
    return "# The search goes on without your machine. Its end frees no machine: ray down -y FILE does.\n"


def _script(layout: Layout, file: str) -> str:
    first = f"#!/usr/bin/env bash\n# {KINDS['slurm']}. Run it (the same command goes on with it later):\n"
    return f"{first}#   {slurm.command(file)}\n{slurm.script(layout)}"
