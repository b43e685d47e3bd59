"""`raysearch compare`: searches side by side, as a table or as one HTML page."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from raysearch.cli import options
from raysearch.cli.opened_run import opened
from raysearch.cli.output import console, print_json, tell, writing
from raysearch.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raysearch.report.compare import Compared
    from raysearch.results.results import Results


def compare(runs: options.Runs, output: options.PageFile = None, as_json: options.AsJson = False) -> None:
    """Compare searches: what each found, how soon, and at what cost."""
    from raysearch.report.compare import compare as compared

    if output is not None and as_json:
        raise SpecError("--json and -o: give one of them")
    results = [opened(run) for run in runs]
    found = compared(results)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
    elif output is not None:
        from raysearch.report.report import write_comparison

        text = write_comparison(results, found)
        with writing(output, "-o") as file:
            file.write_text(text, encoding="utf-8")
        tell(f"comparison written to {output}")
    else:
        _show(results, found)


def _show(results: Sequence[Results], found: Sequence[Compared]) -> None:
    from rich.table import Table

    from raysearch.report.compare import rows_of

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold", show_edge=False)
    table.add_column("", style="dim")
    for one in found:
        table.add_column(one.run, justify="right", overflow="fold")
    for row in rows_of(results, found):
        table.add_row(*row)
    console().print_table(table)
