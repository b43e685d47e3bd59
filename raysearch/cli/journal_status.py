"""How a run stands, folded from its journal: the snapshot that Search.status gives, without the Search.

Works on columns, a batch of the journal at a time, so that a million trials take seconds.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysearch.core.segment import Mode, score
from raysearch.engine.leaderboard import ADOPTED, FINALS, Best, told_rungs
from raysearch.errors import JournalError
from raysearch.results.columns import Integers, Segments
from raysearch.run.pause import PAUSE, RESUME, STOP
from raysearch.storage.journal import parts
from raysearch.storage.journal.decode import Decoder

COLUMNS = (
    *("trial", "ordinal", "back", "role", "source", "start", "stop", "seed", "status", "reason", "shape"),
    *("numbers", "metrics", "values", "checkpoint", "seconds", "worker", "error", "done", "finished_at"),
    "event",
)
PHASES = {PAUSE: "pausing", STOP: "stopping", RESUME: "", "start": "", "end": ""}
WARNINGS_KEPT = 100


class Standing:
    """Counts, rungs, the best and the last decisions of a run; `read` takes in what is new."""

    def __init__(self, journal: Path, metric: str, mode: Mode) -> None:
        self.last_at = 0.0
        self._journal = journal
        self._metric = metric
        self._mode = mode
        self._position = parts.START
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._iterations = 0
        self._latest: dict[str, Any] | None = None
        self._rungs: dict[int, Counter[str]] = {}
        self._best: dict[int, Best] = {}
        self._trials = 0
        self._finals = 0
        self._busy_s = 0.0
        self._phase = ""
        self._recent: deque[str] = deque(maxlen=8)
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

    def snapshot(self) -> dict[str, Any]:
        """What is known; nothing of the workers, and neither times nor an ending."""
        best = self._best[max(self._best)] if self._best else None
        return {
            "ending": "",
            "failed": "",
            "winding": self._phase,
            "spent": "",
            "seconds": 0.0,
            "life_s": 0.0,
            "trials": self._trials,
            "finals": self._finals,
            "segments": dict(self._counts),
            "running": 0,
            "queued": 0,
            "leased": 0,
            "stops": len(self._rungs),
            "rungs": [
                {
                    "iteration": stop,
                    **self._rungs[stop],
                    "best": self._best[stop].value if stop in self._best else None,
                }
                for stop in told_rungs(self._rungs)
            ],
            "ended": dict(self._ended),
            "iterations": self._iterations,
            "latest": self._latest,
            "best": dataclasses.asdict(best) if best else None,
            "workers": {},
            "busy_s": self._busy_s,
            "recent": [*self._recent],
            "warnings": dict(self._warnings),
        }

    def _read(self) -> None:
        for batch in parts.read_batches(self._journal, COLUMNS, self._position):
            outcomes = batch.rows.filter(pc.is_null(batch.rows["event"]))
            if outcomes.num_rows < batch.rows.num_rows:
                self._note_events(batch.rows)
            if outcomes.num_rows:
                self._add(outcomes)
            self._position = batch.behind

    def _add(self, rows: pa.RecordBatch) -> None:
        segments = Segments(parts.dictionaries(rows), self._metric, self._mode)
        is_final, is_lost = segments.having("role", *FINALS), segments.having("status", "lost")
        codes, texts = segments.texts("status")
        starts, stops = segments.integers("start"), segments.integers("stop")
        for text, count in zip(texts, np.bincount(codes, minlength=len(texts)), strict=True):
            self._counts[text] += int(count)
        searched = np.flatnonzero(~is_final & ~is_lost)
        for stop in np.unique(stops[searched]):
            here = searched[stops[searched] == stop]
            found = np.bincount(codes[here], minlength=len(texts))
            rung = self._rungs.setdefault(int(stop), Counter())
            rung.update({text: int(n) for text, n in zip(texts, found, strict=True) if n})
            self._take_best(rows, segments, here[segments.having("status", "completed")[here]])
            self._ended.update({text: int(n) for text, n in zip(texts, found, strict=True) if n})
        trained = np.flatnonzero(~segments.having("role", ADOPTED) & ~is_lost)
        self._iterations += int((segments.reached[trained] - starts[trained]).sum())
        self._note_latest(rows, segments, np.flatnonzero(segments.having("status", "completed")))
        self._trials += int((starts[searched] == 0).sum())
        self._finals += int((is_final & ~is_lost).sum())
        self._busy_s += float(segments.floats("seconds").sum())
        self.last_at = max(self.last_at, float(segments.floats("finished_at").max()))
        self._note_decisions(rows, is_lost, is_final)
        self._note_warnings(segments)

    def _note_events(self, rows: pa.RecordBatch) -> None:
        for kind in rows["event"].drop_null().to_pylist():
            self._phase = PHASES.get(kind, self._phase)

    def _take_best(self, rows: pa.RecordBatch, segments: Segments, here: Integers) -> None:
        """The best of some completed segments that end at the same iteration, if it is better."""
        values = segments.last[here]
        if not np.isfinite(values).any():
            return
        scores = np.where(np.isfinite(values), values if self._mode == "min" else -values, np.inf)
        at = int(here[int(scores.argmin())])
        stop, value = int(segments.integers("stop")[at]), float(segments.last[at])
        old = self._best.get(stop)
        if old is None or score(value, self._mode) < score(old.value, self._mode):
            (outcome,) = Decoder().outcomes(rows.slice(at, 1))
            segment = outcome.segment
            self._best[stop] = Best(segment.trial, segment.id, value, outcome.reached, segment.config)

    def _note_latest(self, rows: pa.RecordBatch, segments: Segments, ended_well: Integers) -> None:
        """The last of some segments that ended well, if it ended with a finite value."""
        sound = ended_well[np.isfinite(segments.last[ended_well])]
        if not len(sound):
            return
        at = int(sound[-1])
        (outcome,) = Decoder().outcomes(rows.slice(at, 1))
        self._latest = {
            "trial": outcome.segment.trial,
            "iteration": outcome.reached,
            "value": float(segments.last[at]),
            "config": outcome.segment.config,
        }

    def _note_decisions(self, rows: pa.RecordBatch, is_lost: Any, is_final: Any) -> None:
        follows = ~np.asarray(rows["back"].is_null().to_numpy(zero_copy_only=False))
        for at in np.flatnonzero((follows | is_final) & ~is_lost)[-8:]:
            row = rows.slice(int(at), 1).select(["trial", "ordinal", "reason"]).to_pylist()[0]
            self._recent.append(f"{row['trial']}.{row['ordinal']}: {row['reason']}")

    def _note_warnings(self, segments: Segments) -> None:
        codes, texts = segments.texts("error")
        ended_well = segments.having("status", "completed")
        for text, count in zip(texts, np.bincount(codes[ended_well], minlength=len(texts)), strict=True):
            if text and count and (text in self._warnings or len(self._warnings) < WARNINGS_KEPT):
                self._warnings[text] += int(count)
