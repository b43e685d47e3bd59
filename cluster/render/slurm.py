"""A Slurm batch script: Ray on all nodes of the job, and the search in it."""

from __future__ import annotations

import shlex
from importlib.resources import files

from raysearch.cluster.job_package import run_of
from raysearch.cluster.render.layout import Layout

CPUS = 8  # for each node, or for each of its GPUs
WARNING_S = 120  # before the time limit, in which workers save their trainings


def script(layout: Layout) -> str:
    """The script without its first line: `#SBATCH` lines, this search's settings, and the fixed rest."""
    layout.needs_shared_folder()
    cpus = layout.cpus or CPUS * max(1, layout.gpus)
    wanted = {
        "job-name": layout.name,
        "nodes": str(layout.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(cpus),
        "gres": _gpus(layout),
        "mem": layout.memory,
        "time": layout.time,
        "partition": layout.partition,
        "account": layout.account,
        "chdir": str(layout.working_dir) if layout.working_dir.is_absolute() else None,
        "signal": f"B:TERM@{WARNING_S}",
        "output": f"{layout.name}-%j.log",
        "open-mode": "append",
    }
    lines = [
        f"#SBATCH --{option}={shlex.quote(value)}" for option, value in wanted.items() if value is not None
    ]
    run = run_of(layout.storage, layout.name)
    settings = {"name": layout.name, "spec": layout.spec, "storage": layout.storage, "run": run}
    assigned = [f"{key}={shlex.quote(value)}" for key, value in settings.items()]
    head = [*lines, "#SBATCH --requeue", "", *layout.setup, *assigned, f"cpus={cpus}", f"gpus={layout.gpus}"]
    body = files("raysearch.cluster").joinpath("templates", "slurm.sh").read_text("utf-8")
    return "\n".join([*head, body])


def command(file: str) -> str:
    """The one command that runs it; again, it goes on."""
    return f"sbatch {shlex.quote(file)}"


def _gpus(layout: Layout) -> str | None:
    if not layout.gpus:
        return None
    return ":".join(["gpu", *([layout.accelerator] if layout.accelerator else []), str(layout.gpus)])
