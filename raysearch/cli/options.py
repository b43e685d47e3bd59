"""The arguments and options of the commands, each once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option


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
Local = Annotated[bool, Option("--local", help="Start a Ray cluster for this search alone.")]
Address = Annotated[
    str | None, Option(metavar="ADDR", help="The Ray cluster to use; else one found here, or a new one.")
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
Trial = Annotated[int | None, Option(metavar="N", help="Of this trial instead of the best.")]
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
