"""What facts about a cluster mean for a search: judged without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raysearch.cluster.doctor.facts import ClusterFacts, NodeFacts, StorageSeen, node_facts
from raysearch.cluster.doctor.findings import GIB, MIB, Finding, Severity, is_fatal, judge, problems
from raysearch.cluster.versions import VARIABLE, differences, submitted_note, versions

HERE = {"raysearch": "0.1.0", "ray": "2.60.0", "python": "3.11.7"}
FINE = NodeFacts(
    name="a",
    resources={"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0, "object_store_memory": 2.0 * GIB},
    versions=HERE,
    disk=(50 * GIB, 100 * GIB),
    shm_bytes=4 * GIB,
    memory_free=20 * GIB,
    storage=StorageSeen(free=50 * GIB),
)


def cluster(*nodes: NodeFacts, **changes: Any) -> ClusterFacts:
    return ClusterFacts(here=HERE, nodes=nodes or (FINE, replace(FINE, name="b")), storage="/runs", **changes)


def bad(facts: ClusterFacts) -> list[Finding]:
    return problems(judge(facts))


def test_nothing_is_wrong_with_a_cluster_on_which_all_is_well() -> None:
    found = judge(cluster())
    assert problems(found) == []
    assert not is_fatal(found)
    assert found[0].text == "2 nodes, 16 CPUs, 4 GPUs (A100)"


CASES: list[tuple[dict[str, Any], Severity, str, str]] = [
    ({"versions": {"ray": "2.60.0", "python": "3.11.7"}}, Severity.fatal, "versions", "not installed on b"),
    (
        {"versions": {**HERE, "raysearch": "0.0.9"}},
        Severity.fatal,
        "versions",
        "b: raysearch 0.0.9 there, 0.1.0",
    ),
    ({"versions": {**HERE, "ray": "2.50.0"}}, Severity.fatal, "versions", "b: Ray 2.50.0 there, 2.60.0 here"),
    (
        {"versions": {**HERE, "python": "3.12.1"}},
        Severity.warning,
        "versions",
        "Python 3.12.1 there, 3.11.7 here",
    ),
    ({"storage": StorageSeen(reads=False)}, Severity.fatal, "storage", "on b is another place than here"),
    ({"storage": StorageSeen(is_read=False)}, Severity.fatal, "storage", "on b is another place than here"),
    (
        {"storage": StorageSeen(error="PermissionError: no")},
        Severity.fatal,
        "storage",
        "on b: PermissionError",
    ),
    ({"storage": StorageSeen(free=50 * MIB)}, Severity.warning, "storage", "50 MiB left (seen from b)"),
    ({"data_ok": False}, Severity.fatal, "objects", "did not arrive whole on b"),
    ({"clock_s": (29.9, 31.0)}, Severity.warning, "clock", "b is at least 30 s ahead"),
    ({"clock_s": (-40.0, -35.2)}, Severity.warning, "clock", "b is at least 35 s behind"),
    ({"disk": (2 * GIB, 100 * GIB)}, Severity.warning, "disk", "98% full (2.0 GiB left)"),
    ({"disk": (10 * MIB, 100 * GIB)}, Severity.warning, "disk", "b has 10 MiB left"),
    ({"open_files": 1024}, Severity.warning, "files", "on b a process may open 1,024 files"),
    ({"open_files": 256}, Severity.fatal, "files", "on b a process may open 256 files"),
    ({"memory_free": 300 * MIB}, Severity.warning, "memory", "b has 300 MiB of memory left"),
    (
        {"shm_bytes": 64 * MIB},
        Severity.warning,
        "memory",
        "/dev/shm has 64 MiB, the object store may take 2.0",
    ),
]


@pytest.mark.parametrize(("change", "level", "about", "words"), CASES)
def test_what_is_wrong_with_a_node_is_said_with_its_name_and_what_to_do(
    change: dict[str, Any], level: Severity, about: str, words: str
) -> None:
    (found,) = bad(cluster(FINE, replace(FINE, name="b", **change)))
    assert (found.level, found.about) == (level, about)
    assert words in found.text
    assert found.do


def test_a_patch_release_of_python_and_a_clock_that_may_be_right_are_no_findings() -> None:
    node = replace(FINE, name="b", versions={**HERE, "python": "3.11.2"}, clock_s=(-0.1, 90.0))
    assert bad(cluster(FINE, node)) == []


def test_a_node_that_does_not_answer_is_a_finding_but_does_not_stop_a_search() -> None:
    (found,) = bad(cluster(silent={"c": "no answer"}, waited_s=4.0))
    assert found.text == "c has not answered within 4 s (no answer)"
    assert found.level is Severity.warning


def test_missing_nodes_are_fatal_where_their_number_is_known() -> None:
    (found,) = bad(cluster(expected=4, silent={}))
    assert (found.level, found.text) == (Severity.fatal, "2 of 4 nodes have joined")


def test_a_trainable_is_fatal_where_it_cannot_be_loaded_and_nodes_with_one_error_are_named_together() -> None:
    error = "TrainableError: No module named 'timm'"
    nodes = [replace(FINE, name=name, trainable=error) for name in "abcde"]
    (found,) = bad(cluster(*nodes, has_trainable=True))
    assert found.text == f"it cannot be loaded on a, b, c and 2 more: {error}"
    assert any(f.about == "trainable" for f in judge(cluster(has_trainable=True)))


def test_a_clock_15_minutes_off_is_fatal_only_where_a_store_would_refuse_its_requests() -> None:
    node = replace(FINE, name="b", clock_s=(1000.0, 1001.0))
    assert bad(cluster(FINE, node))[0].level is Severity.warning
    store = replace(cluster(FINE, node), storage="s3://bucket/runs")
    assert bad(store)[0].level is Severity.fatal


def test_a_storage_that_cannot_be_written_from_here_is_the_only_thing_said_of_it() -> None:
    nodes = [replace(FINE, storage=None)]
    found = bad(cluster(*nodes, storage_error="[Errno 13] Permission denied"))
    assert [f.text for f in found] == ["/runs cannot be written from here: [Errno 13] Permission denied"]


def test_fatal_findings_come_first() -> None:
    node = replace(FINE, name="b", open_files=1024, data_ok=False)
    assert [f.level for f in bad(cluster(node, silent={"c": "x"}))] == [
        Severity.fatal,
        Severity.warning,
        Severity.warning,
    ]


def test_room_says_how_many_workers_fit_or_why_none_does() -> None:
    texts = [f.text for f in judge(cluster(worker="2 CPU", room=8))]
    assert "8 workers at once, each with 2 CPU" in texts
    (found,) = bad(cluster(worker="4 GPU", no_room="one worker needs 4 GPU"))
    assert (found.level, found.about) == (Severity.fatal, "room")


def test_a_nodes_clock_is_bounded_by_when_it_was_asked_and_when_it_answered() -> None:
    said = {
        "versions": HERE,
        "began": 1010.5,
        "ended": 1011.0,
        "disk": (1, 2),
        "open_files": 1,
        "shm_bytes": 0,
        "memory_free": None,
        "data_ok": True,
    }
    node = node_facts("b", {}, said, sent_at=1000.0, answered_at=1001.0, is_read=True)
    assert node.clock_s == (10.0, 10.5)  # it is between 10 and 10.5 s ahead
    assert node.storage is None


def test_versions_that_differ_are_said_from_both_sides() -> None:
    there = {"ray": "2.50.0", "python": "3.11.2"}
    assert differences(there, HERE) == {"ray": "Ray 2.50.0 there, 2.60.0 here"}


def test_a_submitted_job_says_what_differs_from_the_machine_that_submitted_it() -> None:
    assert submitted_note({}) is None
    assert submitted_note({VARIABLE: '{"python": "' + versions()["python"] + '"}'}) is None
    note = submitted_note({VARIABLE: '{"raysearch": "9.9.9", "ray": "1.0.0"}'})
    assert note is not None
    assert "raysearch 9.9.9 there" in note
    assert "Ray 1.0.0 there" in note


def test_nodes_that_cannot_talk_are_named_in_pairs_and_stop_only_a_worker_that_lies_on_several() -> None:
    apart = tuple(("a", name, "RuntimeError: Connection timed out") for name in "bcdef")
    found = bad(cluster(apart=apart))
    assert {finding.level for finding in found} == {Severity.warning}
    assert found[0].text == "processes on a and b cannot train together: RuntimeError: Connection timed out"
    assert found[-1].text == "nor can 2 pairs more"
    assert is_fatal(judge(cluster(apart=apart, groups=True)))
    assert bad(cluster(apart=())) == []
    assert any(finding.about == "process group" for finding in judge(cluster(apart=())))
