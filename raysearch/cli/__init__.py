"""The command line: `raysearch launch SPEC`, `resume`, `status`, `best`, `export`, `trials` and the others.

Exit codes: 0 success; 2 an error that the user can mend (one message, no traceback), or a search in which no
trial ended well; 75 paused (EX_TEMPFAIL of sysexits: resume it); 130 interrupted or stopped. This module
imports typer alone; numpy, pandas and Ray are loaded by the command that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import raysearch
from raysearch.cli import (
    board,
    catalogue,
    cluster,
    compare,
    doctor,
    init,
    intervene,
    launch,
    lineage,
    logs,
    memory,
    pause,
    plan,
    push,
    replay,
    results,
    retest,
    status,
    transfer,
)
from raysearch.cli.output import say
from raysearch.errors import RaysearchError

ERROR_MAX = 6_000  # characters of an error

app = typer.Typer(
    name="raysearch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"raysearch {raysearch.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hyper-parameter search for torch models on a Ray cluster.

    Begin with [bold]raysearch launch digits[/bold], or copy what [bold]raysearch examples[/bold] shows.
    """


_SEARCH, _LOOK, _CLUSTER, _MORE = "Search", "Look", "On a cluster", "More"
app.command(rich_help_panel=_SEARCH)(init.init)
app.command(rich_help_panel=_SEARCH)(plan.plan)
app.command(rich_help_panel=_SEARCH)(launch.launch)
app.command(rich_help_panel=_SEARCH)(launch.resume)
app.command(rich_help_panel=_SEARCH)(pause.pause)
app.command(rich_help_panel=_SEARCH)(pause.stop)
app.command(rich_help_panel=_SEARCH)(intervene.nudge)
app.command(rich_help_panel=_SEARCH)(intervene.rollback)
app.command(rich_help_panel=_SEARCH)(intervene.enqueue)
app.command(rich_help_panel=_SEARCH)(replay.replay)
app.command(rich_help_panel=_SEARCH)(retest.retest)
app.command(rich_help_panel=_SEARCH)(transfer.transfer)
app.command(rich_help_panel=_LOOK)(status.status)
app.command(rich_help_panel=_LOOK)(logs.logs)
app.command(rich_help_panel=_LOOK)(results.best)
app.command(rich_help_panel=_LOOK)(results.trials)
app.command(rich_help_panel=_LOOK)(lineage.lineage)
app.command(rich_help_panel=_LOOK)(results.export)
app.command(rich_help_panel=_LOOK)(results.report)
app.command(rich_help_panel=_LOOK)(retest.due)
app.add_typer(memory.app, name="memory", rich_help_panel=_SEARCH)
app.command(rich_help_panel=_LOOK)(compare.compare)
app.command(rich_help_panel=_LOOK)(board.board)
app.command(rich_help_panel=_CLUSTER)(doctor.doctor)
app.add_typer(cluster.app, name="cluster", rich_help_panel=_CLUSTER)
app.add_typer(push.wandb, name="wandb", rich_help_panel=_MORE)
app.command(rich_help_panel=_MORE)(push.sink)
app.command(rich_help_panel=_MORE)(catalogue.examples)
app.command(rich_help_panel=_MORE)(catalogue.strategies)
app.command(rich_help_panel=_MORE, add_help_option=False, context_settings=catalogue.PASS_ON)(catalogue.bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; `arguments` are those of the process if None."""
    try:
        app(args=None if arguments is None else [*arguments], prog_name="raysearch")
    except RaysearchError as error:
        say(f"error: {_short(str(error))}")
        return 2
    except OSError as error:  # a file of the user's: no permission, a folder in its place, a full disk
        if error.strerror is None or error.filename is None:
            raise
        say(f"error: {_short(str(error.filename))}: {error.strerror}")
        return 2
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _short(text: str) -> str:
    """The text of an error; the middle of a very long one, which repeats a very long value, is left out."""
    half = ERROR_MAX // 2
    if len(text) <= ERROR_MAX:
        return text
    return f"{text[:half]} ... ({len(text):,} characters) ... {text[-half:]}"
