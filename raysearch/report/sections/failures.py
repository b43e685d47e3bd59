"""The failures of a run, counted by cause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raysearch.core.segment import trial_name
from raysearch.report.sections.values import Section, TextTable

if TYPE_CHECKING:
    from raysearch.results import Best, Results


CAUSES_SHOWN = 12
FAILURES_READ = 200_000  # whose causes are counted; more are left out, and the report says so


def failures(results: Results, winner: Best | None) -> Section | None:
    """Causes by how many segments they ended; None if all ended well."""
    segments = results.digest.segments
    bad = np.flatnonzero(segments.having("status", "failed", "diverged", "lost"))
    if not len(bad):
        return None
    read = bad[:FAILURES_READ]
    columns = segments.table.select(["status", "error", "trial"]).take(pa.array(read)).to_pydict()
    causes: dict[tuple[str, str], list[Any]] = {}
    for status, error, trial in zip(columns["status"], columns["error"], columns["trial"], strict=True):
        first = str(error or "").split("\n")[0] or "the metric became NaN or infinite"
        found = causes.setdefault((str(status), without_numbers(first)), [0, trial, first])
        found[0] += 1
    ranked = sorted(causes.items(), key=lambda item: -item[1][0])
    rows = [
        (status, first, f"{n:,}", trial_name(trial, ","))
        for (status, _), (n, trial, first) in ranked[:CAUSES_SHOWN]
    ]
    words = [
        f"{len(bad):,} of {len(segments):,} segments did not end well. Causes that differ only in numbers are counted together, and the first is quoted."  # noqa: E501
    ]
    if len(read) < len(bad):
        words.append(f"Counted among the first {len(read):,} of them.")
    if len(ranked) > CAUSES_SHOWN:
        words.append(
            f"{len(ranked) - CAUSES_SHOWN:,} rarer causes are left out: raysearch trials {results.path}"
        )
    table = TextTable(("status", "cause", "segments", "first trial"), rows, frozenset({2, 3}))
    return Section("failures", "What went wrong", words, (), [table])


def without_numbers(text: str) -> str:
    """An error text with its numbers replaced, so that errors of one cause are one."""
    return re.sub(r"\d+(\.\d+)?([eE][+-]?\d+)?", "#", text)[:300]
