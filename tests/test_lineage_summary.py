"""Lineages as people read them, of frames made by hand: what was lost, and a month in a page."""

from __future__ import annotations

import math

import pandas as pd

from raysearch.core.segment import segment_id
from raysearch.report.lineage_rows import rows_of
from raysearch.report.lineage_summary import SPANS, summary_of


def frame_of(*segments: tuple[int, int | None, int, int, float, str, bool]) -> pd.DataFrame:
    """Of (id, parent, start, reached, lr, event, on_path)."""
    columns = ["id", "parent", "start", "reached", "config.lr", "event", "on_path"]
    frame = pd.DataFrame(segments, columns=columns)
    frame["id"] = [segment_id(i, 0) for i in frame["id"]]
    frame["parent"] = pd.array(
        [None if pd.isna(p) else segment_id(int(p), 0) for p in frame["parent"]], dtype="Int64"
    )
    return frame.assign(
        value=[1.0 / (1 + r) for r in frame["reached"]],
        trial=range(len(frame)),
        words=[f"{event} {i}" for i, event in enumerate(frame["event"])],
        reason=[f"{event}: {i}" for i, event in enumerate(frame["event"])],
        status="completed",
        error="",
        seed=7,
    )


SPIKED = frame_of(
    (0, None, 0, 10, 0.1, "start", True),
    (1, 0, 10, 12, 0.1, "hold", False),
    (2, 0, 10, 12, 0.4, "nudge", False),  # was accepted, and taken back
    (3, 2, 12, 20, 0.4, "accept", False),
    (4, 3, 20, 25, 0.4, "keep", False),
    (5, 0, 10, 20, 0.1, "rollback", True),
    (6, 5, 20, 30, 0.0, "decay", True),
)


def test_what_was_taken_back_and_what_it_cost_is_said() -> None:
    found = summary_of(SPIKED)
    assert (found.line, found.probes, found.taken_back, found.others) == (30, 2, 15, 0)
    assert found.cost == 47 / 30
    (back,) = found.put_back
    assert (back.segment, back.reached, back.to, back.lost) == ("5.0", 25, 10, 15)
    assert [(s.start, s.stop, s.lost) for s in found.spans] == [(0, 10, 0), (10, 20, 10), (20, 30, 5)]
    assert found.spans[-1].values == "lr 0.1 -> 0"


def test_a_stretch_that_was_taken_back_stands_beside_the_line_as_one_row() -> None:
    rows = list(rows_of(SPIKED))
    beside = [row for row in rows if not row.is_trunk]
    assert [(row.start, row.stop, row.values, row.event) for row in beside] == [(10, 25, "lr 0.4", "accept")]
    assert [row.values for row in rows if row.is_trunk] == ["lr 0.1", "", "lr 0"]


def test_an_arm_that_failed_keeps_its_row() -> None:
    failed = SPIKED.assign(status=["failed" if i == 1 else "completed" for i in range(len(SPIKED))])
    assert [(row.segment, row.status) for row in rows_of(failed) if not row.is_trunk] == [
        ("1.0", "failed"),
        ("2.0", "completed"),
    ]


def test_a_month_is_a_page() -> None:
    """4,000 cycles of two arms and a stretch, each with another value."""
    segments: list[tuple[int, int | None, int, int, float, str, bool]] = [(0, None, 0, 1, 0.1, "start", True)]
    tip = 0
    for cycle in range(4_000):
        at, first = 1 + 5 * cycle, 1 + 3 * cycle
        segments.append((first, tip, at, at + 1, 0.1, "hold", False))
        segments.append((first + 1, tip, at, at + 1, 0.1 + cycle, "nudge", True))
        segments.append((first + 2, first + 1, at + 1, at + 5, 0.1 + cycle, "accept", True))
        tip = first + 2
    frame = frame_of(*segments)
    found = summary_of(frame)
    assert len(found.spans) == SPANS
    assert sum(span.accepted for span in found.spans) == 4_000
    assert found.probes == 4_000
    assert math.isclose(found.cost, 24_001 / 20_001)
