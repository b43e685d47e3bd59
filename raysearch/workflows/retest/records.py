"""Retests that lie beside a run: which there are, and the verdicts that they came to.

A retest is a run of its own, with the same journal; its verdict is an event of that journal.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.core.segment import Config
from raysearch.core.user_paths import entries
from raysearch.core.yaml_io import read_yaml
from raysearch.storage.journal.reading import read_events
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.paths import RunPaths

VERDICT = "verdict"  # kind of the event that a retest ends with
_IS_REPEAT = re.compile(r"^\s*name: (?:retest|replay)$", re.MULTILINE)  # as a run's spec.yaml is written


@dataclass(frozen=True)
class RetestVerdict:
    """One retest that came to its end.

    Attributes:
        run: its folder.
        at: Unix time of the verdict.
        word, text: fresh, stale or inconclusive; and what it means.
        config: the settings to use from here on: the challenger that won, or those tested.
        interval: months until the next one.
        due: day of the next retest.
        values: what the tested settings gave after whole trainings.
    """

    run: Path
    at: float
    word: str
    text: str
    config: Config
    interval: int
    due: dt.date
    drift: bool | None
    runs: int
    values: Sequence[float]
    changed: str
    fingerprint: Mapping[str, Any]

    @classmethod
    def of_event(cls, run: Path, event: JournalEvent) -> RetestVerdict:
        """The verdict that an event holds."""
        detail = dict(event.detail)
        due = dt.date.fromisoformat(detail.pop("due"))
        names = {f.name for f in dataclasses.fields(cls)} - {"run", "at", "due"}
        return cls(run=run, at=event.at, due=due, **{name: detail[name] for name in names})


def unfinished(run: Path) -> Path | None:
    """A retest of this run that has no verdict yet: it was interrupted, or is going on."""
    for folder in retests_of(run):
        if verdict_in(folder) is None:
            return folder
    return None


def verdict_in(folder: Path) -> RetestVerdict | None:
    """The verdict that a retest ended with; None if it has none."""
    last = None
    for event in read_events(RunPaths(folder).journal):
        last = event if event.kind == VERDICT else last
    return None if last is None else RetestVerdict.of_event(folder, last)


def history(run: Path) -> list[RetestVerdict]:
    """Every verdict on a run's settings, the oldest first."""
    found = [verdict_in(folder) for folder in retests_of(run)]
    return sorted((v for v in found if v is not None), key=lambda v: v.at)


def retests_of(run: Path) -> list[Path]:
    """Folders of the retests of a run, which lie beside it."""
    found = []
    beside = run.absolute().parent
    for folder, text in _specs(beside) if os.access(beside, os.R_OK) else ():
        if run.name not in text:  # so that one which cannot be read is in the way of its own run alone
            continue
        strategy = _strategy_in(folder, text)
        if strategy.get("name") == "retest" and strategy.get("of") == run.name:
            found.append(folder)
    return found


def last_fingerprint(folder: Path) -> dict[str, Any]:
    """The fingerprint of the run at its last start; empty if its journal holds none."""
    found: dict[str, Any] = {}
    for event in read_events(RunPaths(folder).journal):
        if event.kind == "start":
            found = dict(event.detail.get("fingerprint") or found)
    return found


def searches_in(storage: Path) -> Iterator[Path]:
    """Folders of the runs in a storage that are no retests themselves."""
    for folder, text in _specs(storage):
        if not _IS_REPEAT.search(text):
            yield folder


def _specs(storage: Path) -> Iterator[tuple[Path, str]]:
    """(folder, spec) of each run in a storage; no text of one that may not be read, which then says so."""
    for folder in entries(storage):
        paths = RunPaths(folder)
        try:
            text = paths.spec.read_text(encoding="utf-8", errors="replace")
            if paths.journal.is_dir():
                yield folder, text
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            yield folder, ""


def _strategy_in(folder: Path, text: str) -> Mapping[str, Any]:
    """The strategy's settings in a run's spec. Raises SpecError if it is not YAML."""
    spec = read_yaml(text, str(folder / "spec.yaml"))
    strategy = spec.get("strategy") if isinstance(spec, Mapping) else None
    return strategy if isinstance(strategy, Mapping) else {}
