"""`raysearch transfer`: settings of a search at a small scale for its target, and the target's spec."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from raysearch.cli import options
from raysearch.cli.completion import run_names
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json, say

if TYPE_CHECKING:
    from raysearch.results.results import Results
    from raysearch.workflows.memory.store import Memory
    from raysearch.workflows.scaling import Transfer

Others = Annotated[
    list[str] | None,
    Option(
        "--with",
        metavar="RUN",
        help="The same search at another size: a law is fitted through both. Repeatable.",
        autocompletion=run_names,
    ),
]
Out = Annotated[
    Path | None, Option("--out", metavar="DIR", help="Folder for the two files; the run's if not given.")
]

Searched = Annotated[
    str | None,
    Option(
        "--judge-by",
        metavar="RUN",
        help="A search at the target: say which carried values held there, and note it in the memory.",
        autocompletion=run_names,
    ),
]
Model = Annotated[
    str | None,
    Option(
        metavar="NAME", help="The kind of model that --judge-by notes, such as transformer; the run's name."
    ),
]
Remembered = Annotated[
    str | None,
    Option(
        "--memory",
        metavar="DIR",
        envvar="RAYSEARCH_MEMORY",
        help="Folder or URL of earlier judgements; the one of the run's spec.",
    ),
]


def transfer(
    run: options.Run,
    others: Others = None,
    out: Out = None,
    judge_by: Searched = None,
    model: Model = None,
    memory: Remembered = None,
    as_json: options.AsJson = False,
) -> None:
    """Carry a search's settings to the target of its [bold]scale[/bold]; write the target's spec.

    The spec is one guarded training: panda from the settings, put back where the loss spikes.
    """
    from raysearch.workflows.memory import across_scale
    from raysearch.workflows.memory.store import Memory
    from raysearch.workflows.scaling import transfer as carried

    results = opened(run)
    found = carried(results, [opened(other) for other in others or ()])
    where = memory or results.spec.get("memory")
    held = None if where is None else Memory(where)
    if judge_by is not None:
        _judge(
            found,
            opened(judge_by),
            model or str(results.spec.get("name") or results.path.name),
            held,
            as_json,
        )
        return
    if held is not None:
        known = across_scale.past(held)
        for name, why in known.bad:
            say(f"note: memory {held.where}: {name} is not used: {why}")
        found = across_scale.with_past(found, known.good)
    folder = results.path if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    spec, settings = found.write(folder)
    if as_json:
        print_json({**_plain(found), "spec": str(spec), "settings_file": str(settings)})
        return
    show = console()
    show.print(str(found), soft_wrap=True)
    show.print(f"\nsettings  {settings}\ntrain it  {command('launch', str(spec))}", soft_wrap=True)


def _judge(found: Transfer, target: Results, model: str, memory: Memory | None, as_json: bool) -> None:
    """Prints which of the carried values held at the target, and notes it in the memory."""
    from raysearch.workflows.memory.across_scale import judged, remember

    seen = judged(found, target, model)
    file = None if memory is None else f"{memory.where}/{remember(memory, seen)}"
    if as_json:
        print_json({**dataclasses.asdict(seen), "file": file})
        return
    noted = (
        f"noted in  {file}" if file else "not noted: give --memory DIR, so that later transfers know of it"
    )
    console().print(f"{seen}\n\n{noted}", soft_wrap=True)


def _plain(found: Transfer) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "settings": found.settings,
        "sizes": found.sizes,
        "values": [
            {
                "name": one.name,
                "proxy": one.proxy,
                "target": one.value,
                "by": one.by,
                "interval": one.interval,
                "transfers": one.transfers,
                "doubts": one.doubts,
                "past": one.past,
            }
            for one in found.values
        ],
        "coordinate_check": None if found.check is None else found.check.verdict,
    }
