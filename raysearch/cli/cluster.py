"""`raysearch cluster ...`: files for a cluster, and the jobs on one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from raysearch.cli import options
from raysearch.cli import submit as submitting
from raysearch.cli.job_options import Travel
from raysearch.cli.option_groups import grouped, load
from raysearch.cli.output import print_raw, say, tell, writing
from raysearch.errors import SpecError

if TYPE_CHECKING:
    from raysearch.cluster.render.layout import Layout

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Files for a cluster (AWS, GCP, Kubernetes, Slurm, SSH), and the jobs on one.",
)


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """The nodes, images and accounts of a cluster; None leaves the default of its kind."""

    nodes: options.Nodes = 1
    max_nodes: options.MaxNodes = None
    gpus: options.Gpus = 0
    cpus: options.Cpus = None
    memory: options.NodeMemory = None
    name: options.ClusterName = None
    storage: options.ClusterStorage = None
    setup: options.Setup = None
    image: options.Image = None
    install: options.Install = None
    spot: options.Spot = False
    instance_type: options.InstanceType = None
    accelerator: options.Accelerator = None
    region: options.Region = None
    zone: options.Zone = None
    project: options.Project = None
    hosts: options.Hosts = None
    user: options.User = None
    key: options.Key = None
    claim: options.Claim = None
    secret: options.Secret = None
    node_label: options.NodeLabel = None
    time: options.TimeLimit = None
    partition: options.Partition = None
    account: options.Account = None

    def layout(self, spec: str, folder: Path, working_dir: Path) -> Layout:
        """The layout of a cluster file, for a search whose `spec` lies in `folder`.

        Args:
            working_dir: the folder as the file names it.
        """
        from raysearch.cluster.render.layout import Layout

        return Layout(
            name=self.name or _name_of(spec),
            spec=spec,
            nodes=self.nodes,
            max_nodes=self.max_nodes,
            gpus=self.gpus,
            cpus=self.cpus,
            memory=self.memory,
            instance=self.instance_type,
            accelerator=self.accelerator,
            image=self.image,
            install=tuple(self.install or ()),
            spot=self.spot,
            region=self.region,
            zone=self.zone,
            project=self.project,
            working_dir=working_dir,
            storage=self.storage or _storage_of(folder, spec),
            time=self.time,
            partition=self.partition,
            account=self.account,
            hosts=tuple(host.strip() for host in (self.hosts or "").split(",") if host.strip()),
            user=self.user,
            key=self.key,
            claim=self.claim,
            secret=self.secret,
            labels=tuple(self.node_label or ()),
            setup=tuple(self.setup or ()),
        )


@app.command()
@grouped
def render(
    kind: options.Kind,
    shape: ClusterShape,
    spec: options.SpecToLaunch = "search.yaml",
    working_dir: options.WorkingDir = None,
    output: options.ClusterFile = None,
) -> None:
    """Write a file that starts a cluster for a search; its first lines hold the command that runs it."""
    from raysearch.cluster.job_package import folder_and_spec
    from raysearch.cluster.render.render import file_name
    from raysearch.cluster.render.render import render as text_of

    folder, path = working_dir or Path(), spec
    if spec != "search.yaml" or Path(folder, spec).is_file() or kind == "kuberay-job":
        folder, path = folder_and_spec(spec, working_dir)
    layout = shape.layout(path, folder, folder if working_dir is None else folder.resolve())
    _write(text_of(kind, layout, str(output) if output else None), output or Path(file_name(kind, layout)))


@app.command(context_settings={"allow_interspersed_args": False})
@grouped
def submit(
    words: options.JobCommand,
    travel: Travel,
    address: options.Address = None,
    wait: options.FollowJob = True,
    as_json: options.AsJson = False,
) -> None:
    """Run any raysearch command on a cluster: raysearch cluster submit -- resume s3://bucket/runs/first."""
    run = words[1] if words[0] == "resume" and len(words) > 1 else ""
    parcel = travel.parcel(None, travel.working_dir or Path())
    submitting.start(["raysearch", *words], parcel, run, address, wait, as_json)


@app.command()
def jobs(address: options.Dashboard = None, as_json: options.AsJson = False) -> None:
    """List the jobs of a cluster, the latest first."""
    from raysearch.cluster.jobs import connect

    submitting.list_jobs(connect(address), as_json)


@app.command()
def stop(job: options.Job, address: options.Dashboard = None) -> None:
    """End a job. Its run keeps every acknowledged outcome; [bold]resume[/bold] continues it."""
    place = submitting.elsewhere(job, address)
    if place is None:
        raise SpecError(f"{job} is a run of this machine, not a job: Ctrl-C or raysearch stop end it")
    submitting.stop_job(place)


# ---- inside


def _name_of(spec: str) -> str:
    """A cluster's name made of a spec's: `my_search.yaml` -> my-search."""
    letters = [c if c.isascii() and c.isalnum() else "-" for c in Path(spec).stem.lower()]
    return "".join(letters).strip("-").lstrip("0123456789-")[:40].rstrip("-") or "search"


def _storage_of(folder: Path, spec: str) -> str:
    """The storage of the spec; the default where no such file is written yet."""
    if not (folder / spec).is_file() and spec.endswith(".yaml"):
        return "runs"
    return load(str(folder / spec) if (folder / spec).is_file() else spec).storage


def _write(text: str, file: Path) -> None:
    if str(file) == "-":
        print_raw(text)
        return
    with writing(file, "-o") as beside:
        beside.write_text(text, encoding="utf-8")
    if file.suffix == ".sh":
        os.chmod(file, 0o755)
    say(f"written to {file}; run it:")
    tell(next(line[4:] for line in text.splitlines() if line.startswith("#   ")))
