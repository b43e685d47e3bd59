"""Retests of stored settings: when they are due, how they run, what they concluded.

Public as `raysearch.retest`:

    spec = raysearch.retest.retest_spec(results, day=date.today())         # the settings and challengers
    folder = raysearch.launch.launch(spec).path
    verdict = raysearch.retest.record(folder, raysearch.retest.judged(folder), time.time())
    verdict.word, verdict.due                                              # ("fresh", date(2027, 5, 30))
"""

from __future__ import annotations

from raysearch.workflows.retest.due import Damaged, Due, due_in, due_of
from raysearch.workflows.retest.history import history_frame
from raysearch.workflows.retest.records import RetestVerdict, unfinished
from raysearch.workflows.retest.retest import retest_spec
from raysearch.workflows.retest.verdict import judged, record

__all__ = [
    "Damaged",
    "Due",
    "RetestVerdict",
    "due_in",
    "due_of",
    "history_frame",
    "judged",
    "record",
    "retest_spec",
    "unfinished",
]
