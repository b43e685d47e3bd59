"""Dates of retests, in calendar months: what a person would write into a calendar."""

from __future__ import annotations

import calendar
import datetime as dt

FIRST, LONGEST, SHORTEST = 3, 12, 1  # months


def plus_months(day: dt.date, months: int) -> dt.date:
    """The same day so many months later, or that month's last: 31 January plus one is 28 or 29 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def next_interval(word: str, interval: int) -> int:
    """Months until the next retest: doubled when fresh, FIRST when stale, half when inconclusive."""
    if word == "fresh":
        return min(LONGEST, 2 * interval)
    return FIRST if word == "stale" else max(SHORTEST, interval // 2)


def day_of(at: float) -> dt.date:
    """The day of a Unix time, in UTC."""
    return dt.datetime.fromtimestamp(at, dt.timezone.utc).date()
