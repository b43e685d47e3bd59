"""A changed byte of a stored file is found, and named, before anything is made of it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_journal import outcome
from test_memory import record

import raysearch
from raysearch import schedule
from raysearch.core.segment import segment_id
from raysearch.errors import CheckpointError, JournalError, RaysearchWarning, SpecError
from raysearch.results.remarks import remarks
from raysearch.run.follower import Follower
from raysearch.schedule import Schedule, Step
from raysearch.spec.search_spec import load_spec
from raysearch.storage.checkpoints import digest
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.checkpoints.meta import read_meta, write_meta
from raysearch.storage.exports import config_text, read_config
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events, read_outcomes, read_table
from raysearch.storage.journal.reading import remarks as journal_remarks
from raysearch.storage.paths import CHECKPOINT_META, CHECKPOINT_RANDOM, JournalPaths
from raysearch.worker import rng
from raysearch.workflows.memory.store import Memory
from raysearch.workflows.plan import written_into

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


def warned(root: Path) -> list[str]:
    """What Python is warned of when it loads a run, here and by that category alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        raysearch.load(root)
    assert {(one.category, one.filename) for one in caught} <= {(RaysearchWarning, __file__)}
    return [str(one.message) for one in caught]


def test_a_broken_journal_is_an_error_at_the_first_look_and_no_warning(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with Journal.create(root / "journal") as journal:
        journal.append([outcome(0)])
        journal.compact()
    (root / "spec.yaml").write_text("metric: loss\nmode: min\n")
    (part,) = (root / "journal").glob("*.parquet")
    part.write_bytes(flipped(part.read_bytes(), 800))
    assert warned(root) == []
    with pytest.raises(JournalError, match=part.name):
        raysearch.load(root).trials()


def test_a_run_without_checksums_opens_with_a_remark_until_it_is_written_anew(tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(GOLDEN / "caviar", root)
    (text,) = warned(root)
    assert remarks(root) == [text]
    assert "rows-000000000000-000000000053.parquet: of a version without checksums" in text
    before = [*read_outcomes(root / "journal")]
    with Journal.open(root / "journal") as journal:
        assert journal.notes == [text]
        journal.append([outcome(5000)])
    assert remarks(root) == warned(root) == []
    assert [*read_outcomes(root / "journal")][:-1] == before


def test_rows_that_no_version_wrote_are_an_error_with_the_file(tmp_path: Path) -> None:
    """A part without checksum, whose texts were changed: each reader says in which file."""
    root = tmp_path / "run"
    shutil.copytree(GOLDEN / "caviar", root)
    (part,) = (root / "journal").glob("*.parquet")
    table = pq.read_table(part)
    for column, text in (("status", "complEted"), ("shape", '[["lr"'), ("metrics", '"loss')):
        at = table.schema.get_field_index(column)
        wrong = table.set_column(at, column, pa.array([text] * len(table), pa.string()))
        pq.write_table(wrong.replace_schema_metadata(table.schema.metadata), part)
        for read in (*READERS, lambda journal: Follower(journal.parent).look(0.0)):
            with pytest.raises(JournalError, match=rf"{part.name}: one of the rows 0 to 52 is no outcome"):
                read(root / "journal")


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
    (tmp_path / "run" / "spec.yaml").write_text("metric: loss\nmode: min\n")
    log.write_bytes(flipped(whole, 8 * first + 200))
    assert warned(tmp_path / "run") == journal_remarks(journal.root) != []
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
    (text,) = warned(root)
    assert remarks(root) == [text]
    assert "spec.yaml: differs from the spec that the run was last started with" in text
    assert text.endswith("keeps: metric")


# ---------------------------------------------------------------------------- checkpoints


def saved(checkpoints: Checkpoints, trial: int = 1) -> str:
    folder = checkpoints.path_for_new(segment_id(trial, 0), "a")
    (folder / "inner").mkdir()
    (folder / "inner" / "weights").write_bytes(random.Random(4).randbytes(200))
    (folder / "link").symlink_to("inner/weights")
    write_meta(folder, {"iteration": 3, "grown_s": 0.5, "config": {"lr": 0.1}})
    return checkpoints.commit(folder)


def test_whatever_is_changed_in_a_checkpoint_it_is_not_gone_on_with(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    name = saved(checkpoints)
    folder = checkpoints.verified(name)
    weights = folder / "inner" / "weights"

    def bit() -> None:
        weights.write_bytes(flipped(weights.read_bytes(), 777))

    def another_link() -> None:
        (folder / "link").unlink()
        (folder / "link").symlink_to("/etc/passwd")

    def one_more() -> None:
        (folder / "dict_checkpoint.pkl").write_bytes(b"cos")

    for change in (bit, another_link, one_more, weights.unlink):
        change()
        with pytest.raises(CheckpointError, match="its files are not those that were saved"):
            checkpoints.verified(name)
        checkpoints.delete([name])
        assert saved(checkpoints) == name


def test_a_checkpoint_of_a_version_without_digests_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "3f" / "11.0-c499dba3"
    shutil.copytree(GOLDEN / "stopped" / "checkpoints" / "3f" / "11.0-c499dba3", folder)
    assert Checkpoints(tmp_path).verified("11.0-c499dba3") == folder


def test_a_large_file_is_digested_in_pieces_and_one_that_is_linked_to_often_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "PIECE", 1 << 10)
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (read.append(args[2]), pread(*args))[1])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    rows = tmp_path / "one" / "rows"
    rows.write_bytes(random.Random(5).randbytes(5000))
    os.link(rows, tmp_path / "two" / "rows")
    assert digest.digest_of(tmp_path / "one") == digest.digest_of(tmp_path / "two")
    assert sorted(read) == [0, 1024, 2048, 3072, 4096]
    before = digest.digest_of(tmp_path / "one")
    rows.write_bytes(flipped(rows.read_bytes(), 8 * 4999))
    assert digest.digest_of(tmp_path / "one") != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[3]", "it holds list"),
        ('{"iteration": 3}', "it has no grown_s"),
        ('{"iteration": true, "grown_s": 1}', "iteration = True"),
        ('{"iteration": -1, "grown_s": 1}', "iteration = -1"),
        ('{"iteration": 1e300, "grown_s": 1}', "iteration = 1e"),
        ('{"iteration": 1, "grown_s": NaN}', "grown_s = nan"),
        ('{"iteration": 1, "grown_s": "1"}', "grown_s = 1"),
        ('{"iteration": 1, "grown_s": 1, "config": [1]}', "config is no mapping"),
        ('{"iteration": 1, "grown_s": 1, "optimizer": {"places": [1]}}', "optimizer.places"),
        ("[" * 100_000, "nested too deep"),
        ('{"iteration": 1', "JSONDecodeError"),
    ],
)
def test_a_note_of_a_checkpoint_that_no_version_wrote_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / CHECKPOINT_META).write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_meta(tmp_path)


def test_random_generators_come_back_to_the_bit_and_a_pickle_of_them_is_not_loaded(tmp_path: Path) -> None:
    random.seed(7)
    random.gauss(0.0, 1.0)
    rng.save(tmp_path)
    json.loads((tmp_path / CHECKPOINT_RANDOM).read_text())
    expected = [random.random(), random.gauss(0.0, 1.0)]
    assert rng.restore(tmp_path)
    assert [random.random(), random.gauss(0.0, 1.0)] == expected

    class Planted:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "it ran"),)

    (tmp_path / CHECKPOINT_RANDOM).write_bytes(pickle.dumps(Planted()))
    with pytest.raises(CheckpointError, match="the random generators"):
        rng.restore(tmp_path)
    assert not (tmp_path / "it ran").exists()


# ---- what people take with them, and may edit

TAKEN = Schedule(
    (Step(0, 4, {"lr": 0.01, "width": 8}), Step(4, 9, {"lr": 1e-05, "width": 8})), {"run": "first"}
)
CONFIG = {"lr": 0.0123, "act": "relu", "layers": 2, "decay": 1e-05, "clip": None}


def read_schedule(file: Path) -> tuple[object, str]:
    return schedule.read(file)


def read_settings(file: Path) -> tuple[object, str]:
    return read_config(file, "--config")


EXPORTS = [
    (TAKEN.to_text(), read_schedule),
    (TAKEN.to_text(True), read_schedule),
    (config_text(CONFIG), read_settings),
]


@pytest.mark.parametrize(("text", "read"), EXPORTS)
def test_no_bit_of_an_export_changes_a_value_without_a_word(
    tmp_path: Path, text: str, read: Callable[[Path], tuple[object, str]]
) -> None:
    file, rng = tmp_path / "taken", random.Random(2)
    file.write_text(text)
    whole, remark = read(file)
    assert (remark, "crc32:" in text) == ("", True)
    said = 0
    for _ in range(200):
        file.write_bytes(flipped(text.encode(), rng.randrange(8 * len(text))))
        with contextlib.suppress(SpecError):
            found, remark = read(file)
            said += bool(remark)
            assert remark or found == whole, file.read_text()
            assert str(file) in (remark or str(file))
    assert said > 40


def test_an_export_may_be_laid_out_anew_and_an_edited_one_is_taken_with_a_word(tmp_path: Path) -> None:
    file = tmp_path / "schedule.yaml"
    value = yaml.safe_load(TAKEN.to_text())
    file.write_text("# mine\n" + json.dumps(dict(reversed(value.items()))))
    assert schedule.load(file) == TAKEN
    value["constants"]["width"] = 16
    file.write_text(json.dumps(value))
    with pytest.warns(RaysearchWarning, match=r"schedule\.yaml: its checksum does not fit.*export it again"):
        edited = schedule.load(file)
    assert edited.constants == {"width": 16}
    with pytest.warns(RaysearchWarning, match="its checksum does not fit"):
        assert schedule.from_dict(value) == edited
    del value["checksum"]
    file.write_text(json.dumps(value))
    assert schedule.load(file) == edited


def test_an_edited_plan_is_said_until_its_checksum_is_deleted(tmp_path: Path) -> None:
    spec = load_spec(GOLDEN / "caviar" / "spec.yaml")
    file = tmp_path / "s.yaml"
    file.write_text(spec.to_yaml())
    for _ in range(2):
        file.write_text(written_into(file, spec))
    assert file.read_text().count("checksum") == 1
    assert load_spec(file).notes == spec.notes
    assert load_spec(file, ["strategy.samples=7"]).notes == spec.notes
    planned = file.read_text()
    file.write_text(planned.replace("samples: ", "samples: 1"))
    assert "s.yaml [strategy], of `raysearch plan --write`: its checksum" in load_spec(file).notes[0]
    file.write_text("".join(line for line in file.open() if "checksum" not in line))
    assert load_spec(file).notes == spec.notes
