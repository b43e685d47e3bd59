"""The look at a connected cluster: what is gathered, and what is left behind."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trainables
from objectstore import KEYS, ObjectStore, make_bucket
from waiting import PATIENCE_S

from raysearch.cli import main
from raysearch.cluster.doctor import doctor
from raysearch.cluster.doctor.doctor import check_before_launch, gather
from raysearch.cluster.doctor.findings import Severity, judge, problems
from raysearch.cluster.versions import versions
from raysearch.errors import ClusterError
from raysearch.storage.object_store import open_store
from raysearch.worker.shipping import ship

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    pytest.importorskip("moto", reason="moto is not installed")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = ObjectStore()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    make_bucket(server)
    yield server
    server.close()
    thread.join()


def test_the_drivers_node_tells_all_about_itself_and_nothing_is_left_at_the_storage(tmp_path: Path) -> None:
    shipped = pickle.dumps(ship(trainables.Walk))
    facts = gather(PATIENCE_S, str(tmp_path / "runs"), shipped, expected=1)
    (node,) = facts.nodes
    assert node.versions["python"] == versions()["python"]
    assert node.amount("CPU") == 4
    assert node.disk[1] > node.disk[0] > 0
    assert node.storage is not None
    assert (node.storage.error, node.storage.reads, node.storage.is_read) == (None, True, True)
    assert node.trainable is None
    assert facts.silent == {}
    assert not any(f.level is Severity.fatal for f in judge(facts))
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_storage_stays(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").touch()
    gather(PATIENCE_S, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_store_is_written_and_read_and_no_file_is_left_there(store: ObjectStore) -> None:
    facts = gather(PATIENCE_S, store.address("runs"))
    (node,) = facts.nodes
    assert node.storage is not None
    assert (node.storage.error, node.storage.reads, node.storage.is_read) == (None, True, True)
    assert open_store(store.address("runs")).listing() == {}
    found = problems(judge(gather(PATIENCE_S, store.address("runs").replace("bucket", "no-such-bucket"))))
    assert [f.level for f in found if f.about == "storage"] == [Severity.fatal]
    assert "there is no such bucket" in found[0].text


def test_a_storage_that_cannot_be_written_stops_a_launch_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError) as error:
        check_before_launch(str(tmp_path / "file" / "run"), pytest.fail)
    assert "cannot be written from here" in str(error.value)
    assert "--skip-checks" in str(error.value)


def test_before_a_launch_problems_are_notes_and_what_is_good_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(doctor.node_probe, "_memory_free", lambda: 100 * 2**20)
    check_before_launch(str(tmp_path), said.append)
    assert [line for line in said if line.startswith("note: memory: ") and "100 MiB" in line]
    assert not [line for line in said if "good" in line]


def test_a_trainable_that_cannot_be_loaded_is_named_with_its_error(tmp_path: Path) -> None:
    facts = gather(PATIENCE_S, trainable=b"not a pickle")
    (found,) = [f for f in judge(facts) if f.about == "trainable"]
    assert found.level is Severity.fatal
    assert "UnpicklingError" in found.text


def test_the_command_prints_findings_and_its_exit_code_says_whether_a_search_can_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--storage", str(tmp_path / "runs")]) == 0
    assert "is the same place from every node" in capsys.readouterr().out
    assert main(["doctor", "--nodes", "2"]) == 2
    assert "1 of 2 nodes have joined" in capsys.readouterr().out
    assert main(["doctor", "digits", "--json"]) in (0, 2)  # 2 where the example's data are not installed
    assert '"room": 4' in capsys.readouterr().out
    assert main(["doctor", "nothing.yaml"]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_storage_that_is_away_for_a_moment_does_not_stop_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, looks = tmp_path / "away" / "run", list[str]()

    def look(patience_s: float, storage: str) -> Any:
        looks.append(storage)
        found = gather(patience_s, storage=storage)
        if len(looks) == 1:
            (tmp_path / "away").unlink()
        return found

    (tmp_path / "away").write_text("where the folder will be")
    monkeypatch.setattr(doctor, "gather", look)
    check_before_launch(str(run), lambda line: None)
    assert looks == [str(run)] * 2
