"""The journal: nothing acknowledged is lost or doubled, whatever happens to the process or the disk."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.errors import JournalBusyError, JournalError, SpecError
from raysearch.storage.journal import compaction, parts
from raysearch.storage.journal import journal as journal_module
from raysearch.storage.journal.append_log import HEADER_BYTES, LogReader
from raysearch.storage.journal.config_columns import encode_config
from raysearch.storage.journal.decode import Decoder
from raysearch.storage.journal.encode import encode_outcomes
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.reading import read_events, read_outcomes, read_table, tail
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.paths import JournalPaths


def outcome(trial: int, ordinal: int = 0, config: dict[str, Any] | None = None, **fields: Any) -> Outcome:
    parent = segment_id(trial, ordinal - 1) if ordinal else None
    segment = Segment(
        id=segment_id(trial, ordinal),
        trial=trial,
        parent=parent,
        config={"lr": 0.1 / (trial + 1)} if config is None else config,
        start=ordinal,
        stop=ordinal + 1,
        seed=trial * 7,
        reason=f"rung {ordinal}",
    )
    given = {"status": Status.COMPLETED, "curve": {"loss": [1.0 / (trial + 1)]}, "worker": "w0"} | fields
    return Outcome(segment=segment, **given)


def ids(root: Path) -> list[int]:
    return [o.segment.id for o in read_outcomes(root)]


def parquet_parts(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("rows-*.parquet"))


@pytest.fixture
def small_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are compacted every few appends, and parts are full at 64 rows."""
    monkeypatch.setattr(journal_module, "LOG_BYTES", 20_000)
    monkeypatch.setattr(compaction, "FULL_PART_ROWS", 64)


# ---------------------------------------------------------------------------- round trip


def test_outcomes_come_back_equal_and_in_order_before_and_after_compaction(tmp_path: Path) -> None:
    written = [
        outcome(3, curve={"loss": [2.0, 1.0], "acc": [0.1, 0.2]}, checkpoint="3.0-a", seconds=0.25),
        outcome(1, 1, status=Status.FAILED, curve={}, error="ValueError: no\n  at line 3", finished_at=1.7e9),
        outcome(2, status=Status.LOST, curve={"loss": []}, done=True),
        Outcome(
            Segment((1 << 60) + 5, 1 << 40, segment_id(4, 2), {"a": 1}, 9, 27, 2**64 - 1, "", "finalist", 4),
            Status.COMPLETED,
        ),
        Outcome(
            Segment(12345678901, 7, 99, {}, 0, 1, 0, "an id that segment_id does not make"), Status.DIVERGED
        ),
    ]
    with Journal.create(tmp_path) as journal:
        journal.append(written[:2])
        journal.append(written[2:])
        assert [*journal.outcomes()] == written
        assert not parquet_parts(tmp_path)
        journal.compact()
        assert parquet_parts(tmp_path) == ["rows-000000000000-000000000005.parquet"]
        assert [*journal.outcomes()] == written
    assert [*read_outcomes(tmp_path)] == written


CONFIGS = [
    {},
    {"lr": 1e-300, "layers": 3},
    {"lr": math.inf, "wd": -math.inf, "zero": -0.0},
    {"optimizer": "adamw", "nesterov": True, "amp": False, "decay": None, "layers": -2},
    {"sizes": (32, (64,), []), "model": {"width": 3, "act": "relu", "p": [0.5, None]}},
    {"big": 2**53 + 1, "bigger": -(2**200), "edge": 2**53},
    {"naïve name": "ünïcode \n \" ' \\", "": ""},
    {"order": 1, "b": 2, "a": "x"},
    {"model": {"lr": 0.1, "inner": {"n": 3, "empty": {}, "kind": "x"}}, "lr": 2.0},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_config_comes_back_with_its_types_and_order(config: dict[str, Any]) -> None:
    (back,) = Decoder().outcomes(encode_outcomes([outcome(0, config=config)]))
    assert repr(back.segment.config) == repr(config)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=6))
def test_any_configs_come_back_together(configs: list[dict[str, Any]]) -> None:
    rows = encode_outcomes([outcome(i, config=config) for i, config in enumerate(configs)])
    assert repr([o.segment.config for o in Decoder().outcomes(rows)]) == repr(configs)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.floats(), max_size=5)), min_size=1, max_size=6))
def test_any_curves_come_back_bit_for_bit(drawn: list[tuple[int, list[float]]]) -> None:
    curves = [{f"m{k}": [v * (k + 1) for v in values] for k in range(n)} for n, values in drawn]
    rows = encode_outcomes([outcome(i, curve=curve) for i, curve in enumerate(curves)])
    assert repr([o.curve for o in Decoder().outcomes(rows)]) == repr(curves)


def test_numpy_scalars_become_pythons() -> None:
    config = {
        "lr": np.float32(0.5),
        "n": np.int64(3),
        "on": np.bool_(True),
        "s": np.str_("x"),
        "l": [np.float64(1)],
    }
    curve = {"loss": np.array([1.0, np.nan]), "acc": [np.float32(0.5), 1]}
    (back,) = Decoder().outcomes(encode_outcomes([outcome(0, config=config, curve=curve)]))
    assert repr(dict(back.segment.config)) == "{'lr': 0.5, 'n': 3, 'on': True, 's': 'x', 'l': [1.0]}"
    assert repr(back.curve) == "{'loss': [1.0, nan], 'acc': [0.5, 1.0]}"


def test_configs_that_came_back_share_nothing_that_can_be_changed() -> None:
    rows = encode_outcomes([outcome(i, config={"model": {"sizes": [1]}}) for i in range(2)])
    first, second = Decoder().outcomes(rows)
    first.segment.config["model"]["sizes"].append(2)
    assert second.segment.config == {"model": {"sizes": [1]}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lr": 0.1, "model": object}, "config.model = <class 'object'>: a builtins.type cannot be kept"),
        ({"net": {"act": [1, {2}]}}, "config.net.act[1] = {2}: a builtins.set cannot be kept"),
        ({"net": {3: 4}}, "config.net: the key 3 cannot be kept in the journal; keys are strings"),
        ({3: 4}, "config: the name 3 is of type int; names are strings"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError) as refused:
        encode_config(config)
    assert words in str(refused.value)
    with Journal.create(tmp_path) as journal:
        with pytest.raises(SpecError):
            journal.append([outcome(0), outcome(1, config=config)])
        journal.append([outcome(2)])
    assert ids(tmp_path) == [segment_id(2, 0)]


def test_a_seed_that_does_not_fit_names_the_segment() -> None:
    with pytest.raises(JournalError, match=r"segment 5\.0: seed = -35 does not fit"):
        encode_outcomes([Outcome(Segment(segment_id(5, 0), 5, None, {}, 0, 1, -35, ""), Status.COMPLETED)])


def test_events_stand_among_the_outcomes_and_come_back_apart(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append_event("started", {"version": "1", "nested": {"a": [1, None]}}, 1.5)
        journal.append([outcome(0)])
        journal.append_event("resumed", {}, 2.5)
        journal.append([outcome(1)])
        assert journal.rows == 4
    expected = [
        JournalEvent("started", {"version": "1", "nested": {"a": [1, None]}}, 1.5),
        JournalEvent("resumed", {}, 2.5),
    ]
    assert [*read_events(tmp_path)] == expected
    assert ids(tmp_path) == [segment_id(0, 0), segment_id(1, 0)]
    assert read_table(tmp_path, ["trial"])["trial"].to_pylist() == [0, 1]


# ---------------------------------------------------------------------------- opening


def test_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    for life in range(4):
        journal = Journal.open(tmp_path) if life else Journal.create(tmp_path)
        with journal:
            journal.append([outcome(life)])
    assert ids(tmp_path) == [segment_id(life, 0) for life in range(4)]
    assert parquet_parts(tmp_path) == ["rows-000000000000-000000000004.parquet"]


def test_an_empty_journal_can_be_read_closed_and_opened(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()
    assert ids(tmp_path) == []
    assert read_table(tmp_path).num_rows == 0
    assert tail(tmp_path) == ([], START)
    with Journal.open(tmp_path) as journal:
        assert journal.rows == 0


def test_a_second_journal_in_the_same_place_is_refused(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()
    with pytest.raises(JournalError, match="holds a journal already"):
        Journal.create(tmp_path)


@pytest.mark.parametrize("make", ["nothing", "a file", "an empty folder", "other files"])
def test_where_there_is_no_journal_the_error_says_so(tmp_path: Path, make: str) -> None:
    root = tmp_path / "journal"
    if make == "a file":
        root.write_text("x")
    elif make != "nothing":
        root.mkdir()
    if make == "other files":
        (root / "notes.txt").write_text("x")
    for read in (Journal.open, lambda at: [*read_outcomes(at)], read_table, tail):
        with pytest.raises(JournalError, match=f"{root}: there is no journal here"):
            read(root)


def test_a_folder_that_cannot_be_made_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="a journal cannot be made here: Not a directory"):
        Journal.create(tmp_path / "file" / "journal")


def test_a_closed_journal_refuses_appends(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="was closed"):
        journal.append([outcome(0)])


HOLDER = """
import sys
from raysearch.storage.journal.journal import Journal
journal = Journal.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_is_kept_out_and_told_who_holds_the_journal(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes)
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(
            JournalBusyError, match=f"process {holder.pid} on {os.uname().nodename} has the journal"
        ):
            Journal.open(tmp_path)
        assert ids(tmp_path) == []  # readers need no lock
    finally:
        holder.communicate("")
    Journal.open(tmp_path).close()


# ---------------------------------------------------------------------------- torn, broken, foreign


@pytest.fixture(scope="module")
def log_of_frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A log of ten frames of three outcomes, and where each frame ends."""
    root = tmp_path_factory.mktemp("log")
    journal = Journal.create(root)
    ends = [HEADER_BYTES]
    for i in range(10):
        journal.append([outcome(3 * i + k) for k in range(3)])
        ends.append(JournalPaths(root).log(0).path.stat().st_size)
    data = JournalPaths(root).log(0).path.read_bytes()
    journal.close()
    return data, ends


def _reopen(root: Path, data: bytes) -> Journal:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    JournalPaths(root).log(0).path.write_bytes(data)
    return Journal.open(root)


def test_a_log_cut_at_any_byte_keeps_every_whole_frame(
    tmp_path: Path, log_of_frames: tuple[bytes, list[int]]
) -> None:
    data, ends = log_of_frames
    log = JournalPaths(tmp_path).log(0)
    log.path.write_bytes(data)
    for cut in reversed(range(len(data))):
        os.truncate(log.path, cut)
        reader = LogReader(log)
        rows = [frame.batch() for frame in reader.frames()]
        assert len(rows) == sum(end <= cut for end in ends[1:]), cut
        assert (reader.tear is None) == (cut in ends), cut


def test_a_journal_with_a_torn_log_goes_on_behind_the_last_whole_frame(
    tmp_path: Path, log_of_frames: tuple[bytes, list[int]]
) -> None:
    data, ends = log_of_frames
    rng = random.Random(1)
    for cut in [0, 5, HEADER_BYTES - 1, *ends, *(rng.randrange(len(data)) for _ in range(50))]:
        whole = sum(end <= cut for end in ends[1:])
        journal = _reopen(tmp_path / "journal", data[:cut])
        assert [o.segment.trial for o in journal.outcomes()] == [*range(3 * whole)], cut
        assert len(journal.notes) == (cut not in ends), cut
        journal.append([outcome(99)])
        assert [o.segment.trial for o in journal.outcomes()] == [*range(3 * whole), 99], cut
        journal.close()


def test_a_tail_of_garbage_is_cut_and_the_note_says_where(
    tmp_path: Path, log_of_frames: tuple[bytes, list[int]]
) -> None:
    data, _ = log_of_frames
    for garbage in (b"\0" * 5000, b"\xf7RSJ" * 100, random.Random(2).randbytes(3000)):
        with _reopen(tmp_path / "journal", data + garbage) as journal:
            assert journal.rows == 30
            assert (
                f"cut {len(garbage)} bytes at {len(data)}, an append that was never finished"
                in journal.notes[0]
            )


def test_a_changed_byte_in_the_middle_is_an_error_with_file_and_offset(
    tmp_path: Path, log_of_frames: tuple[bytes, list[int]]
) -> None:
    data, ends = log_of_frames
    rng = random.Random(3)
    for _ in range(100):
        at = rng.randrange(HEADER_BYTES, ends[-2])
        broken = bytearray(data)
        broken[at] ^= 1 << rng.randrange(8)
        start = max(end for end in ends if end <= at)
        with pytest.raises(
            JournalError, match=rf"log-000000000000\.rsj: broken at byte {start}, with whole rows"
        ):
            _reopen(tmp_path / "journal", bytes(broken))
        with pytest.raises(JournalError, match=f"broken at byte {start}"):
            ids(tmp_path / "journal")


def test_a_log_that_ends_before_the_next_begins_is_an_error(tmp_path: Path) -> None:
    first, second = JournalPaths(tmp_path).log(0), JournalPaths(tmp_path).log(6)
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0)])
        shutil.copy(first.path, tmp_path / "kept")
        journal.append([outcome(k) for k in range(1, 6)])
        journal.compact()
        journal.append([outcome(6)])
        shutil.copy(second.path, tmp_path / "kept2")
    for path in tmp_path.glob("rows-*"):
        path.unlink()
    shutil.copy(tmp_path / "kept", first.path)
    shutil.copy(tmp_path / "kept2", second.path)
    with pytest.raises(JournalError, match=r"log-000000000000\.rsj: .*rows 1 to 5 are missing"):
        ids(tmp_path)


def test_a_missing_part_is_an_error_and_not_a_shorter_journal(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0)])
        journal.compact()
        journal.append([outcome(1)])
        (tmp_path / parquet_parts(tmp_path)[0]).unlink()
        with pytest.raises(JournalError, match="the part with row 0 is missing"):
            ids(tmp_path)


def test_a_foreign_log_and_a_foreign_or_broken_parquet_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    JournalPaths(tmp_path / "a").log(0).path.write_bytes(b"PK\3\4 something else entirely")
    with pytest.raises(JournalError, match=r"log-0+\.rsj: not a journal of raysearch"):
        Journal.open(tmp_path / "a")
    (tmp_path / "b").mkdir()
    part = JournalPaths(tmp_path / "b").rows(0, 3).path
    pq.write_table(read_table_of_nothing(tmp_path / "c"), part)
    with pytest.raises(JournalError, match=r"parquet: a Parquet file, but not of a journal"):
        ids(tmp_path / "b")
    part.write_bytes(b"PAR1 cut short")
    with pytest.raises(JournalError, match=r"parquet: broken, or not a Parquet file"):
        ids(tmp_path / "b")


def read_table_of_nothing(root: Path) -> Any:
    Journal.create(root).close()
    return read_table(root)


def test_a_newer_format_is_refused(tmp_path: Path, log_of_frames: tuple[bytes, list[int]]) -> None:
    data = bytearray(log_of_frames[0])
    struct.pack_into("<H", data, 8, 2)
    with pytest.raises(
        JournalError, match="written by a newer raysearch, journal format 2; this one reads up to 1"
    ):
        _reopen(tmp_path / "log", bytes(data))
    with Journal.create(tmp_path / "rows") as journal:
        journal.append([outcome(0)])
    (name,) = parquet_parts(tmp_path / "rows")
    table = pq.read_table(tmp_path / "rows" / name)
    newer = table.replace_schema_metadata({b"raysearch.journal": b"7"})
    pq.write_table(newer, tmp_path / "rows" / name)
    with pytest.raises(JournalError, match="journal format 7"):
        ids(tmp_path / "rows")


# ---------------------------------------------------------------------------- compaction


@pytest.mark.usefixtures("small_logs")
def test_logs_are_compacted_while_appending_goes_on(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        for i in range(100):
            journal.append([outcome(5 * i + k) for k in range(5)])
            assert sum(1 for _ in journal.outcomes()) == 5 * i + 5
        assert journal.notes == []
    assert ids(tmp_path) == [segment_id(i, 0) for i in range(500)]
    assert 1 < len(parquet_parts(tmp_path)) < 10
    assert [*tmp_path.glob("log-*")] == []


class Crash(BaseException):
    """Stands for the death of the process at some system call."""


class Mortal:
    """Lets the n-th change to the disk that compaction makes, and all later ones, not happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
        self.calls = 0
        self.dies_at = dies_at
        for owner, name in (
            (os, "replace"),
            (Path, "unlink"),
            (compaction, "sync_path"),
            (pq.ParquetWriter, "write_table"),
        ):
            monkeypatch.setattr(owner, name, self._mortal(getattr(owner, name)))

    def _mortal(self, call: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls >= self.dies_at:
                raise Crash
            return call(*args, **kwargs)

        return counted


def test_a_crash_at_any_step_of_a_compaction_loses_and_doubles_nothing(tmp_path: Path) -> None:
    expected = [segment_id(i, 0) for i in range(9)]
    for step in itertools.count(1):
        root = tmp_path / str(step)
        with Journal.create(root) as journal:
            journal.append([outcome(0), outcome(1)])
        journal = Journal.open(root)
        for i in range(2, 9):
            journal.append([outcome(i)])
        os.close(journal._lock_fd)  # as a dead process leaves it
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, step)
            try:
                compaction.compact(root, 9)
            except Crash:
                died = True
            else:
                died = False
        assert ids(root) == expected, step
        with Journal.open(root) as again:
            again.append([outcome(9)])
        assert ids(root) == [*expected, segment_id(9, 0)], step
        assert parquet_parts(root) == ["rows-000000000000-000000000010.parquet"]
        assert not [*root.glob("*.tmp")]
        if not died:
            break
    assert step == mortal.calls + 1
    assert step > 5


def test_wide_rows_are_compacted_some_megabytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_BATCH_BYTES", 1 << 14)
    monkeypatch.setattr(compaction, "_GROUP_BYTES", 1 << 15)
    wide = [dataclasses.replace(outcome(i), curve={"loss": [float(i), *[0.5] * 99]}) for i in range(400)]
    with Journal.create(tmp_path) as journal:
        for at in range(0, 400, 8):
            journal.append(wide[at : at + 8])
        journal.compact()
        (name,) = parquet_parts(tmp_path)
        groups = pq.ParquetFile(tmp_path / name).metadata
        assert groups.num_row_groups > 8
        assert max(groups.row_group(i).num_rows for i in range(groups.num_row_groups)) < 60
        assert [(o.segment.id, o.curve) for o in read_outcomes(tmp_path)] == [
            (o.segment.id, o.curve) for o in wide
        ]


def test_a_compaction_that_fails_is_noted_and_made_up_for(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append([outcome(0)])
    with pytest.MonkeyPatch.context() as patch:

        def full(*args: Any, **kwargs: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(JournalError, match=r"not compacted: .*No space left"):
            journal.compact()
        journal.append([outcome(1)])
        journal.close()
    assert "not compacted" in journal.notes[0]
    assert ids(tmp_path) == [segment_id(0, 0), segment_id(1, 0)]
    Journal.open(tmp_path).close()
    assert ids(tmp_path) == [segment_id(0, 0), segment_id(1, 0)]
    assert parquet_parts(tmp_path) == ["rows-000000000000-000000000002.parquet"]


@pytest.mark.usefixtures("small_logs")
def test_appending_goes_on_while_compaction_in_the_background_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with Journal.create(tmp_path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(pq.ParquetWriter, "write_table", full)
            for i in range(60):
                journal.append([outcome(i)])
            assert len([*tmp_path.glob("log-*")]) > 2
            with pytest.raises(JournalError, match="not compacted"):
                journal.compact()
        assert len(journal.notes) > 1
        assert ids(tmp_path) == [segment_id(i, 0) for i in range(60)]
    assert ids(tmp_path) == [segment_id(i, 0) for i in range(60)]
    assert parquet_parts(tmp_path) == ["rows-000000000000-000000000060.parquet"]


def test_a_search_of_four_hyper_parameters_takes_less_than_a_hundred_bytes_a_segment(tmp_path: Path) -> None:
    rng = random.Random(4)
    with Journal.create(tmp_path) as journal:
        for at in range(0, 20_000, 500):
            journal.append([realistic_outcome(rng, at + k) for k in range(500)])
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / 20_000 < 90


def realistic_outcome(rng: random.Random, i: int) -> Outcome:
    ordinal = rng.choice((0, 0, 1, 2))
    trial = i if ordinal == 0 else rng.randrange(i + 1)
    config = {name: rng.random() for name in ("lr", "momentum", "weight_decay", "dropout")}
    reason = (
        f"rung {3**ordinal}: rank {rng.randrange(1, i // 3 + 2)} of {i + 1}, promoted" if ordinal else "new"
    )
    segment = Segment(
        segment_id(trial, ordinal),
        trial,
        segment_id(trial, ordinal - 1) if ordinal else None,
        config,
        ordinal,
        ordinal + 1,
        rng.getrandbits(63),
        reason,
    )
    curve = {"val_loss": [rng.random() for _ in range(ordinal + 1)]}
    token = f"{rng.getrandbits(32):08x}"
    return Outcome(
        segment,
        Status.COMPLETED,
        curve,
        f"{trial}.{ordinal}-{token}",
        rng.random(),
        f"w{i % 16}",
        finished_at=1.7e9 + i / 1e3,
    )


# ---------------------------------------------------------------------------- columns


def test_the_table_has_ids_parents_and_configs_from_logs_and_parts_alike(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0, config={"a": (1, 2)}), outcome(5, 1)])
        journal.compact()
        journal.append([outcome(6, config={"b": None}, worker="w9"), outcome(7, 2)])
        table = read_table(tmp_path, ["id", "parent", "config", "worker", "finished_at"])
        assert table.column_names == ["id", "parent", "config", "worker", "finished_at"]
        assert table["id"].to_pylist() == [
            segment_id(0, 0),
            segment_id(5, 1),
            segment_id(6, 0),
            segment_id(7, 2),
        ]
        assert table["parent"].to_pylist() == [None, segment_id(5, 0), None, segment_id(7, 1)]
        assert [json.loads(c) for c in table["config"].to_pylist()][::2] == [{"a": [1, 2]}, {"b": None}]
        assert table["worker"].to_pylist() == ["w0", "w0", "w9", "w0"]
        assert read_table(tmp_path)["values"].to_pylist() == [[1.0], [1 / 6], [1 / 7], [1 / 8]]
        with pytest.raises(JournalError, match="unknown column 'wroker'; did you mean 'worker'"):
            read_table(tmp_path, ["wroker"])


# ---------------------------------------------------------------------------- followers


@pytest.mark.usefixtures("small_logs")
def test_a_follower_sees_every_outcome_once_through_compactions(tmp_path: Path) -> None:
    position, seen = START, []
    with Journal.create(tmp_path) as journal:
        for i in range(150):
            journal.append([outcome(2 * i), outcome(2 * i + 1)])
            if i % 3 == 0:
                new, position = tail(tmp_path, Position(*json.loads(json.dumps(position))))
                seen += new
    new, position = tail(tmp_path, position)
    assert [o.segment.trial for o in [*seen, *new]] == [*range(300)]
    assert tail(tmp_path, position) == ([], position)


@pytest.mark.usefixtures("small_logs")
def test_readers_in_other_threads_always_see_a_prefix(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    stop = threading.Event()
    wrong: list[Any] = []

    def read() -> None:
        longest = 0
        while not stop.is_set():
            try:
                trials = [o.segment.trial for o in read_outcomes(tmp_path)]
            except JournalError as error:
                wrong.append(error)
                return
            if trials != [*range(len(trials))] or len(trials) < longest:
                wrong.append((longest, trials))
            longest = len(trials)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(120):
        journal.append([outcome(4 * i + k) for k in range(4)])
    stop.set()
    for reader in readers:
        reader.join()
    journal.close()
    assert wrong == []
    assert ids(tmp_path) == [segment_id(i, 0) for i in range(480)]


def test_a_position_behind_an_append_that_was_taken_back_still_works(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0)])
        _, position = tail(tmp_path)
        moved = Position(position.row, position.log, position.offset - 7)
        journal.append([outcome(1)])
        journal.append([outcome(2)])
        assert [o.segment.trial for o in tail(tmp_path, moved)[0]] == [1, 2]


# ---------------------------------------------------------------------------- bad luck


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "disk"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield root
    subprocess.run(["umount", str(root)], check=True)


def test_a_full_disk_loses_nothing_and_appending_goes_on_when_there_is_room(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 300_000)
    journal = Journal.create(small_disk / "journal")
    written = 0

    def fill() -> None:
        nonlocal written
        while True:
            journal.append([outcome(written + k) for k in range(100)])
            written += 100

    with pytest.raises(
        JournalError, match=r"100 rows could not be written: No space left on device\. Everything"
    ):
        fill()
    assert written > 0
    size = JournalPaths(small_disk / "journal").log(0).path.stat().st_size
    assert ids(small_disk / "journal") == [segment_id(i, 0) for i in range(written)]
    assert LogReader(JournalPaths(small_disk / "journal").log(0)).tear is None
    with pytest.raises(JournalError, match="could not be written"):
        fill()
    assert JournalPaths(small_disk / "journal").log(0).path.stat().st_size == size
    (small_disk / "ballast").unlink()
    with pytest.raises(JournalError, match="could not be written"):
        fill()
    journal.close()
    assert ids(small_disk / "journal") == [segment_id(i, 0) for i in range(written)]


def test_a_disk_that_fails_to_sync_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([outcome(0)])

        def fails(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("raysearch.storage.journal.append_log.sync", fails)
            with pytest.raises(JournalError, match="1 rows could not be written: Input/output error"):
                journal.append([outcome(1)])
        assert ids(tmp_path) == [segment_id(0, 0)]
        journal.append([outcome(2)])
    assert ids(tmp_path) == [segment_id(0, 0), segment_id(2, 0)]


WRITER = """
import sys
from raysearch.storage.journal import compaction, journal as module
from raysearch.storage.journal.journal import Journal
from raysearch.core.segment import Outcome, Segment, Status, segment_id
module.LOG_BYTES = 6_000
compaction.FULL_PART_ROWS = 60
journal = Journal.open(sys.argv[1])
trial = journal.rows
while True:
    batch = [trial + k for k in range(3)]
    segments = [Segment(segment_id(t, 0), t, None, {"lr": t / 7}, 0, 1, t, "new") for t in batch]
    journal.append([Outcome(s, Status.COMPLETED, {"loss": [1.0]}) for s in segments])
    print(*batch, flush=True)
    trial += 3
"""


def test_killed_at_random_moments_every_acknowledged_outcome_is_there_once(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()
    rng = random.Random(5)
    acknowledged: list[int] = []
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(rng.randrange(1, 150))]
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.communicate()[0].splitlines()
        acknowledged += [int(word) for line in lines for word in line.split()]
        there = [o.segment.trial for o in read_outcomes(tmp_path)]
        assert len(there) == len(set(there))
        assert set(acknowledged) <= set(there)
    assert parquet_parts(tmp_path)
    with Journal.open(tmp_path) as journal:
        assert [o.segment.trial for o in journal.outcomes()] == [*range(journal.rows)]
    assert len(acknowledged) > 300


# ---------------------------------------------------------------------------- the format


GOLDEN = Path(__file__).parent / "golden" / "journal-1"


def golden_outcomes() -> list[Outcome]:
    """What the golden journal holds: the first three compacted, the others in a log."""
    configs: list[dict[str, Any]] = [
        {"lr": 0.25, "layers": 3, "optimizer": "adamw"},
        {"lr": math.inf, "sizes": (32, 64), "net": {"p": 0.5}},
        {},
        {"lr": 1e-7, "amp": None},
        {"lr": 0.1},
    ]
    curves: list[dict[str, list[float]]] = [
        {"loss": [2.0, 1.5], "acc": [0.1, 0.2]},
        {},
        {"loss": [0.5]},
        {},
        {},
    ]
    return [
        outcome(
            k, k % 2, config, curve=curve, checkpoint=f"{k}.0-abc", seconds=0.5 * k, finished_at=1.7e9 + k
        )
        for k, (config, curve) in enumerate(zip(configs, curves, strict=True))
    ]


def test_a_journal_written_by_the_first_format_is_read_for_ever(tmp_path: Path) -> None:
    """To make it anew, which a change of format must say: append three, compact, append an event and two."""
    shutil.copytree(GOLDEN, tmp_path / "journal")
    assert [*read_outcomes(GOLDEN)] == golden_outcomes()
    assert [*read_events(GOLDEN)] == [JournalEvent("resumed", {"version": "0.1.0"}, 1.7e9)]
    with Journal.open(tmp_path / "journal") as journal:
        journal.append([outcome(9)])
    assert [*read_outcomes(tmp_path / "journal")] == [*golden_outcomes(), outcome(9)]
