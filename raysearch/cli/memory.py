"""`raysearch memory add | import | list | show | forget`: finished searches, remembered by task."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from raysearch.cli import options
from raysearch.cli.memory_import import import_
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json, say

if TYPE_CHECKING:
    from raysearch.workflows.memory.store import MemoryContent

app = typer.Typer(no_args_is_help=True, help="Remember finished searches, for new ones to start from.")
Where = Annotated[
    str, Option("--memory", metavar="DIR", envvar="RAYSEARCH_MEMORY", help="Folder or URL of the memory.")
]
Task = Annotated[str, Argument(metavar="TASK", help="Name of the task.")]
MaybeTask = Annotated[str, Argument(metavar="[TASK]", show_default=False, help="Name of the task.")]
Name = Annotated[
    str | None, Option("--task", metavar="NAME", help="Name of the task. Default: the run's name.")
]


@app.command()
def add(run: options.Run, memory: Where = "memory", task: Name = None) -> None:
    """Remember a finished search; adding it again updates its record."""
    from raysearch.workflows.memory.store import Memory, record_of

    record = record_of(opened(run), task=task, now=time.time())
    known = [r for r in Memory(memory).records().good if r.task == record.task and r.run != record.run]
    name = Memory(memory).add(record)
    console().print(
        f"remembered {record.task}: {len(record.configs):,} trials, in {os.path.join(memory, name)}",
        soft_wrap=True,
    )
    if known:
        say(f"note: {record.task} was remembered from {known[-1].run} too; the newer of them counts")


app.command(name="import")(import_)


@app.command(name="list")
def list_(memory: Where = "memory", as_json: options.AsJson = False) -> None:
    """List the remembered searches."""
    from raysearch.workflows.memory.recall import sought
    from raysearch.workflows.memory.store import PLAIN
    from raysearch.workflows.retest.calendar import day_of

    held = _held(memory)
    rows = [
        {
            "task": r.task,
            "metric": sought(r.goals),
            "trials": len(r.configs),
            "added": str(day_of(r.at)),
            "settings": r.verdict or "not retested",
            "run": r.run,
        }
        for r in held.good
    ]
    if as_json:
        print_json({"records": rows, "unreadable": [{"file": f, "why": w} for f, w in held.bad]})
        return
    _print(rows, f"nothing is remembered in {memory}; add a run: raysearch memory add RUN")
    for file, why in held.bad:
        say(f"warning: {file} is not used: {why}")
    for file in held.plain:
        say(f"note: {file}: {PLAIN}")


@app.command()
def show(task: MaybeTask = "", memory: Where = "memory", as_json: options.AsJson = False) -> None:
    """Show which hyper-parameters mattered everywhere and which only here, and a task's best trials."""
    from raysearch.errors import RunError, unknown
    from raysearch.workflows.memory.recall import importance_table

    held = _held(memory)
    newest = {r.task: r for r in held.good}
    if task and task not in newest:
        raise RunError(f"memory {memory!r}: {unknown('task', task, newest)}")
    table = importance_table(list(newest.values()), task)
    best = _best(newest[task]) if task else []
    if as_json:
        print_json({"importance": table, "best": best})
        return
    out = console()
    out.print("share of the variance that each hyper-parameter explains alone\n")
    _print(
        [{k: f"{v:.0%}" if isinstance(v, float) and v == v else v for k, v in row.items()} for row in table],
        "no remembered search had enough trials to say",
    )
    if best:
        out.print(f"\nthe best of {task}\n")
        _print(best, "")


@app.command()
def forget(task: Task, memory: Where = "memory") -> None:
    """Forget every search of a task."""
    from raysearch.workflows.memory.store import Memory

    count = Memory(memory).forget(task)
    console().print(f"forgot {count} {'search' if count == 1 else 'searches'} of {task}")


def _held(memory: str) -> MemoryContent:
    from raysearch.errors import RunError
    from raysearch.workflows.memory.store import Memory

    found = Memory(memory)
    if not found.is_there:
        add = command("memory", "add", "RUN", "--memory", memory)
        raise RunError(f"memory {memory!r}: there is no such folder; a run that is added makes it: {add}")
    return found.records()


def _best(record: Any, rows: int = 5) -> list[dict[str, Any]]:
    import numpy as np

    from raysearch.core.formatting import number, settings

    order = np.argsort(record.scores)[:rows].tolist()
    return [
        {
            record.metric: number(record.values[i]),
            **{name: number(values[i]) for name, values in record.further.items()},
            "iterations": record.iterations[i],
            **settings(record.configs[i]),
        }
        for i in order
    ]


def _print(rows: list[dict[str, Any]], nothing: str) -> None:
    from rich.table import Table

    if not rows:
        console().print(nothing)
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    names = list(dict.fromkeys(n for row in rows for n in row))
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in names))
    console().print_table(table)
