"""Runs at an object store: a real S3 API on this machine, and a cache for each of several machines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trainables
from objectstore import BUCKET, KEYS, ObjectStore, make_bucket
from waiting import Child, Children

import raysearch
from raysearch.core.cache_dir import CACHE_VARIABLE
from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.errors import CheckpointError, JournalBusyError, JournalError, RunError, SpecError, StoreError
from raysearch.run.location import existing_run
from raysearch.run.orders import Orders
from raysearch.spec import load_spec, make_spec
from raysearch.storage import liveness, store_lock
from raysearch.storage.checkpoints import remote
from raysearch.storage.checkpoints.remote import checkpoints_of
from raysearch.storage.journal import object_log
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events, read_outcomes
from raysearch.storage.mirror import Mirror, mirror_of
from raysearch.storage.object_store import open_store, parse_address
from raysearch.storage.paths import RunPaths

pytest.importorskip("moto", reason="moto is not installed")
DRIVER = Path(__file__).with_name("store_driver.py")


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    server = ObjectStore()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join()


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server.away = False
    make_bucket(server)
    server.asked.clear()
    return server


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Goes on as if on the machine of that name: with its cache."""

    def go(name: str) -> None:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / name))

    go("one")
    return go


def outcome(trial: int, loss: float = 0.5) -> Outcome:
    segment = Segment(segment_id(trial, 0), trial, None, {"lr": 0.1}, 0, 1, 7, "new trial")
    return Outcome(segment, Status.COMPLETED, {"loss": [loss]}, worker="w")


def mirror(store: ObjectStore, path: str = "runs/run") -> Mirror:
    return mirror_of(parse_address(store.address(path)))


def journal(store: ObjectStore, path: str = "runs/run") -> Path:
    return mirror(store, path).root / "journal"


def trials(folder: Path) -> list[int]:
    return [outcome.segment.trial for outcome in read_outcomes(folder)]


def names(store: ObjectStore, folder: str) -> list[str]:
    return sorted(Path(key).name for key in open_store(store.address("runs/run")).listing(folder))


# ---- addresses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/runs", "runs are not kept at ftp://; allowed: a folder"),
        ("s3:///runs", "names no bucket; write s3://bucket/path"),
        ("s3://key:secret@bucket/runs", "holds a key"),
        ("s3://bucket/runs?regoin=eu", "unknown option 'regoin'; did you mean 'region'?"),
        ("gs://bucket/runs?region=eu", "unknown option 'region'"),
    ],
)
def test_a_wrong_address_is_an_error_of_the_spec(text: str, said: str) -> None:
    with pytest.raises(SpecError, match="storage") as found:
        make_spec(
            trainable="a:b",
            metric="loss",
            mode="min",
            space={"x": {"uniform": [0, 1]}},
            strategy={"name": "caviar", "samples": 2, "max_iterations": 3},
            storage=text,
        )
    assert said in str(found.value)
    assert "secret" not in str(found.value).replace("holds a key", "")


def test_an_address_is_written_as_it_is_read() -> None:
    address = parse_address("s3://bucket//a/b/?scheme=http&endpoint_override=127.0.0.1:9000")
    assert str(address.under("run")) == ("s3://bucket/a/b/run?scheme=http&endpoint_override=127.0.0.1%3A9000")
    assert parse_address(str(address)) == address
    assert str(parse_address("gcs://bucket/runs")) == "gs://bucket/runs"


@pytest.mark.usefixtures("machine")
def test_a_bucket_that_is_not_there_is_said_before_anything_starts(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="there is no such bucket: make it, or correct `storage:`"):
        search(store.address("runs").replace(BUCKET, "nowhere"))


@pytest.mark.usefixtures("machine")
def test_a_store_that_cannot_be_reached_is_said(store: ObjectStore) -> None:
    gone = store.address("runs").replace(str(store.port), "1")
    with pytest.raises(StoreError, match="it cannot be reached: look at the network"):
        search(gone)


# ---- the journal


def test_what_is_appended_on_one_machine_is_read_on_another(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    with Journal.create(journal(store)) as writer:
        writer.append_event("start", {"host": "one"}, 1.0)
        for trial in range(5):
            writer.append([outcome(trial)])
        machine("two")
        assert trials(journal(store)) == [0, 1, 2, 3, 4]
        assert [event.kind for event in read_events(journal(store))] == ["start"]
    mirror(store).refresh(now=True)
    assert trials(journal(store)) == [0, 1, 2, 3, 4]


def test_each_file_of_a_journal_is_fetched_once(store: ObjectStore, machine: Callable[[str], None]) -> None:
    with Journal.create(journal(store)) as writer:
        writer.append([outcome(0)])
        machine("two")
        for trial in range(1, 4):
            writer.append([outcome(trial)])
            mirror(store).refresh(now=True)
            assert trials(journal(store)) == list(range(trial + 1))
        assert store.gets("journal/log-") == 4


@pytest.mark.usefixtures("machine")
def test_a_spec_is_fetched_again_only_when_it_was_changed(store: ObjectStore) -> None:
    place = open_store(store.address("runs/run"))
    place.put("spec.yaml", b"samples: 12")
    reader = mirror(store)
    for _ in range(3):
        reader.refresh(now=True)
    assert store.gets("spec.yaml") == 1
    place.put("spec.yaml", b"samples: 18")  # as long, and in the same second
    reader.refresh(now=True)
    assert (reader.root / "spec.yaml").read_bytes() == b"samples: 18"
    (reader.root / "spec.yaml").unlink()
    reader.refresh(now=True)
    assert (reader.root / "spec.yaml").read_bytes() == b"samples: 18"
    assert store.gets("spec.yaml") == 3


def test_a_part_that_a_disk_changed_in_the_mirror_is_fetched_anew(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    with Journal.create(journal(store)) as writer:
        writer.append([outcome(trial) for trial in range(30)])
    machine("two")
    assert trials(journal(store)) == [*range(30)]
    (part,) = journal(store).glob("*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:300] + b"?" + whole[301:])
    assert trials(journal(store)) == [*range(30)]
    assert part.read_bytes() == whole


@pytest.mark.usefixtures("machine")
def test_many_small_logs_become_one_part_and_no_row_is_lost(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, machine: Callable[[str], None]
) -> None:
    monkeypatch.setattr(object_log, "ALLOWANCE", 8 << 20)  # so that four appends are worth compacting
    with Journal.create(journal(store)) as writer:
        for trial in range(30):
            writer.append([outcome(trial)])
        writer.compact()
        assert names(store, "journal") == ["lock", "rows-000000000000-000000000030.parquet"]
        writer.append([outcome(30)])
        machine("two")
        assert trials(journal(store)) == list(range(31))
        machine("one")
    assert names(store, "journal") == ["rows-000000000000-000000000031.parquet"]


def test_an_append_that_failed_can_be_tried_again_and_counts_once(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    with Journal.create(journal(store)) as writer:
        writer.append([outcome(0)])
        store.away = True
        with pytest.raises(JournalError, match="1 rows could not be written"):
            writer.append([outcome(1)])
        store.away = False
        assert trials(journal(store)) == [0]
        writer.append([outcome(1)])
        writer.append([outcome(2)])
        machine("two")
        assert trials(journal(store)) == [0, 1, 2]


def test_another_machine_goes_on_where_the_journal_ended(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    with Journal.create(journal(store)) as writer:
        writer.append([outcome(0)])
    machine("two")
    with Journal.open(journal(store)) as writer:
        assert writer.rows == 1
        writer.append([outcome(1)])
    machine("one")
    mirror(store).refresh(now=True)
    assert trials(journal(store)) == [0, 1]


# ---- who may write


@pytest.mark.usefixtures("machine")
def test_a_run_that_is_searched_elsewhere_is_refused(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    with Journal.create(journal(store)):
        machine("two")
        assert existing(store)
        with pytest.raises(JournalBusyError, match=r"process \d+ on .* has the journal open; its last sign"):
            Journal.open(journal(store))
        machine("one")
    machine("two")
    Journal.open(journal(store)).close()


def existing(store: ObjectStore) -> bool:
    return holder(store) is not None


def holder(store: ObjectStore) -> liveness.Holder | None:
    return liveness.holder_of(open_store(store.address("runs/run")))


def test_who_was_cut_off_writes_nothing_after_another_took_over(
    store: ObjectStore, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal.create(journal(store))
    first.append([outcome(0)])
    monkeypatch.setattr(liveness, "EXPIRES_S", -1.0)  # as if the first had given no sign for long
    machine("two")
    with Journal.open(journal(store)) as second:
        monkeypatch.setattr(store_lock, "RENEW_BY_S", -1.0)  # and had not renewed for long when it comes back
        with pytest.raises(JournalError, match="took the run over; this process writes no more"):
            first.append([outcome(1, loss=9.0)])
        second.append([outcome(1, loss=0.1)])
    first.close()
    machine("three")
    found = list(read_outcomes(journal(store)))
    assert [o.curve["loss"] for o in found] == [[0.5], [0.1]]


@pytest.mark.usefixtures("machine")
def test_a_lock_whose_process_is_gone_from_this_machine_is_free_at_once(store: ObjectStore) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Journal.create(journal(store)):
        pass
    place = open_store(store.address("runs/run"))
    import json
    import socket

    said = {"pid": gone.pid, "host": socket.gethostname(), "life": "x", "at": time.time()}
    place.put(liveness.STORE_KEY, json.dumps(said).encode())
    Journal.open(journal(store)).close()
    said["host"] = "another"
    place.put(liveness.STORE_KEY, json.dumps(said).encode())
    with pytest.raises(JournalBusyError):
        Journal.open(journal(store))


# ---- checkpoints


def save(run: Path, text: str, token: str = "a") -> str:
    checkpoints = checkpoints_of(run)
    folder = checkpoints.path_for_new(segment_id(3, 1), token)
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_text(text)
    return checkpoints.commit(folder)


def test_a_checkpoint_is_fetched_once_a_machine_and_read_from_there(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    name = save(mirror(store).root, "one")
    assert (checkpoints_of(mirror(store).root).path(name) / "deep" / "weights").read_text() == "one"
    assert store.gets(".tar") == 0
    machine("two")
    for _ in range(3):
        folder = checkpoints_of(mirror(store).root).path(name)
        assert (folder / "deep" / "weights").read_text() == "one"
    assert store.gets(".tar") == 1
    assert list(checkpoints_of(mirror(store).root).names()) == [name]


def test_a_checkpoint_that_is_deleted_or_was_never_kept_is_said(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    name = save(mirror(store).root, "one")
    checkpoints_of(mirror(store).root).delete([name])
    machine("two")
    there = checkpoints_of(mirror(store).root)
    assert not there.exists(name)
    with pytest.raises(CheckpointError, match=f"there is no checkpoint '{name}'"):
        there.path(name)


@pytest.mark.usefixtures("machine")
def test_a_checkpoint_that_cannot_be_sent_is_not_there(store: ObjectStore) -> None:
    store.away = True
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(mirror(store).root, "one")
    store.away = False
    assert list(checkpoints_of(mirror(store).root).names()) == []
    assert save(mirror(store).root, "two").startswith("3.1-a_")


@pytest.mark.usefixtures("machine")
def test_the_cache_gives_up_what_was_used_longest_ago_and_the_store_keeps_it(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOOK_EVERY", 1)
    monkeypatch.setenv(remote.QUOTA_VARIABLE, "0.000025")  # 25 kB, two of them
    checkpoints = checkpoints_of(mirror(store).root)
    kept = []
    for token in "abcd":
        kept.append(save(mirror(store).root, "x" * 10_000, token))
        os.utime(RunPaths(mirror(store).root).checkpoints)
        checkpoints.path(kept[0])
    here = {f.name for f in RunPaths(mirror(store).root).checkpoints.glob("??/*")}
    assert here == {kept[0], kept[3]}
    assert set(checkpoints.names()) == set(kept)
    assert (checkpoints.path(kept[1]) / "deep" / "weights").exists()


# ---- orders


def test_an_order_given_on_one_machine_is_answered_from_another(
    store: ObjectStore, machine: Callable[[str], None]
) -> None:
    runner = Orders(RunPaths(mirror(store).root).orders)
    machine("two")
    giver = Orders(RunPaths(mirror(store).root).orders)
    name = giver.give({"kind": "nudge"})
    assert giver.answered(name) is None
    assert runner._post is not None
    runner._post.round()
    assert runner.waiting() == [name]
    assert runner.read(name) == {"kind": "nudge"}
    runner.answer(name, True, "done")
    runner._post.round()
    assert giver.answered(name) == (True, "done")
    assert names(store, "orders") == [f"{name}.answer"]


# ---- whole searches


def search(storage: str, **fields: Any) -> raysearch.Results:
    return raysearch.search(
        trainables.Walk,
        **{
            "executor": "inline",
            "space": {"rate": {"uniform": [0.0, 1.0]}},
            "metric": "loss",
            "mode": "min",
            "strategy": raysearch.Caviar(samples=12, max_iterations=9, sampler="random", finish=None),
            "storage": storage,
            "name": "run",
            **fields,
        },
    )


def told(run: Path) -> list[Any]:
    return [(o.segment, o.status, dict(o.curve)) for o in read_outcomes(run / "journal")]


def test_a_search_at_a_store_is_the_search_in_a_folder_and_goes_on_elsewhere(
    store: ObjectStore, machine: Callable[[str], None], storage: Path
) -> None:
    here = search(str(storage))
    there = search(store.address("runs"))
    assert told(there.path) == told(here.path)
    with pytest.raises(RunError, match=r"a run exists at 's3://.*runs/run"):
        search(store.address("runs"))
    machine("two")
    run = store.address("runs/run")
    assert raysearch.load(existing_run(run)).best.value == here.best.value
    more = raysearch.resume(
        run,
        raysearch.How(executor="inline"),
        trainable=trainables.Walk,
        edits=lambda spec: raysearch.launch.more_samples(spec, "+6"),
    )
    assert len(more.trials()) == 18
    machine("three")
    assert len(raysearch.load(existing_run(run)).trials()) == 18
    assert load_spec(existing_run(run) / "spec.yaml").strategy.samples == 18  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"no run at 's3://.*runs/other.*; runs there: run"):
        existing_run(store.address("runs/other"))


def test_a_file_that_is_deleted_while_it_is_fetched_counts_as_none(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_store(store.address("runs/run"))
    place.put("journal/log", b"rows")
    system = place._system

    class Deleting:
        """The store's file system, at which a file is deleted once it has been opened."""

        def open_input_file(self, path: str) -> Any:
            file = system.open_input_file(path)
            system.delete_file(path)
            return file

        def __getattr__(self, name: str) -> Any:
            return getattr(system, name)

    monkeypatch.setattr(place, "_system", Deleting())
    assert place.fetch("journal/log", tmp_path / "log") == ""
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
@pytest.mark.own_cluster
def test_a_killed_driver_s_search_goes_on_from_another_machine(
    store: ObjectStore, machine: Callable[[str], None], tmp_path: Path, start_process: Children
) -> None:
    def drive(machine: str, executor: str) -> Child:
        environment = {**os.environ, CACHE_VARIABLE: str(tmp_path / machine)}
        return start_process(sys.executable, DRIVER, store.address("runs"), executor, env=environment)

    first = drive("one", "inline")
    machine("watching")
    run = store.address("runs/run")
    place = open_store(run)

    def is_amid() -> bool:
        mirror(store).refresh(now=True)
        return place.has("spec.yaml") and len(trials(existing_run(run) / "journal")) >= 15

    first.wait_for(is_amid)
    before = told(existing_run(run))
    first.kill()
    drive("two", "tune").end()
    after = told(existing_run(run))
    assert after[: len(before)] == before
    ids = [segment.id for segment, status, _ in after if status is not Status.LOST]
    assert len(ids) == len(set(ids))
    assert sum(segment.start == 0 for segment, status, _ in after if status is Status.COMPLETED) == 60
