"""`raysearch lineage`: how a model came about, drawn as a trunk with its side branches.

The trunk is what led to the best trial (or the one asked for). Beside it stands what was tried and left:
stretches that were taken back, and with --all the probes that lost. `raysearch.report.lineage_rows` makes
the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raysearch.cli import options
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json
from raysearch.core.formatting import number
from raysearch.core.segment import trial_name
from raysearch.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.report.lineage_rows import Row
    from raysearch.results.results import Results

LINES_SHOWN = 8  # of other models
STYLES = {"accept": "green", "rollback": "bold red", "order": "bold cyan", "clone": "cyan", "steady": "cyan"}


def lineage(
    run: options.Run,
    trial: options.Trial = None,
    limit: options.LineageLimit = None,
    summary: options.LineageSummary = False,
    every: options.EverySegment = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the segments that led to the best model: each fork, rejection and rollback, with its reason."""
    from raysearch.cli.lineage_summary import show_summary
    from raysearch.report.lineage_rows import rows_of

    results = opened(run)
    frame = results.lineage()
    if not len(frame):
        raise RunError(f"{results.path}: no segment has ended yet")
    if trial is not None:
        frame["on_path"] = frame["id"].isin(results.lineage(trial)["id"])
    if as_json and not summary:
        print_json(frame.astype(object).where(frame.notna(), None).to_dict("records"))
        return
    if summary:
        show_summary(results, frame, as_json)
        return
    rows = list(rows_of(frame, every))
    _show(results, rows, limit, every)
    _show_others(results, frame)


# ---- inside


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _show(results: Results, rows: Sequence[Row], limit: int | None, every: bool) -> None:
    from rich.table import Table

    from raysearch.run.display.safe_console import safe_text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("segment", no_wrap=True)
    table.add_column("iterations", justify="right", no_wrap=True)
    table.add_column("changed", overflow="fold", max_width=28)
    table.add_column(results.metric, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("why", ratio=1, overflow="fold")
    shown = rows if limit is None else rows[-limit:] if limit else []
    for row in shown:
        dim = "" if row.is_trunk else "dim"
        glyph = "● " if row.is_trunk else "├╴"
        event = row.event if row.status == "completed" or row.event else row.status
        table.add_row(
            safe_text(glyph + row.segment, dim),
            safe_text(f"{row.start:,}-{row.stop:,}", dim),
            safe_text(row.values, dim),
            safe_text(number(row.metric), dim),
            safe_text(event, STYLES.get(row.event, dim) if row.is_trunk else dim),
            safe_text(row.words, dim),
        )
    out = console()
    if len(shown) < len(rows):
        out.print(f"the last {len(shown):,} of {len(rows):,} rows\n")
    out.print_table(table)
    beside = sum(not row.is_trunk for row in rows)
    arms = "" if every else "   --all: both arms of each fork"
    out.print(
        f"\n● what led to the model   ├╴ what was left or taken back ({beside:,}){arms}", soft_wrap=True
    )


def _show_others(results: Results, frame: pd.DataFrame) -> None:
    """Prints the models that grew from other roots."""
    roots: dict[int, int] = {}
    parents = frame["parent"].astype(object).where(frame["parent"].notna(), None)
    for segment, parent in zip(frame["id"], parents, strict=True):
        roots[segment] = roots.get(parent, segment) if parent is not None else segment
    frame = frame.assign(root=[roots[segment] for segment in frame["id"]])
    trunk = set(frame.loc[frame["on_path"], "root"])
    groups = [group for root, group in frame.groupby("root", sort=False) if root not in trunk]
    ended = [(int(group["reached"].max()), group) for group in groups]
    out = console()
    if not ended:
        return
    out.print(f"\n{_counted(len(ended), 'other model')} from a fresh start:")
    ended.sort(key=lambda found: -found[0])
    for reached, group in ended[:LINES_SHOWN]:
        last = group[group["reached"] == reached].iloc[-1]
        name = trial_name(int(last["trial"]), ",")
        out.print(
            f"  trial {name}: {_counted(len(group), 'segment')}, to iteration {reached:,} with "
            f"{results.metric} {number(float(last['value']))}",
            soft_wrap=True,
        )
    if len(ended) > LINES_SHOWN:
        out.print(
            f"  and {len(ended) - LINES_SHOWN:,} more: {command('trials', str(results.path))}", soft_wrap=True
        )
