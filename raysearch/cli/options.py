"""The arguments and options of the commands, each once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from raysearch.core.segment import trial_number


def _trial(text: str) -> int:
    """A trial's number; `17b` as well, as screens show one that took over the number of another."""
    try:
        return trial_number(text)
    except ValueError:
        raise BadParameter(f"{text!r} is no trial; they are like 17, or 17b") from None


class Executor(str, Enum):
    """What runs the search."""

    tune = "tune"
    inline = "inline"


Run = Annotated[
    str, Argument(metavar="RUN", show_default=False, help="The run's folder, such as runs/digits.")
]
Runs = Annotated[list[str], Argument(metavar="RUN...", show_default=False, help="Folders of runs.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON, for scripts.")]

# launch and resume
Spec = Annotated[str, Argument(metavar="SPEC", help="A YAML file, or an example: digits, panda_mnist1d, ...")]
Name = Annotated[str | None, Option(metavar="NAME", help="Name of the run and its folder.")]
Storage = Annotated[str | None, Option(metavar="DIR", help="Folder that runs are kept in.")]
Workers = Annotated[int | None, Option(metavar="N", min=1, help="How many train side by side.")]
Samples = Annotated[int | None, Option(metavar="N", min=1, help="How many configurations to try.")]
Sets = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Change the spec, such as strategy.eta=4. Repeatable."),
]
By = Annotated[
    Executor, Option(metavar="tune|inline", help="Workers on Ray, or one in this process, to debug.")
]
SkipChecks = Annotated[
    bool, Option("--skip-checks", help="Start without the short look at the cluster (raysearch doctor).")
]
Local = Annotated[bool, Option("--local", help="Start a Ray cluster for this search alone.")]
Address = Annotated[
    str | None,
    Option(
        metavar="ADDR",
        help="The Ray cluster: auto, HOST:PORT; http://, ray:// submit. Else one found here, or a new one.",
    ),
]
FromCheckpoint = Annotated[
    Path | None, Option(metavar="DIR", help="Go on with a model that is already half trained (panda).")
]
AtIteration = Annotated[
    int | None, Option(metavar="K", min=1, help="Where that model stands, if its checkpoint does not say.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show rungs, trials and cost, and start nothing.")]
Seconds = Annotated[
    float | None, Option(min=0, metavar="S", help="With --dry-run: to give the cost in hours.")
]
MoreSamples = Annotated[str | None, Option(metavar="N|+N", help="Make it larger: N samples, or N more.")]
MaxIterations = Annotated[int | None, Option(metavar="N", min=1, help="Train the best for longer.")]
SpaceFile = Annotated[Path | None, Option(metavar="FILE", help="A YAML with another space.")]

Memory = Annotated[
    str | None, Option(metavar="DIR", help="Folder or URL of remembered searches to begin from.")
]

# stepping in, replaying
Values = Annotated[list[str], Argument(metavar="NAME=VALUE...", help="Such as lr=3e-4.")]
SegmentName = Annotated[str, Argument(metavar="SEGMENT", help="Such as 12.3.")]
ReplaySeeds = Annotated[int, Option("--seeds", metavar="N", help="How often each is trained.")]
Constants = Annotated[int, Option(metavar="N", help="How many constant configurations to compare with.")]
ScheduleFile = Annotated[Path | None, Option(metavar="FILE", help="A schedule from a file instead.")]

# pausing
Now = Annotated[bool, Option("--now", help="Cut what is in training, at the end of its iteration.")]
Grace = Annotated[
    str | None, Option(metavar="TIME", help="For what is in training, such as 10m; 0 cuts it at once [30s].")
]
Wait = Annotated[bool, Option("--wait", help="Return when the run has ended.")]
Hours = Annotated[str | None, Option(metavar="N|+N", help="Wall time: hours in all, or so many more.")]
GpuHours = Annotated[str | None, Option("--gpu-hours", metavar="N|+N", help="The same of GPU-hours.")]
CpuHours = Annotated[str | None, Option("--cpu-hours", metavar="N|+N", help="The same of CPU-hours.")]
Money = Annotated[str | None, Option(metavar="N|+N", help="The same of money, at budget.prices.")]

# looking at a run
Watch = Annotated[bool, Option("--watch", "-w", help="Stay, and show how it goes on.")]
Where = Annotated[str | None, Option(metavar="CONDITION", help="Such as 'value < 0.1 and config.lr > 0.01'.")]
Sort = Annotated[str | None, Option(metavar="COLUMN", help="Order by it; -COLUMN for the highest first.")]
Limit = Annotated[int | None, Option(metavar="N", min=0, help="How many rows; 20 on the screen, else all.")]
Csv = Annotated[Path | None, Option("--csv", metavar="FILE", help="Write CSV; - is stdout.")]
Parquet = Annotated[Path | None, Option("--parquet", metavar="FILE", help="Write Parquet.")]
LineageLimit = Annotated[int | None, Option("--limit", metavar="N", min=1, help="Only the last N rows.")]
Trial = Annotated[int | None, Option(metavar="N", parser=_trial, help="Of this trial instead of the best.")]
Config = Annotated[bool, Option("--config", help="The configuration; also if nothing else is asked for.")]
Schedule = Annotated[bool, Option("--schedule", help="Which values held when, on the way to the model.")]
Output = Annotated[Path | None, Option("-o", "--output", metavar="FILE", help="YAML; JSON if it ends so.")]
Port = Annotated[int, Option(metavar="N", min=0, max=65535, help="Where it listens; 0 takes a free one.")]
ToWandb = Annotated[bool, Option("--wandb", help="Save it at W&B too; again updates it.")]
Sinks = Annotated[list[str], Argument(metavar="NAME...", help="tensorboard, mlflow, or module:attribute.")]
ReportFile = Annotated[Path | None, Option("-o", "--output", metavar="FILE", help="Not RUN/report.html.")]
PageFile = Annotated[Path | None, Option("-o", "--output", metavar="FILE", help="Write an HTML page.")]
Checkpoint = Annotated[Path | None, Option(metavar="DIR", help="Copy the checkpoint into this new folder.")]

Bench = Annotated[str, Argument(metavar="NAME", show_default=False)]

# a cluster
_JOB = "As a job on a cluster"
Submit = Annotated[
    bool, Option("--submit", help="Run it as a job there; this machine may go.", rich_help_panel=_JOB)
]
FollowJob = Annotated[
    bool, Option("--follow/--no-wait", help="Show what the job prints until it ends.", rich_help_panel=_JOB)
]
WorkingDir = Annotated[
    Path | None,
    Option(metavar="DIR", help="What the job gets of your files; the current folder.", rich_help_panel=_JOB),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        "--exclude", metavar="PATTERN", help="What of it stays here, as in .gitignore.", rich_help_panel=_JOB
    ),
]
Pip = Annotated[
    list[str] | None,
    Option("--pip", metavar="PACKAGE", help="To be installed for the job.", rich_help_panel=_JOB),
]
PyModule = Annotated[
    list[str] | None,
    Option("--py-module", metavar="DIR", help="A package of yours to send along.", rich_help_panel=_JOB),
]
RuntimeEnv = Annotated[
    Path | None,
    Option(metavar="FILE", help="A YAML file with more of Ray's runtime_env.", rich_help_panel=_JOB),
]
Dashboard = Annotated[
    str | None,
    Option("--address", metavar="ADDR", help="The cluster, for a job that was not submitted from here."),
]
RunOrJob = Annotated[
    str, Argument(metavar="RUN|JOB", show_default=False, help="A run's folder, or the id of a submitted job.")
]
Job = Annotated[str, Argument(metavar="JOB|RUN", show_default=False, help="A job's id, or its run.")]
Follow = Annotated[bool, Option("--follow", "-f", help="Stay, and show what comes.")]
Lines = Annotated[int, Option("--lines", "-n", metavar="N", min=0, help="The last N; 0 for all.")]

# doctor
OptionalSpec = Annotated[
    str | None, Argument(metavar="[SPEC]", help="Its trainable is loaded on every node, its workers fitted.")
]
ExpectedNodes = Annotated[int | None, Option("--nodes", metavar="N", min=1, help="So many there should be.")]
WaitFor = Annotated[float, Option("--wait", metavar="S", min=0, help="Wait so long for Ray and the nodes.")]
Timeout = Annotated[float, Option(metavar="S", min=0.1, help="What a node has for its answer.")]

# cluster
_KINDS = "aws, gcp, ssh, kuberay-job, kuberay-cluster, slurm"
_CLOUD, _KUBERNETES, _SLURM = "Cloud and SSH", "Kubernetes", "Slurm"
Kind = Annotated[str, Argument(metavar="KIND", show_default=False, help=_KINDS)]
SpecToLaunch = Annotated[str, Argument(metavar="SPEC", help="The search: a YAML file, or an example.")]
Nodes = Annotated[int, Option(metavar="N", help="Nodes that train, from the start on.")]
MaxNodes = Annotated[int | None, Option(metavar="N", help="Up to which it grows.")]
Gpus = Annotated[int, Option(metavar="N", help="Of each node.")]
Cpus = Annotated[int | None, Option(metavar="N", help="Of each node.")]
NodeMemory = Annotated[
    str | None, Option(metavar="SIZE", help="Of each node: 64Gi (Kubernetes), 64G (Slurm).")
]
ClusterName = Annotated[str | None, Option("--name", metavar="NAME", help="Of the cluster; the spec's.")]
ClusterStorage = Annotated[
    str | None,
    Option("--storage", metavar="DIR", help="Where runs are kept: seen by all nodes, or s3://, gs://."),
]
Setup = Annotated[
    list[str] | None,
    Option("--setup", metavar="COMMAND", help="Shell commands on each node first. Repeatable."),
]
Image = Annotated[str | None, Option(metavar="IMAGE", help="Container image, with raysearch in it.")]
Install = Annotated[
    list[str] | None,
    Option("--install", metavar="PACKAGE", help="What pip installs on each node. Repeatable."),
]
Spot = Annotated[bool, Option("--spot", help="Nodes that train may be taken away, and cost less.")]
InstanceType = Annotated[str | None, Option(metavar="TYPE", help="Machine type.", rich_help_panel=_CLOUD)]
Accelerator = Annotated[
    str | None,
    Option(metavar="NAME", help="GPU's name: nvidia-tesla-t4 (GCP), a100 (Slurm).", rich_help_panel=_CLOUD),
]
Region = Annotated[str | None, Option(metavar="REGION", rich_help_panel=_CLOUD)]
Zone = Annotated[str | None, Option(metavar="ZONE", rich_help_panel=_CLOUD)]
Project = Annotated[str | None, Option(metavar="ID", help="Of Google Cloud.", rich_help_panel=_CLOUD)]
Hosts = Annotated[
    str | None,
    Option(metavar="HOST,HOST,...", help="Machines of kind ssh, the head first.", rich_help_panel=_CLOUD),
]
User = Annotated[str | None, Option(metavar="USER", help="For SSH.", rich_help_panel=_CLOUD)]
Key = Annotated[str | None, Option(metavar="FILE", help="Private key for SSH.", rich_help_panel=_CLOUD)]
Claim = Annotated[
    str | None,
    Option(metavar="NAME", help="Volume claim to mount at the storage.", rich_help_panel=_KUBERNETES),
]
Secret = Annotated[
    str | None,
    Option(metavar="NAME", help="Its entries become environment variables.", rich_help_panel=_KUBERNETES),
]
NodeLabel = Annotated[
    list[str] | None,
    Option(
        "--node-label",
        metavar="KEY=VALUE",
        help="Of the nodes to use. Repeatable.",
        rich_help_panel=_KUBERNETES,
    ),
]
TimeLimit = Annotated[
    str | None, Option("--time", metavar="LIMIT", help="Such as 12:00:00.", rich_help_panel=_SLURM)
]
Partition = Annotated[str | None, Option(metavar="NAME", rich_help_panel=_SLURM)]
Account = Annotated[str | None, Option(metavar="NAME", rich_help_panel=_SLURM)]
ClusterFile = Annotated[
    Path | None, Option("-o", "--output", metavar="FILE", help="Not NAME-KIND.yaml; - is stdout.")
]
JobCommand = Annotated[
    list[str],
    Argument(metavar="-- COMMAND...", show_default=False, help="Without `raysearch`: resume s3://..."),
]
