"""A changed byte of a stored file is found, and named, before anything is made of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from test_journal import outcome
from test_memory import record

from raysearch.cli.status import Follower
from raysearch.errors import JournalError
from raysearch.results.remarks import remarks
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events, read_outcomes, read_table
from raysearch.storage.journal.reading import remarks as journal_remarks
from raysearch.storage.paths import JournalPaths
from raysearch.workflows.memory.store import Memory

GOLDEN = Path(__file__).parent / "golden" / "runs-1"
READERS = (lambda root: [*read_outcomes(root)], lambda root: [*read_events(root)], read_table)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_bit_of_a_part_can_be_flipped_unseen(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(trial) for trial in range(20)])
        journal.append_event("start", {"host": "one"}, 1.0)
    part = JournalPaths(tmp_path).rows(0, 21).path
    whole, rng = part.read_bytes(), random.Random(1)
    for _ in range(120):
        part.write_bytes(flipped(whole, rng.randrange(8 * len(whole))))
        for read in READERS:
            with pytest.raises(JournalError, match=rf"{part.name}: .* rows 0 to 20 .*Restore it"):
                read(tmp_path)
    part.write_bytes(whole)
    assert len(READERS[0](tmp_path)) == 20
    assert journal_remarks(tmp_path) == []


def test_a_changed_part_is_not_compacted_into_one_that_looks_whole(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0)])
        journal.compact()
        part = JournalPaths(tmp_path).rows(0, 1).path
        changed = flipped(part.read_bytes(), 800)
        part.write_bytes(changed)
        journal.append([outcome(1)])
        with pytest.raises(JournalError, match=f"not compacted: .*{part.name}: broken"):
            journal.compact()
    assert part.read_bytes() == changed
    with pytest.raises(JournalError, match=rf"{part.name}: broken"):
        Journal.open(tmp_path)


def test_a_run_without_checksums_opens_with_a_remark_until_it_is_written_anew(tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(GOLDEN / "caviar", root)
    (text,) = remarks(root)
    assert "rows-000000000000-000000000053.parquet: of a version without checksums" in text
    before = [*read_outcomes(root / "journal")]
    with Journal.open(root / "journal") as journal:
        assert journal.notes == [text]
        journal.append([outcome(5000)])
    assert remarks(root) == []
    assert [*read_outcomes(root / "journal")][:-1] == before


def test_rows_that_no_version_wrote_are_an_error_with_the_file(tmp_path: Path) -> None:
    """A part without checksum, whose texts were changed: each reader says in which file."""
    root = tmp_path / "run"
    shutil.copytree(GOLDEN / "caviar", root)
    import pyarrow as pa
    import pyarrow.parquet as pq

    (part,) = (root / "journal").glob("*.parquet")
    table = pq.read_table(part)
    for column, text in (("status", "complEted"), ("shape", '[["lr"'), ("metrics", '"loss')):
        at = table.schema.get_field_index(column)
        wrong = table.set_column(at, column, pa.array([text] * len(table), pa.string()))
        pq.write_table(wrong.replace_schema_metadata(table.schema.metadata), part)
        with pytest.raises(JournalError, match=rf"{part.name}: one of the rows 0 to 52 is no outcome"):
            [*read_outcomes(root / "journal")]
        if column != "status":
            with pytest.raises(JournalError, match=part.name):
                Follower(root).look(0.0)


def test_the_changed_end_of_a_log_is_remarked_and_one_cut_short_is_not(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run" / "journal")
    log = JournalPaths(journal.root).log(0).path
    journal.append([outcome(0)])
    first = log.stat().st_size
    journal.append([outcome(1)])
    whole, rng = log.read_bytes(), random.Random(2)
    for _ in range(60):
        bit = rng.randrange(8 * first, 8 * len(whole))
        log.write_bytes(flipped(whole, bit))
        assert len([*read_outcomes(journal.root)]) == 1
        (text,) = journal_remarks(journal.root)
        assert f"{log.name}: the rows before 1 are whole" in text, bit
        log.write_bytes(whole[: rng.randrange(first, len(whole))])
        assert journal_remarks(journal.root) == []
    log.write_bytes(whole)
    journal.close()


def test_no_bit_of_a_remembered_search_can_be_flipped_unseen(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    file = tmp_path / memory.add(record("digits"))
    memory.add(record("others"))
    whole, rng = file.read_bytes(), random.Random(3)
    for _ in range(150):
        file.write_bytes(flipped(whole, rng.randrange(8 * len(whole))))
        held = memory.records()
        assert [r.task for r in held.good] == ["others"]
        assert [name for name, _ in held.bad] == [file.name]
    file.write_bytes(whole)
    assert len(memory.records().good) == 2
    assert memory.records().plain == ()


def test_a_spec_that_was_edited_by_hand_or_by_a_disk_is_remarked(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with Journal.create(root / "journal") as journal:
        journal.append_event("spec", {"text": "metric: loss\nmode: min\n"}, 0.0)
    (root / "spec.yaml").write_text("metric: loss\nmode: min # as launched\n")
    assert remarks(root) == []
    (root / "spec.yaml").write_text("metric: lOss\nmode: min\n")
    (text,) = remarks(root)
    assert "spec.yaml: differs from the spec that the run was last started with" in text
    assert text.endswith("keeps: metric")
