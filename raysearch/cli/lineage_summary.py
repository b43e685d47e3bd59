"""`raysearch lineage --summary`: a training of any length in some twenty lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from raysearch.cli.output import console, print_json
from raysearch.core.formatting import number
from raysearch.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.report.lineage_summary import PutBack, Summary
    from raysearch.results.results import Results

BACKS_SHOWN = 8


def show_summary(results: Results, frame: pd.DataFrame, as_json: bool) -> None:
    """Prints what the lineage came to; of a run without a good end it raises RunError."""
    from raysearch.report.lineage_summary import summary_of

    if not frame["on_path"].any():
        raise RunError(f"{results.path}: no model ended well yet, so nothing led to one")
    summary = summary_of(frame)
    if as_json:
        sums = {"trained": summary.trained, "cost": summary.cost, "metric": results.metric}
        print_json({**asdict(summary), **sums})
        return
    out = console()
    for line in heading(summary, results.metric, results.mode):
        out.print(line, soft_wrap=True)
    out.print()
    _show_spans(summary, results.metric)
    if summary.put_back:
        lost = sum(back.lost for back in summary.put_back)
        out.print(f"\nput back {_times(len(summary.put_back))}, {_iterations(lost)} of progress lost:")
        _show_backs(summary.put_back)


def heading(summary: Summary, metric: str, mode: str) -> list[str]:
    """What it came to and what it cost, in sentences."""
    better = "lower" if mode == "min" else "higher"
    said = [
        f"{metric} {number(summary.first)} -> {number(summary.last)} ({better} is better) "
        f"over {_iterations(summary.line)}",
        f"trained {_iterations(summary.trained - summary.others)}, {summary.cost:.2f} times that: "
        f"{summary.probes:,} in probes that were left, {summary.taken_back:,} taken back",
    ]
    if summary.others:
        said.append(f"beside it {_iterations(summary.others)} of models from other fresh starts")
    return said


# ---- inside


def _show_spans(summary: Summary, metric: str) -> None:
    from rich.table import Table

    from raysearch.run.display.safe_console import safe_text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("iterations", justify="right", no_wrap=True)
    table.add_column("what changed", overflow="fold", ratio=1)
    for name in (metric, "accepted", "rejected", "put back", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for span in summary.spans:
        counts = (span.accepted, span.rejected, span.put_back, span.lost)
        table.add_row(
            f"{span.start:,}-{span.stop:,}",
            safe_text(span.values + (f"; {span.ordered} ordered" if span.ordered else "")),
            number(span.metric),
            *(f"{count:,}" if count else "" for count in counts),
        )
    console().print_table(table)


def _show_backs(backs: Sequence[PutBack]) -> None:
    """Those that cost the most, in the order in which they were."""
    from raysearch.run.display.safe_console import safe_text

    costly = sorted(range(len(backs)), key=lambda i: -backs[i].lost)[:BACKS_SHOWN]
    out = console()
    for i in sorted(costly):
        back = backs[i]
        out.print(safe_text(f"  {back.reached:,} -> {back.to:,}, segment {back.segment}: {back.words}"))
    if len(backs) > BACKS_SHOWN:
        out.print(f"  and {len(backs) - BACKS_SHOWN:,} that cost less")


def _iterations(count: int) -> str:
    return f"{count:,} iteration{'' if count == 1 else 's'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
