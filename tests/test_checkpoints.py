"""Checkpoints: there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysearch.core.segment import segment_id
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints import local as checkpoints_module
from raysearch.storage.checkpoints.local import Checkpoints

LONG_AGO = 1_000.0
FAR_AHEAD = 1e12
HOUR = 3600.0


def save(checkpoints: Checkpoints, trial: int, token: str = "a", text: str = "weights") -> str:
    folder = checkpoints.path_for_new(segment_id(trial, 0), token)
    (folder / "model").write_text(text)
    (folder / "inner").mkdir()
    (folder / "inner" / "state").write_text("s")
    return checkpoints.commit(folder)


def test_a_committed_checkpoint_is_found_by_its_name(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    name = save(checkpoints, 12, "t0")
    assert re.fullmatch("12[.]0-t0_[0-9a-f]{32}", name)
    assert checkpoints.exists(name)
    assert (checkpoints.path(name) / "model").read_text() == "weights"
    assert (checkpoints.path(name) / "inner" / "state").read_text() == "s"
    assert [*checkpoints.names()] == [name]
    assert checkpoints.size_of(name) == checkpoints.size() == 8


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    folder = checkpoints.path_for_new(segment_id(1, 0), "a")
    (folder / "model").write_text("half")
    assert not checkpoints.exists("1.0-a")
    with pytest.raises(CheckpointError, match=r"no checkpoint '1\.0-a'; it was deleted, or never kept"):
        checkpoints.path("1.0-a")
    assert [*checkpoints.names()] == []


def test_a_new_attempt_with_the_same_token_begins_empty(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.path_for_new(7, "a") / "left over").write_text("x")
    assert [*checkpoints.path_for_new(7, "a").iterdir()] == []


def test_a_second_commit_of_the_same_name_keeps_the_first(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    name = save(checkpoints, 1, text="first")
    assert save(checkpoints, 1, text="second") == name
    assert (checkpoints.path(name) / "model").read_text() == "first"
    assert checkpoints.sweep({name}, HOUR, now=FAR_AHEAD) == []


def test_an_empty_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    folder = checkpoints.path_for_new(segment_id(1, 0), "a")
    with pytest.raises(CheckpointError, match="cannot be written: nothing was saved in it"):
        checkpoints.commit(folder)


@pytest.mark.parametrize("name", ["../../etc", "1.0", "1.0-", "1.0-a/b", "", ".", "1.0-a\n"])
def test_a_name_that_is_none_touches_nothing(tmp_path: Path, name: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for act in (checkpoints.path, checkpoints.exists, lambda name: checkpoints.delete([name])):
        with pytest.raises(CheckpointError, match="is no name of a checkpoint"):
            act(name)


def test_deleting_is_idempotent_and_leaves_the_others(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    names = [save(checkpoints, trial) for trial in range(5)]
    checkpoints.delete(names[:3])
    checkpoints.delete([*names[:4], "99.0-zz"])
    assert [*checkpoints.names()] == names[4:]
    assert checkpoints.size() == 8


def test_a_sweep_removes_the_unfinished_and_the_unwanted_if_they_are_old(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    names = [save(checkpoints, trial) for trial in range(3)]
    unfinished = checkpoints.path_for_new(segment_id(9, 0), "b")
    (unfinished / "model").write_text("half")
    assert checkpoints.sweep(set(), HOUR) == []
    assert sorted(checkpoints.sweep({names[1]}, HOUR, now=FAR_AHEAD)) == [names[0], names[2], "9.0-b"]
    assert [*checkpoints.names()] == [names[1]]
    assert not unfinished.exists()
    assert checkpoints.sweep({names[1]}, HOUR, now=FAR_AHEAD) == []


def test_a_folder_that_is_still_being_written_counts_as_young(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    folder = checkpoints.path_for_new(segment_id(1, 0), "a")
    (folder / "model").write_text("x")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    assert checkpoints.sweep(set(), HOUR, now=LONG_AGO + HOUR + 1) == []
    os.utime(folder / "model", (LONG_AGO, LONG_AGO))
    assert checkpoints.sweep(set(), HOUR, now=LONG_AGO + HOUR + 1) == ["1.0-a"]


def test_many_checkpoints_spread_over_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints_module, "sync_path", lambda path: None)
    checkpoints = Checkpoints(tmp_path)
    names = {save(checkpoints, trial) for trial in range(2_000)}
    assert {*checkpoints.names()} == names
    assert max(len([*folder.iterdir()]) for folder in tmp_path.iterdir()) < 40


def test_a_place_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be made: Not a directory"):
        Checkpoints(tmp_path / "file").path_for_new(1, "a")
    folder = Checkpoints(tmp_path).path_for_new(segment_id(1, 0), "a")
    (folder / "model").write_text("x")
    folder.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"1\.0-a: the checkpoint cannot be written: No such file"):
        Checkpoints(tmp_path).commit(folder)


def test_everything_is_synced_before_the_rename_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    rename = os.rename
    monkeypatch.setattr(checkpoints_module, "sync_path", lambda path: steps.append(Path(path).name))
    monkeypatch.setattr(os, "rename", lambda *ends: (steps.append("rename"), rename(*ends)))
    checkpoints = Checkpoints(tmp_path)
    name = save(checkpoints, 1)
    before, after = steps[: steps.index("rename")], steps[steps.index("rename") + 1 :]
    assert {"model", "state", "inner", "1.0-a"} <= set(before)
    assert after == [checkpoints.path(name).parent.name]


def test_writers_in_many_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    names: list[str] = []

    def work(k: int) -> None:
        names.extend(save(checkpoints, trial, f"w{k}") for trial in range(10))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(checkpoints.names()) == sorted(names)
    assert len(names) == 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "disk"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=30", "tmpfs", str(root)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield root
    subprocess.run(["umount", str(root)], check=True)


def test_a_full_disk_leaves_the_committed_ones_and_room_is_made_by_a_sweep(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "c")
    kept = save(checkpoints, 0)
    folder = checkpoints.path_for_new(segment_id(1, 0), "a")
    with pytest.raises(OSError, match="No space left"):
        (folder / "model").write_bytes(b"x" * (2 << 20))
    with pytest.raises(CheckpointError, match="cannot be made: No space left"):
        _ = [checkpoints.path_for_new(segment_id(trial, 0), "a") for trial in range(2, 50)]
    assert [*checkpoints.names()] == [kept]
    checkpoints.sweep({kept}, HOUR, now=FAR_AHEAD)
    assert save(checkpoints, 2).startswith("2.0-a_")


WRITER = """
import sys
from raysearch.storage.checkpoints.local import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
trial = int(sys.argv[2])
while True:
    folder = checkpoints.path_for_new(trial << 20, "k")
    for part in range(3):
        (folder / str(part)).write_text(str(trial) * 100)
    print(checkpoints.commit(folder), flush=True)
    trial += 1
"""


def test_a_writer_killed_at_any_moment_leaves_only_whole_checkpoints(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for life in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(1000 * life)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(3 + 7 * life)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.communicate()[0].split()
        assert set(acknowledged) <= set(checkpoints.names())
    for name in checkpoints.names():
        trial = name.split(".")[0]
        assert [(checkpoints.path(name) / str(k)).read_text() for k in range(3)] == [trial * 100] * 3
    checkpoints.sweep({*checkpoints.names()}, HOUR, now=FAR_AHEAD)
    assert [*(tmp_path / "tmp").iterdir()] == []
