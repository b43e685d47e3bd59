"""A search that runs under a display, for every command that starts or resumes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from raysearch.cli.output import command, console
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.engine.wind_down import Ended
    from raysearch.results import Results
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec

INTERRUPTED = 130  # exit code


def follow(
    root: Path, spec: SearchSpec, how: How, start: Callable[[How], Results], as_json: bool
) -> tuple[Results, Ended | None]:
    """Runs a search under a display; returns its results, and why it ended."""
    from raysearch.run.display.panel import display_for
    from raysearch.run.display.status_text import about

    out = console(stderr=as_json)
    display = display_for(out, about(root, spec), shared=how.executor == "inline")
    flags = flags_of(how)
    try:
        with display:
            results = start(dataclasses.replace(how, on_status=display, returns_when_stopped=True))
    except KeyboardInterrupt:
        count = f" ({display.last.trials:,} trials)" if display.last else ""
        out.print(
            f"\nInterrupted. Nothing acknowledged is lost: it is in {shown(root)}{count}.", soft_wrap=True
        )
        out.print(f"go on  {command('resume', shown(root), *flags)}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    return results, display.last.live.end if display.last is not None else None


def flags_of(how: How) -> list[str]:
    """The options with which the next command runs where this one did."""
    if how.executor == "inline":
        return ["--executor", "inline"]
    if how.local:
        return ["--local"]
    return ["--address", how.address] if how.address else []
