"""`raysearch cluster render KIND`: a file for a cluster and its search, and the one command that uses it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from raysearch.cluster.render import kuberay, ray_launcher, slurm
from raysearch.cluster.render.layout import Layout
from raysearch.cluster.render.packages import Package, packages
from raysearch.cluster.render.texts import check_line
from raysearch.cluster.versions import ray_version
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
    installed = packages(layout, kind)
    file = file or file_name(kind, layout)
    check_line("-o", file)
    if kind == "slurm":
        return _script(layout, file)
    documents, command = _DOCUMENTS[kind](layout, file, installed)
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
_Build = Callable[[Layout, str, Sequence[Package]], _Documents]


def _by_launcher(build: Callable[[Layout], dict[str, Any]]) -> _Build:
    return lambda layout, file, installed: (
        [ray_launcher.with_packages(build(layout), installed)],
        ray_launcher.command(layout, file),
    )


def _ray_job(layout: Layout, file: str, installed: Sequence[Package]) -> _Documents:
    words = [package.words for package in installed]
    documents = kuberay.ray_job(layout, image_of(layout), local_files(layout), words)
    return documents, f"kubectl apply -f {shlex.quote(file)}"


def _ray_cluster(layout: Layout, file: str, installed: Sequence[Package]) -> _Documents:
    return kuberay.ray_cluster(layout, image_of(layout)), f"kubectl apply -f {shlex.quote(file)}"


_DOCUMENTS: Mapping[str, _Build] = {
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
    ends = "# The search goes on without your machine. Its end frees no machine: ray down -y FILE does.\n"
    if kind == "ssh" and not layout.install:
        return (
            f"{ends}# This installs no raysearch: each machine must have it, or give --install its wheel.\n"
        )
    return ends


def _script(layout: Layout, file: str) -> str:
    first = f"#!/usr/bin/env bash\n# {KINDS['slurm']}. Run it (the same command goes on with it later):\n"
    return f"{first}#   {slurm.command(file)}\n{slurm.script(layout)}"
