"""The arguments and options of the commands, each defined once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from raysearch.cli.completion import run_names, spec_names
from raysearch.core.segment import trial_number


def _trial(text: str) -> int:
    """The number of a trial; also of `17b`, as screens show the second trial with number 17."""
    try:
        return trial_number(text)
    except ValueError:
        raise BadParameter(f"{text!r} is no trial; they are like 17, or 17b") from None


class Executor(str, Enum):
    """What runs the search."""

    tune = "tune"
    inline = "inline"


Run = Annotated[
    str,
    Argument(
        metavar="RUN",
        show_default=False,
        help="The run's folder, such as runs/digits.",
        autocompletion=run_names,
    ),
]
Runs = Annotated[
    list[str],
    Argument(metavar="RUN...", show_default=False, help="Folders of runs.", autocompletion=run_names),
]
AsJson = Annotated[bool, Option("--json", help="Print JSON, for scripts.")]

# launch and resume
Spec = Annotated[
    str,
    Argument(
        metavar="SPEC",
        help="A YAML file, or an example: digits, panda_mnist1d, ...",
        autocompletion=spec_names,
    ),
]
Name = Annotated[str | None, Option(metavar="NAME", help="Name of the run and its folder.")]
Storage = Annotated[str | None, Option(metavar="DIR", help="Folder that runs are kept in.")]
Workers = Annotated[int | None, Option(metavar="N", min=1, help="How many workers train side by side.")]
Samples = Annotated[int | None, Option(metavar="N", min=1, help="How many configurations the search tries.")]
Sets = Annotated[
    list[str] | None,
    Option(
        "--set", metavar="KEY=VALUE", help="Change a field of the spec, such as strategy.eta=4. Repeatable."
    ),
]
By = Annotated[
    Executor, Option(metavar="tune|inline", help="Train on Ray workers, or in this process to debug.")
]
SkipChecks = Annotated[
    bool, Option("--skip-checks", help="Leave out the short check of the cluster (raysearch doctor).")
]
Local = Annotated[bool, Option("--local", help="Start a Ray cluster for this search alone.")]
Address = Annotated[
    str | None,
    Option(
        metavar="ADDR",
        help="Ray cluster: auto, HOST:PORT; http://, ray:// submit. Default: one here, else a new one.",
    ),
]
FromCheckpoint = Annotated[
    Path | None, Option(metavar="DIR", help="Start from this checkpoint of a partly trained model (panda).")
]
AtIteration = Annotated[
    int | None, Option(metavar="K", min=1, help="The iteration of that checkpoint, if it does not hold it.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Show rungs, trials and cost; start nothing.")]
NotifyTest = Annotated[
    bool, Option("--notify-test", help="With --dry-run: send one message as notify: says.")
]
Seconds = Annotated[
    float | None, Option(min=0, metavar="S", help="With --dry-run: show the cost in hours too.")
]
MoreSamples = Annotated[
    str | None, Option(metavar="N|+N", help="Enlarge the search: N samples in all, or +N more.")
]
MaxIterations = Annotated[
    int | None, Option(metavar="N", min=1, help="Train the best trials for N iterations.")
]
SpaceFile = Annotated[Path | None, Option(metavar="FILE", help="YAML file with another space.")]

Memory = Annotated[
    str | None, Option(metavar="DIR", help="Start from the searches remembered in this folder or URL.")
]

# stepping in, replaying
Values = Annotated[list[str], Argument(metavar="NAME=VALUE...", help="New values, such as lr=3e-4.")]
SegmentName = Annotated[str, Argument(metavar="SEGMENT", help="Name of the segment, such as 12.3.")]
ConfigFile = Annotated[
    Path, Argument(metavar="CONFIG", help="YAML file with a configuration, such as {lr: 0.01, act: relu}.")
]
ReplaySeeds = Annotated[int, Option("--seeds", metavar="N", help="Fresh seeds to train each with.")]
Constants = Annotated[int, Option(metavar="N", help="Constant configurations to compare with.")]
ScheduleFile = Annotated[Path | None, Option(metavar="FILE", help="Replay the schedule in this file.")]

# pausing
Now = Annotated[bool, Option("--now", help="End each training after its current iteration.")]
Grace = Annotated[
    str | None,
    Option(
        metavar="TIME",
        help="Time for running segments to finish, such as 10m; 0 ends them at once. Default: 30s.",
    ),
]
Wait = Annotated[bool, Option("--wait", help="Return only when the run has ended.")]
Hours = Annotated[str | None, Option(metavar="N|+N", help="Limit of wall time: N hours in all, or +N more.")]
GpuHours = Annotated[
    str | None, Option("--gpu-hours", metavar="N|+N", help="Limit of GPU-hours: N in all, or +N more.")
]
CpuHours = Annotated[
    str | None, Option("--cpu-hours", metavar="N|+N", help="Limit of CPU-hours: N in all, or +N more.")
]
Money = Annotated[
    str | None, Option(metavar="N|+N", help="Limit of cost at budget.prices: N in all, or +N more.")
]
StopWhen = Annotated[
    str | None,
    Option(
        "--stop-when",
        metavar="off|RULE",
        help="Go on whatever it gains (off), or until {gain_below: 0.002, cost: {gpu_hours: 5}}.",
    ),
]

# looking at a run
Watch = Annotated[bool, Option("--watch", "-w", help="Keep showing progress until the run ends.")]
OfFront = Annotated[
    str | None,
    Option("--where", metavar="CONDITION", help="Only members of the front such as 'latency_ms < 15'."),
]
Weights = Annotated[
    str | None,
    Option(metavar="NAME=W,...", help="How much objectives count, such as val_loss=2,latency_ms=1."),
]
Where = Annotated[
    str | None, Option(metavar="CONDITION", help="Only trials such as 'value < 0.1 and config.lr > 0.01'.")
]
Sort = Annotated[
    str | None, Option(metavar="COLUMN", help="Sort by this column; -COLUMN puts the highest first.")
]
Limit = Annotated[
    int | None, Option(metavar="N", min=0, help="Number of rows. Default: 20 on the screen, all in files.")
]
EveryTrial = Annotated[
    bool, Option("--all", help="Of raised models, list probes and what was taken back too, not lines alone.")
]
Csv = Annotated[Path | None, Option("--csv", metavar="FILE", help="Write a CSV file; - is stdout.")]
Parquet = Annotated[Path | None, Option("--parquet", metavar="FILE", help="Write a Parquet file.")]
LineageLimit = Annotated[int | None, Option("--limit", metavar="N", min=1, help="Show the last N rows only.")]
LineageSummary = Annotated[
    bool,
    Option("--summary", help="Show what it came to: cost, how values moved, where the model was put back."),
]
EverySegment = Annotated[bool, Option("--all", help="Show both arms of each fork, not its decision alone.")]
Trial = Annotated[int | None, Option(metavar="N", parser=_trial, help="Take this trial instead of the best.")]
Config = Annotated[bool, Option("--config", help="Write the configuration (the default).")]
Schedule = Annotated[
    bool, Option("--schedule", help="Write the schedule: the configuration of each iteration.")
]
Output = Annotated[
    Path | None, Option("-o", "--output", metavar="FILE", help="YAML file; JSON if its name ends in .json.")
]
Steer = Annotated[
    bool, Option("--steer", help="Take orders too, from whoever opens the address that is printed.")
]
Port = Annotated[int, Option(metavar="N", min=0, max=65535, help="Port of the page; 0 takes a free one.")]
ToWandb = Annotated[bool, Option("--wandb", help="Save or update the report at W&B too.")]
Sinks = Annotated[list[str], Argument(metavar="NAME...", help="tensorboard, mlflow, or module:attribute.")]
ReportFile = Annotated[
    Path | None, Option("-o", "--output", metavar="FILE", help="File to write. Default: RUN/report.html.")
]
PageFile = Annotated[Path | None, Option("-o", "--output", metavar="FILE", help="Write an HTML page.")]
OfBaseline = Annotated[
    bool, Option("--baseline", help="Take the baseline, as the finish trained it, instead of the best.")
]
Checkpoint = Annotated[Path | None, Option(metavar="DIR", help="Copy the checkpoint into this new folder.")]

Bench = Annotated[str, Argument(metavar="NAME", show_default=False)]

# a cluster
_JOB = "As a job on a cluster"
Submit = Annotated[
    bool,
    Option(
        "--submit",
        help="Run it as a job on the cluster; it needs this machine no longer.",
        rich_help_panel=_JOB,
    ),
]
FollowJob = Annotated[
    bool,
    Option("--follow/--no-wait", help="Print the output of the job until it ends.", rich_help_panel=_JOB),
]
WorkingDir = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        help="Folder of your files that the job gets. Default: the current folder.",
        rich_help_panel=_JOB,
    ),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        "--exclude",
        metavar="PATTERN",
        help="Files of it that stay here, as in .gitignore. Repeatable.",
        rich_help_panel=_JOB,
    ),
]
Pip = Annotated[
    list[str] | None,
    Option(
        "--pip",
        metavar="PACKAGE",
        help="Package that pip installs for the job. Repeatable.",
        rich_help_panel=_JOB,
    ),
]
PyModule = Annotated[
    list[str] | None,
    Option(
        "--py-module",
        metavar="DIR",
        help="Folder of a package of yours, sent along. Repeatable.",
        rich_help_panel=_JOB,
    ),
]
RuntimeEnv = Annotated[
    Path | None,
    Option(metavar="FILE", help="YAML file with more fields of Ray's runtime_env.", rich_help_panel=_JOB),
]
Dashboard = Annotated[
    str | None,
    Option("--address", metavar="ADDR", help="Cluster of a job that another machine submitted."),
]
RunOrJob = Annotated[
    str,
    Argument(
        metavar="RUN|JOB",
        show_default=False,
        help="A run's folder, or the id of a submitted job.",
        autocompletion=run_names,
    ),
]
Job = Annotated[
    str,
    Argument(metavar="JOB|RUN", show_default=False, help="A job's id, or its run.", autocompletion=run_names),
]
Follow = Annotated[bool, Option("--follow", "-f", help="Keep printing new lines until the run ends.")]
Lines = Annotated[
    int, Option("--lines", "-n", metavar="N", min=0, help="Print the last N lines; 0 prints all.")
]

# doctor
OptionalSpec = Annotated[
    str | None,
    Argument(
        metavar="[SPEC]",
        help="Load its trainable on every node, and count the workers that fit.",
        autocompletion=spec_names,
    ),
]
ExpectedNodes = Annotated[int | None, Option("--nodes", metavar="N", min=1, help="Expect N nodes.")]
WaitFor = Annotated[
    float, Option("--wait", metavar="S", min=0, help="Wait up to S seconds for Ray and the nodes.")
]
Timeout = Annotated[
    float, Option(metavar="S", min=0.1, help="Wait up to S seconds for the answer of a node.")
]

# cluster
_KINDS = "aws, gcp, ssh, kuberay-job, kuberay-cluster, slurm"
_CLOUD, _KUBERNETES, _SLURM = "Cloud and SSH", "Kubernetes", "Slurm"
Kind = Annotated[str, Argument(metavar="KIND", show_default=False, help=_KINDS)]
SpecToLaunch = Annotated[
    str,
    Argument(metavar="SPEC", help="The search: a YAML file, or an example.", autocompletion=spec_names),
]
Nodes = Annotated[int, Option(metavar="N", help="Nodes that train, at the start.")]
MaxNodes = Annotated[int | None, Option(metavar="N", help="Nodes that train, at most.")]
Gpus = Annotated[int, Option(metavar="N", help="GPUs of each node.")]
Cpus = Annotated[int | None, Option(metavar="N", help="CPUs of each node.")]
NodeMemory = Annotated[
    str | None, Option(metavar="SIZE", help="Memory of each node: 64Gi (Kubernetes), 64G (Slurm).")
]
ClusterName = Annotated[
    str | None, Option("--name", metavar="NAME", help="Name of the cluster. Default: made of the spec's.")
]
ClusterStorage = Annotated[
    str | None,
    Option("--storage", metavar="DIR", help="Folder that all nodes see, or s3://, gs://, for the runs."),
]
Setup = Annotated[
    list[str] | None,
    Option("--setup", metavar="COMMAND", help="Shell command that each node runs first. Repeatable."),
]
Image = Annotated[str | None, Option(metavar="IMAGE", help="Container image that holds raysearch.")]
Install = Annotated[
    list[str] | None,
    Option(
        "--install",
        metavar="WHEEL|FOLDER|PACKAGE",
        help="What pip installs on each node: raysearch's wheel or checkout, further packages. Repeatable.",
    ),
]
Spot = Annotated[bool, Option("--spot", help="Train on cheaper nodes that the cloud may take away.")]
InstanceType = Annotated[
    str | None, Option(metavar="TYPE", help="Machine type of the nodes.", rich_help_panel=_CLOUD)
]
Accelerator = Annotated[
    str | None,
    Option(
        metavar="NAME", help="Name of the GPU: nvidia-tesla-t4 (GCP), a100 (Slurm).", rich_help_panel=_CLOUD
    ),
]
Region = Annotated[str | None, Option(metavar="REGION", help="Region of the cloud.", rich_help_panel=_CLOUD)]
Zone = Annotated[str | None, Option(metavar="ZONE", help="Zone of the region.", rich_help_panel=_CLOUD)]
Project = Annotated[str | None, Option(metavar="ID", help="Project of Google Cloud.", rich_help_panel=_CLOUD)]
Hosts = Annotated[
    str | None,
    Option(metavar="HOST,HOST,...", help="Machines for ssh, the head first.", rich_help_panel=_CLOUD),
]
User = Annotated[str | None, Option(metavar="USER", help="User that logs in by SSH.", rich_help_panel=_CLOUD)]
Key = Annotated[str | None, Option(metavar="FILE", help="Private key of that user.", rich_help_panel=_CLOUD)]
Claim = Annotated[
    str | None,
    Option(metavar="NAME", help="Volume claim that is mounted at the storage.", rich_help_panel=_KUBERNETES),
]
Secret = Annotated[
    str | None,
    Option(
        metavar="NAME", help="Secret whose entries become environment variables.", rich_help_panel=_KUBERNETES
    ),
]
NodeLabel = Annotated[
    list[str] | None,
    Option(
        "--node-label",
        metavar="KEY=VALUE",
        help="Label of the nodes to use. Repeatable.",
        rich_help_panel=_KUBERNETES,
    ),
]
TimeLimit = Annotated[
    str | None,
    Option(
        "--time", metavar="LIMIT", help="Time limit of the job, such as 12:00:00.", rich_help_panel=_SLURM
    ),
]
Partition = Annotated[str | None, Option(metavar="NAME", help="Partition to run in.", rich_help_panel=_SLURM)]
Account = Annotated[str | None, Option(metavar="NAME", help="Account to charge.", rich_help_panel=_SLURM)]
ClusterFile = Annotated[
    Path | None,
    Option("-o", "--output", metavar="FILE", help="File to write; - is stdout. Default: NAME-KIND.yaml."),
]
JobCommand = Annotated[
    list[str],
    Argument(
        metavar="-- COMMAND...", show_default=False, help="The command without `raysearch`: resume s3://..."
    ),
]
