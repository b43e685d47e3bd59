"""What there is to tell of a run, read from its journal and its orders: a message when it becomes true."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raysearch.core.budget import Account, Budget
from raysearch.core.formatting import duration
from raysearch.core.segment import Event, Outcome, Status, trial_name
from raysearch.engine.wind_down import Ending, ended_of
from raysearch.errors import RaysearchError, first_line, without_keys
from raysearch.run.orders import Orders
from raysearch.storage.journal.parts import START
from raysearch.storage.journal.reading import rows_since
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.paths import RunPaths
from raysearch.tracking.notify.message import Message

ALIKE = 5  # failures with one error among the last RECENT trials
RECENT = 20
NEARLY = 0.9  # of a budget
STALLED_S = 600.0  # without an outcome, at the least; and SLOW times the longest segment so far
SLOW = 5.0
TEXT_MAX = 2000  # characters of a message
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class Watch:
    """Follows a run; `look` gives what is new to tell."""

    def __init__(self, run: Path, spec: Mapping[str, Any], now: float) -> None:
        """What happened before `now` is not told; spec.yaml's mapping says of budget and patience."""
        self._paths = RunPaths(run)
        self._name = str(spec.get("name") or run.name)
        self._stalled_after = (spec.get("notify") or {}).get("stalled_after")
        self._budget = Budget(**(spec.get("budget") or {}))
        self._since = now
        self._position = START
        self._recent: deque[tuple[int, str]] = deque(maxlen=RECENT)
        self._longest_s = 0.0
        self._last_at = now
        self._answers: set[str] = set()
        self._account = Account(())
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the life of the run that is followed has ended, as its journal says."""
        return self._ended

    def look(self, now: float) -> list[Message]:
        """What is new to tell; a kind at most once a look.

        Raises:
            JournalError: the journal cannot be read.
        """
        found = [*self._rows(), *self._refused()]
        if not self._ended and (words := self._stalled(now)):
            found.append(Message("stalled", words))
        by_kind = {message.kind: message for message in reversed(found)}
        return [Message(m.kind, without_keys(f"{self._name}: {m.text}")[:TEXT_MAX]) for m in by_kind.values()]

    def _rows(self) -> Iterator[Message]:
        for outcomes, events, behind in rows_since(self._paths.journal, self._position):
            self._position = behind
            for outcome in outcomes:
                yield from self._of(outcome)
            for event in events:
                self._account.note(event)
                if event.at >= self._since:
                    yield from self._of_event(event)

    def _of(self, outcome: Outcome) -> Iterator[Message]:
        segment = outcome.segment
        self._longest_s = max(self._longest_s, outcome.seconds)
        self._last_at = max(self._last_at, outcome.finished_at)
        if outcome.status is not Status.LOST:
            alike = _alike(outcome.error) if outcome.status is Status.FAILED else ""
            self._recent.append((segment.trial, alike))
        if outcome.finished_at < self._since:
            return
        if segment.event is Event.ROLLBACK:
            yield Message(
                "rolled_back", f"trial {trial_name(segment.trial)} was rolled back: {segment.reason}"
            )
        if outcome.status is Status.FAILED:
            (error, count), *_ = Counter(text for _, text in self._recent if text).most_common(1)
            if count >= ALIKE and error == _alike(outcome.error):
                words = first_line(outcome.error)
                yield Message(
                    "failing", f"{count} of the last {len(self._recent)} trials failed alike: {words}"
                )

    def _refused(self) -> Iterator[Message]:
        orders = Orders(self._paths.orders)
        try:
            answers = [file for file in self._paths.orders.iterdir() if file.suffix == ".answer"]
        except (FileNotFoundError, NotADirectoryError):
            return
        for file in sorted(answers):
            if file.name in self._answers:
                continue
            self._answers.add(file.name)
            try:
                answer = orders.answered(file.stem) if file.stat().st_mtime >= self._since else None
            except (RaysearchError, OSError):
                continue  # half written, or gone again
            if answer is not None and not answer[0]:
                yield Message("refused", f"an order was refused: {answer[1]}")

    def _of_event(self, event: JournalEvent) -> Iterator[Message]:
        if event.kind == "spent" and self._budget.has_limit and (words := self._nearly()):
            yield Message("budget", words)
        if event.kind == "end" and not self._ended:
            self._ended = True
            yield Message("finished", self._verdict(event.detail))

    def _nearly(self) -> str:
        """Which part of the budget is nearly used, by all lives of the run; empty if none is."""
        spent = self._account.total
        for amount, used in self._budget.amounts(spent).items():
            limit = getattr(self._budget, amount.value, None)
            if limit and used >= NEARLY * limit:
                share = f"{used / limit:.0%} of the budget's {amount.value}"
                return f"{share} are used ({self._budget.in_words(spent)})"
        return ""

    def _stalled(self, now: float) -> str:
        patience = self._stalled_after or max(STALLED_S, SLOW * self._longest_s)
        waited = now - max(self._last_at, self._since)
        return f"no training has ended for {duration(waited)}" if waited > patience else ""

    def _verdict(self, detail: Mapping[str, Any]) -> str:
        from raysearch.report.sections.content import content_of
        from raysearch.results.results import Results

        ended = ended_of(detail)
        why = "complete" if ended is None or ended.kind is Ending.COMPLETE else ended.words
        try:
            return f"{why}. {content_of(Results(self._paths.root)).headline}"
        except RaysearchError as error:
            return f"{why}. Its results cannot be read: {first_line(str(error))}"


def _alike(error: str) -> str:
    """An error without its numbers and addresses, by which failures are alike."""
    return _NUMBERS.sub("#", first_line(error)) or "no reason"
