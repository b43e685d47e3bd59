"""The independent reader: it reads what the journal wrote, and finds what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripted import segment

from raysearch.bench.chaos import keep
from raysearch.bench.support.audit import Broken, Findings, audit, read
from raysearch.bench.support.tally import FaultTally
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes


def outcome(of: Segment, *losses: float) -> Outcome:
    return Outcome(of, Status.COMPLETED, {"loss": list(losses), "trace": list(losses)}, finished_at=1.0)


ROOT, OTHER, CHILD = segment(0), segment(1), segment(0, 1, 0, 1, 3)
CALM = [outcome(ROOT, 3.0), outcome(OTHER, 4.0), outcome(CHILD, 2.0, 1.0)]


def written(folder: Path, outcomes: Sequence[Outcome]) -> Path:
    with Journal.create(folder) as journal:
        journal.append_event("start", {}, 0.0)
        for one in outcomes:
            journal.append([one])
    return folder


def audited(tmp_path: Path, outcomes: Sequence[Outcome], seen: Sequence[Outcome] = CALM) -> Findings:
    (tmp_path / "seen").mkdir()
    notes = [
        {
            "segment": o.segment.id,
            "status": o.status.value,
            "loss": o.curve["loss"],
            "stop": False,
            "worker": "w",
        }
        for o in seen
    ]
    (tmp_path / "seen" / "w.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes))
    return audit(written(tmp_path / "it", outcomes), tmp_path / "seen", written(tmp_path / "calm", CALM))


def test_it_reads_logs_and_parquet_as_the_journal_itself_does(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal")
    journal.append(CALM[:2])
    journal.compact()
    journal.append(CALM[2:])
    with open(next((tmp_path / "journal").glob("log-*2.rsj")), "ab") as log:
        log.write(b"\xf7RSJ torn")
    rows = read(tmp_path / "journal")
    expected = [*read_outcomes(tmp_path / "journal")]
    assert [(r["trial"], r["start"], r["stop"], r["values"]) for r in rows] == [
        (o.segment.trial, o.segment.start, o.segment.stop, [*o.curve["loss"], *o.curve["trace"]])
        for o in expected
    ]


def test_a_journal_with_a_missing_part_is_broken(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal")
    journal.append(CALM[:2])
    journal.compact()
    journal.append(CALM[2:])
    next((tmp_path / "journal").glob("rows-*")).unlink()
    with pytest.raises(Broken, match="rows are missing: 1 are there, up to number 2"):
        read(tmp_path / "journal")


def test_a_journal_in_another_order_with_attempts_that_were_lost_is_clean(tmp_path: Path) -> None:
    lost = Outcome(OTHER, Status.LOST, error="its worker died")
    found = audited(tmp_path, [lost, CALM[1], CALM[0], CALM[2]])
    assert found.is_clean
    assert (found.acknowledged, found.finals, found.lost_attempts, found.compared) == (3, 3, 1, 8)
    assert found.best == 1.0


def test_an_acknowledged_outcome_that_is_not_there_is_lost(tmp_path: Path) -> None:
    found = audited(tmp_path, [CALM[0], CALM[2]])
    assert found.lost == ["1.0: acknowledged to w, and not there"]
    assert not found.is_clean


def test_an_outcome_that_counts_twice_is_doubled(tmp_path: Path) -> None:
    assert audited(tmp_path, [*CALM, CALM[1]]).doubled == ["1.0"]


def test_a_child_without_its_parent_before_it_is_torn(tmp_path: Path) -> None:
    assert audited(tmp_path, [CALM[2], *CALM[:2]]).torn == ["0.1: its parent 0.0 is not there"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"start": 2}, "0.1: starts at 2, its parent ends at 1"),
        ({"config": {"x": 7}}, "0.1: another configuration than its parent's"),
        ({"parent": None}, "0.1: starts at 1 from nothing"),
        ({"stop": 4}, "0.1: a curve of 2 iterations"),
    ],
)
def test_a_lineage_that_does_not_fit_is_torn(tmp_path: Path, change: dict[str, object], why: str) -> None:
    strange = dataclasses.replace(CHILD, **change)  # type: ignore[arg-type]
    assert audited(tmp_path, [*CALM[:2], outcome(strange, 2.0, 1.0)]).torn[0] == why


def test_a_value_that_differs_from_the_search_in_peace_has_strayed(tmp_path: Path) -> None:
    found = audited(tmp_path, [*CALM[:2], outcome(CHILD, 2.0, 0.5)])
    assert "trial 0 iteration 3: loss 0.5, not 1.0" in found.strayed
    assert found.lost == ["0.1: another curve than w handed in"]
    assert (found.best, found.calm_best) == (0.5, 1.0)


def test_a_value_that_nobody_saw_in_either_search_has_not_strayed(tmp_path: Path) -> None:
    unseen = outcome(ROOT, math.nan)
    calm = written(tmp_path / "peace", [unseen])
    assert audit(written(tmp_path / "same", [unseen]), tmp_path, calm).strayed == []
    (found, _) = audit(written(tmp_path / "other", [CALM[0]]), tmp_path, calm).strayed
    assert found == "trial 0 iteration 1: loss 3.0, not nan"


def test_a_segment_with_another_seed_than_in_peace_has_strayed(tmp_path: Path) -> None:
    reseeded = dataclasses.replace(OTHER, seed=7)
    assert audited(tmp_path, [CALM[0], outcome(reseeded, 4.0), CALM[2]]).strayed == ["1.0: seed 7, not 0"]


def test_a_segment_that_is_said_to_have_failed_is_found(tmp_path: Path) -> None:
    failed = Outcome(OTHER, Status.FAILED, error="this segment kills its worker")
    assert audited(tmp_path, [CALM[0], failed, CALM[2]], []).failed == ["1.0: this segment kills its worker"]


def test_a_tally_is_kept_as_json(tmp_path: Path) -> None:
    tallies = [
        FaultTally(1, "caviar", {"kill worker": 2}),
        FaultTally(2, "panda", {"kill worker": 1, "cut node": 1}),
    ]
    keep(tmp_path / "chaos.json", tallies)
    kept = json.loads((tmp_path / "chaos.json").read_text())
    assert kept["faults"] == 4
    assert kept["by_kind"] == {"kill worker": 3, "cut node": 1}
    assert [search["faults"] for search in kept["searches"]] == [t.faults for t in tallies]
    assert not kept["is_clean"]  # neither ended
