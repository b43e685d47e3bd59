"""A run that is looked at again and again shows what a fresh reading of it would show."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from raysearch.bench.report import followed, outcomes, write_run
from raysearch.cli import main
from raysearch.core.segment import ORDINAL_BITS, Outcome, Status
from raysearch.report.board_run import FIGURES, WatchedRun
from raysearch.report.html import figure_json, tile
from raysearch.report.sections.content import content_of
from raysearch.results.growing import GrowingJournal
from raysearch.results.results import Results, load
from raysearch.storage.journal import compaction
from raysearch.storage.journal.journal import Journal


def later(trials: int = 25) -> list[list[Outcome]]:
    """Three batches of outcomes of other trials; a segment is lost in the first and ends in the second."""
    found = []
    for one in outcomes(trials):
        if not one.segment.is_final:
            old = one.segment
            moved = {"id": old.id + (10_000 << ORDINAL_BITS), "trial": old.trial + 10_000}
            parent = None if old.parent is None else old.parent + (10_000 << ORDINAL_BITS)
            found.append(dataclasses.replace(one, segment=dataclasses.replace(old, **moved, parent=parent)))
    at = next(i for i, one in enumerate(found) if i > 5 and one.segment.parent is not None)
    lost = dataclasses.replace(found[at], status=Status.LOST, curve={}, error="its worker died")
    return [[*found[:at], lost], found[at : at + 9], found[at + 9 :]]


def test_each_look_has_what_a_fresh_reading_has(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, 40)
    with (run / "spec.yaml").open("a") as spec:
        spec.write("limits: [loss <= 0.3]\n")
    growing = GrowingJournal(run / "journal")
    assert growing.look() is growing.look()
    for number, batch in enumerate(later()):
        with Journal.open(run / "journal") as journal:
            journal.append_event("start", {"raysearch": "test"}, 1_700_000_100.0 + number)
            journal.append(batch)
        if number == 1:
            compaction.compact(run / "journal", 1 << 60)
        there, fresh = Results(run, look=growing.look()), load(run)
        for table in ("trials", "segments", "curves", "finals"):
            pd.testing.assert_frame_equal(getattr(there, table)(), getattr(fresh, table)())
        assert [*there.events()] == [*fresh.events()]
        assert there.best == fresh.best
        assert there.digest.beyond.tolist() == fresh.digest.beyond.tolist()
        assert there.digest.beyond.any()


def test_the_board_shows_what_status_and_report_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_run(run, 40)
    watched = WatchedRun(run, least_s=0, rest=0)
    assert watched.head(0)["version"] == 1
    for number, batch in enumerate(later(), 2):
        with Journal.open(run / "journal") as journal:
            journal.append(batch)
            journal.append_event("end", {"ending": "complete"}, 1_700_000_200.0)
        head, content = watched.head(0), content_of(load(run))
        assert head["version"] == number
        assert watched.head(number) == {"version": number}
        assert (head["headline"], head["tone"]) == (content.headline, content.tone)
        assert head["tiles"] == "".join(map(tile, content.tiles))
        pictures = {one.name: one for section in content.sections for one in section.pictures}
        names = [one["name"] for one in head["figures"]]
        assert names == [name for name in pictures if name in FIGURES]
        for name in names if number == 4 else ():
            found = watched.figure(name, "")
            assert found is not None
            assert (found["figure"], found["note"]) == (
                figure_json(pictures[name].figure),
                pictures[name].note,
            )
            again = watched.figure(name, found["mark"])
            assert again == {"name": name, "mark": found["mark"], "version": number, "again_s": None}
        capsys.readouterr()
        assert main(["status", str(run), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert f'<div class="value">{said["trials"]:,}</div>' in head["tiles"]
    assert watched.figure("slices", "") is None


def test_a_slow_figure_waits_and_the_numbers_do_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, 40)
    watched = WatchedRun(run, least_s=0, rest=1e9)
    assert watched.figure("progress", "") is not None
    for version, batch in enumerate(later()[:2], 2):
        with Journal.open(run / "journal") as journal:
            journal.append(batch)
        watched._next = 0.0  # the looks rest too
        assert watched.head(0)["version"] == version
        held = watched.figure("progress", "")
        assert held is not None
        assert held["version"] == 2, "the second drawing rests"
        assert (held["again_s"] is None) == (version == 2)


def test_a_run_in_the_place_of_another_is_read_from_its_begin(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 30)
    write_run(tmp_path / "other", 12)
    watched = WatchedRun(tmp_path / "run", least_s=0, rest=0)
    watched.head(0)
    (tmp_path / "run").rename(tmp_path / "gone")
    (tmp_path / "other").rename(tmp_path / "run")
    assert '<div class="value">12</div>' in watched.head(1)["tiles"]


def test_the_bench_follows_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 10)
    found = followed(str(tmp_path / "run"), 1)
    assert {"first_ms", "update_ms", "worst_ms", "progress_ms", "peak_mb"} <= set(found)
    assert len(load(tmp_path / "run").trials()) == 10 + 2 * 64
