"""The effect of earlier searches in the memory on this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.formatting import number
from raysearch.report.sections.values import DIGITS, Section, TextTable

if TYPE_CHECKING:
    from raysearch.results import Best, Results


def past(results: Results, winner: Best | None) -> Section | None:
    """The effect of the transfer from earlier searches; None without a transfer."""
    from raysearch.workflows.memory.effect import helped

    if winner is None or not (results.spec.get("strategy") or {}).get("transfer"):
        return None
    found = helped(results)
    if found is None:
        return None
    rows = [[str(v) if isinstance(v, str) else number(v, DIGITS) for v in row.values()] for row in found.rows]
    header = [name.replace("_", " ") for name in found.rows[0]]
    table = TextTable(header, rows, frozenset(range(1, len(header))))
    return Section("past", "What the past did", [str(found)], tables=[table])
