"""The history of one setting over the months, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.workflows.retest.calendar import day_of
from raysearch.workflows.retest.records import history

if TYPE_CHECKING:
    import pandas as pd


def history_frame(run: Path) -> pd.DataFrame:
    """One row a retest of a run's settings, the oldest first.

    Columns: day, verdict, mean (of the settings' whole trainings then; NaN without any), low and high (the
    least and greatest of them), changed (what replaced them; empty if nothing), due, text.
    """
    import pandas as pd

    rows = [
        {
            "day": day_of(v.at),
            "verdict": v.word,
            "mean": sum(v.values) / len(v.values) if v.values else float("nan"),
            "low": min(v.values, default=float("nan")),
            "high": max(v.values, default=float("nan")),
            "changed": v.changed,
            "due": v.due,
            "text": v.text,
        }
        for v in history(run)
    ]
    names = ["day", "verdict", "mean", "low", "high", "changed", "due", "text"]
    return pd.DataFrame(rows, columns=names)
