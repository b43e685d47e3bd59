"""How a run stands, folded from its journal: a `Snapshot` as a live search gives it, without the search.

Works on columns, a batch of the journal at a time, so that a million trials take seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import FINALS, Event, Mode, Role, score, segment_id
from raysearch.engine.notices import WARNINGS_KEPT
from raysearch.engine.snapshot import DECISIONS_KEPT, BestSoFar, Latest, Live, OutcomeTally, Snapshot
from raysearch.errors import JournalError
from raysearch.results.columns import Booleans, Integers, Segments
from raysearch.run.pause import PAUSE, RESUME, STOP
from raysearch.space.objectives import Objectives
from raysearch.storage.journal import parts
from raysearch.storage.journal.arrow_arrays import bits
from raysearch.storage.journal.decisions import deciding
from raysearch.storage.journal.decode import Decoder, decode_events
from raysearch.strategies.gain_forecast.stopping import FORECAST

COLUMNS = (
    *("trial", "ordinal", "back", "role", "source", "start", "stop", "seed", "status", "reason", "shape"),
    *("numbers", "metrics", "values", "checkpoint", "seconds", "worker", "error", "done", "finished_at"),
    *("event", "detail"),
)
PHASES = {PAUSE: "pausing", STOP: "stopping", RESUME: "", "start": "", "end": ""}


class JournalStatus:
    """Counts, rungs, the best and the last decisions of a run; `read` takes in what is new."""

    def __init__(self, journal: Path, metric: str, mode: Mode, goals: Objectives | None = None) -> None:
        """The best is by the metric; of those within the limits, where `goals` has some."""
        self.last_at = 0.0
        self._journal = journal
        self._metric = metric
        self._mode = mode
        self._goals = goals or Objectives({metric: mode})
        self._position = parts.START
        self._tally = OutcomeTally()
        self._latest: Latest | None = None
        self._phase = ""
        self._forecast = ""
        self._warnings: Counter[str] = Counter()

    def read(self) -> None:
        """Takes in what was written since the last time.

        Raises:
            JournalError: the journal is broken.
        """
        try:
            self._read()
        except JournalError:
            if self._position.offset == 0:
                raise
            # An append that we saw and that then failed was cut, and what came after is not where we stopped.
            self._position = parts.Position(self._position.row)
            self._read()

    def snapshot(self) -> Snapshot:
        """How the run stands, without its workers, its times and its ending, which outcomes do not tell."""
        live = Live(winding=self._phase, forecast=self._forecast, warnings=dict(self._warnings))
        return self._tally.snapshot(live, self._latest)

    def _read(self) -> None:
        for batch in parts.read_batches(self._journal, COLUMNS, self._position):
            outcomes = batch.rows.filter(pc.is_null(batch.rows["event"]))
            with batch.decoded():
                if outcomes.num_rows < batch.rows.num_rows:
                    self._note_events(batch.rows)
                if outcomes.num_rows:
                    self._add(outcomes)
            self._position = batch.behind

    def _add(self, rows: pa.RecordBatch) -> None:
        tally = self._tally
        segments = Segments(parts.dictionaries(rows), self._metric, self._mode)
        is_final, is_lost = segments.having("role", *FINALS), segments.having("status", "lost")
        codes, texts = segments.texts("status")
        starts, stops = segments.integers("start"), segments.integers("stop")
        for text, count in zip(texts, np.bincount(codes, minlength=len(texts)), strict=True):
            tally.counts[text] += int(count)
        searched = np.flatnonzero(~is_final & ~is_lost)
        can_lead = (
            self._within(segments)
            & segments.having("status", "completed")
            & ~deciding(rows["detail"], Event.NUDGE)
        )
        for stop in np.unique(stops[searched]):
            here = searched[stops[searched] == stop]
            found = np.bincount(codes[here], minlength=len(texts))
            rung = tally.reached.setdefault(int(stop), Counter())
            rung.update({text: int(n) for text, n in zip(texts, found, strict=True) if n})
            self._take_best(rows, segments, here[can_lead[here]])
            tally.ended.update({text: int(n) for text, n in zip(texts, found, strict=True) if n})
        trained = np.flatnonzero(~segments.having("role", Role.ADOPTED) & ~is_lost)
        tally.iterations += int((segments.reached[trained] - starts[trained]).sum())
        self._note_latest(rows, segments, np.flatnonzero(segments.having("status", "completed")))
        tally.trials += int((starts[searched] == 0).sum())
        tally.finals += int((is_final & ~is_lost).sum())
        tally.busy_s += float(segments.floats("seconds").sum())
        self.last_at = max(self.last_at, float(segments.floats("finished_at").max()))
        self._note_decisions(rows, is_lost, is_final)
        self._note_warnings(segments)

    def _within(self, segments: Segments) -> Booleans:
        """Which rows are within the limits at their ends."""
        if not self._goals.limits:
            return np.ones(len(segments), np.bool_)
        names = self._goals.metrics
        columns = [replace(segments, metric=name).last.tolist() for name in names]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return np.array([self._goals.meets(row) for row in rows], np.bool_)

    def _note_events(self, rows: pa.RecordBatch) -> None:
        for event in decode_events(rows):
            self._phase = PHASES.get(event.kind, self._phase)
            if event.kind == FORECAST:
                self._forecast = str(event.detail.get("words", ""))
            elif event.kind == "end":
                self._forecast = ""

    def _take_best(self, rows: pa.RecordBatch, segments: Segments, here: Integers) -> None:
        """The best of some completed segments that end at the same iteration, if it is better."""
        values = segments.last[here]
        if not np.isfinite(values).any():
            return
        scores = np.where(np.isfinite(values), values if self._mode == "min" else -values, np.inf)
        at = int(here[int(scores.argmin())])
        stop, value = int(segments.integers("stop")[at]), float(segments.last[at])
        old = self._tally.best.get(stop)
        if old is None or score(value, self._mode) < score(old.value, self._mode):
            (outcome,) = Decoder().outcomes(rows.slice(at, 1))
            segment = outcome.segment
            self._tally.best[stop] = BestSoFar(
                segment.trial, segment.id, value, outcome.reached, segment.config
            )

    def _note_latest(self, rows: pa.RecordBatch, segments: Segments, ended_well: Integers) -> None:
        """The last of some segments that ended well, if it ended with a finite value."""
        sound = ended_well[np.isfinite(segments.last[ended_well])]
        if not len(sound):
            return
        at = int(sound[-1])
        (outcome,) = Decoder().outcomes(rows.slice(at, 1))
        segment, value = outcome.segment, float(segments.last[at])
        self._latest = Latest(segment.trial, outcome.reached, value, segment.config)

    def _note_decisions(self, rows: pa.RecordBatch, is_lost: Any, is_final: Any) -> None:
        follows = ~bits(rows["back"].is_null())
        for at in np.flatnonzero((follows | is_final) & ~is_lost)[-DECISIONS_KEPT:]:
            row = rows.slice(int(at), 1).select(["trial", "ordinal", "reason"]).to_pylist()[0]
            self._tally.recent.append((segment_id(row["trial"], row["ordinal"]), row["reason"]))

    def _note_warnings(self, segments: Segments) -> None:
        codes, texts = segments.texts("error")
        ended_well = segments.having("status", "completed")
        for text, count in zip(texts, np.bincount(codes[ended_well], minlength=len(texts)), strict=True):
            if text and count and (text in self._warnings or len(self._warnings) < WARNINGS_KEPT):
                self._warnings[text] += int(count)
