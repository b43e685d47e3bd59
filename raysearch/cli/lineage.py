"""`raysearch lineage`: how a model came about, drawn as a trunk with its side branches.

The trunk is what led to the best trial (or the one asked for). Beside it stands what was tried and left:
probes that lost, stretches that were taken back. Neighbours on the trunk with one reason are one row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json
from raysearch.core.formatting import number, setting
from raysearch.core.segment import segment_label, trial_name
from raysearch.errors import RunError
from raysearch.schedule import used_ends

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.results.results import Results

USED_ALIKE = 1e-6  # relative difference up to which a used value is the one asked for
LINES_SHOWN = 8  # of other models
STYLES = {"accept": "green", "rollback": "bold red", "order": "bold cyan", "clone": "cyan", "steady": "cyan"}


@dataclass(frozen=True)
class Row:
    """A row of the drawing: segments on the way to the model, or a side branch."""

    is_trunk: bool
    segment: str
    start: int
    stop: int
    values: str
    metric: float
    event: str
    words: str
    status: str
    segments: int = 1


def lineage(
    run: options.Run,
    trial: options.Trial = None,
    limit: options.LineageLimit = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the segments that led to the best model: each fork, rejection and rollback, with its reason."""
    results = opened(run)
    frame = results.lineage()
    if not len(frame):
        raise RunError(f"{results.path}: no segment has ended yet")
    if trial is not None:
        frame["on_path"] = frame["id"].isin(results.lineage(trial)["id"])
    if as_json:
        print_json(frame.astype(object).where(frame.notna(), None).to_dict("records"))
        return
    rows = list(rows_of(frame))
    _show(results, rows, limit)
    _show_others(results, frame)


def rows_of(frame: pd.DataFrame) -> Iterator[Row]:
    """The trunk from the root up, each row after what branched off where it begins."""
    frame = _with_changes(frame)
    trunk = frame[frame["on_path"]].sort_values("start", kind="stable")
    children: dict[Any, pd.DataFrame] = dict(list(frame[~frame["on_path"]].groupby("parent")))
    kept: list[Any] = []
    for segment in trunk.itertuples():
        beside = children.get(segment.parent)
        if kept and (beside is not None or not _same_reason(kept[-1], segment)):
            yield _merged(kept, True)
            kept = []
        if beside is not None:
            for first in beside.itertuples():
                yield _merged(list(_subtree(first, children)), False)
        kept.append(segment)
    if kept:
        yield _merged(kept, True)


# ---- inside


def _with_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """`values`: of each segment's hyper-parameters, those that differ anywhere, and the used ones beside."""
    names = [name for name in frame.columns if name.startswith("config.")]
    changing = [name.removeprefix("config.") for name in names if frame[name].astype(str).nunique() > 1]
    texts = [", ".join(_value(name, row) for name in changing) for row in frame.to_dict("records")]
    return frame.assign(values=texts if changing else "")


def _value(name: str, row: Mapping[Any, Any]) -> str:
    """`lr 0.001`, or `lr 0.001 (used 0.0008 to 0.0002)` where the optimizer held something else."""
    asked = row[f"config.{name}"]
    text = f"{name} {setting(asked)}"
    ends = used_ends(row, name)
    if ends is None or all(math.isclose(end, asked, rel_tol=USED_ALIKE) for end in ends):
        return text
    first, last = (setting(end) for end in ends)
    return f"{text} (used {first})" if first == last else f"{text} (used {first} to {last})"


def _subtree(first: Any, children: dict[Any, pd.DataFrame]) -> Iterator[Any]:
    waiting = [first]
    while waiting:
        segment = waiting.pop(0)
        yield segment
        beyond = children.get(segment.id)
        waiting += [] if beyond is None else list(beyond.itertuples())


def _same_reason(one: Any, other: Any) -> bool:
    return bool(one.reason == other.reason and one.trial == other.trial)


def _merged(segments: Sequence[Any], is_trunk: bool) -> Row:
    first, last = segments[0], max(segments, key=lambda s: s.reached)
    values = first.values if first.values == last.values else f"{first.values} -> {last.values}"
    bad = next((s for s in segments if s.status != "completed"), None)
    told = first if is_trunk else next((s for s in segments if s.event == "accept"), first)
    return Row(
        is_trunk,
        segment_label(int(first.id)),
        first.start,
        last.reached,
        values,
        last.value,
        told.event,
        told.words if bad is None or not bad.error else f"{told.words}; {bad.status}: {bad.error}",
        last.status if bad is None else bad.status,
        len(segments),
    )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _show(results: Results, rows: Sequence[Row], limit: int | None) -> None:
    from rich.table import Table

    from raysearch.run.display.safe_console import safe_text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("segment", no_wrap=True)
    table.add_column("iterations", justify="right", no_wrap=True)
    table.add_column("with", overflow="fold", max_width=28)
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
    out.print(
        f"\n● what led to the model   ├╴ what was tried beside it and left ({beside:,})", soft_wrap=True
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
