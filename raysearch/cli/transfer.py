"""`raysearch transfer`: settings of a search at a small scale for its target, and the target's spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from raysearch.cli import options
from raysearch.cli.completion import run_names
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json

if TYPE_CHECKING:
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


def transfer(
    run: options.Run, others: Others = None, out: Out = None, as_json: options.AsJson = False
) -> None:
    """Carry a search's settings to the target of its [bold]scale[/bold]; write the target's spec.

    The spec is one guarded training: panda from the settings, put back where the loss spikes.
    """
    from raysearch.workflows.scaling import transfer as carried

    results = opened(run)
    found = carried(results, [opened(other) for other in others or ()])
    folder = results.path if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    spec, settings = found.write(folder)
    if as_json:
        print_json({**_plain(found), "spec": str(spec), "settings_file": str(settings)})
        return
    show = console()
    show.print(str(found), soft_wrap=True)
    show.print(f"\nsettings  {settings}\ntrain it  {command('launch', str(spec))}", soft_wrap=True)


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
            }
            for one in found.values
        ],
        "coordinate_check": None if found.check is None else found.check.verdict,
    }
