"""A cluster of several nodes, each with an address of its own, that are killed, frozen, cut off and added."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import Children, wait_for

from raysearch.bench import chaos
from raysearch.bench.chaos import Chaos, has_begun, in_peace, spec_of, stage
from raysearch.bench.support import faults
from raysearch.bench.support.audit import Findings, audit, read
from raysearch.bench.support.contest import BenchError
from raysearch.bench.support.machines import Machines, why_not
from raysearch.bench.support.processes import send, thaw
from raysearch.core.segment import Status
from raysearch.storage.journal.reading import read_outcomes

pytestmark = [pytest.mark.own_cluster, pytest.mark.slow]
NO_NAMESPACES = why_not()
needs_namespaces = pytest.mark.skipif(bool(NO_NAMESPACES), reason=NO_NAMESPACES)


def options(**changes: Any) -> argparse.Namespace:
    """Those of the bench."""
    made = chaos.parser().parse_args([])
    vars(made).update(changes)
    return made


class Story:
    """A search on such a cluster, of which a test tells what happens meanwhile."""

    def __init__(
        self, folder: Path, machines: Machines, disk: Path, name: str, seconds: float, samples: int = 24
    ) -> None:
        self.machines = machines
        self.run = disk / name
        self.seen = folder / f"seen-{name}"
        self.seen.mkdir()
        self.log = folder / f"{name}.log"
        self.spec = folder / f"{name}.yaml"
        self.calm = folder
        self.spec.write_text(
            spec_of(self.run, 3, self.seen, options(strategy="caviar", samples=samples, seconds=seconds))
        )
        self.driver = self.begin("launch", self.spec)

    def begin(self, verb: str, what: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "raysearch.cli", verb, str(what), "--address", self.machines.address]
        self.driver = self.machines.popen(command, self.log)
        return self.driver

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, condition: Callable[[], object]) -> None:
        """Until something is true, while the search goes on."""
        wait_for(condition, alive=lambda: self.driver.poll() is None, saw=self.said)

    def outcomes(self) -> list[dict[str, Any]]:
        """The rows of the journal of a search that has ended: of one that goes on, files may be compacted."""
        return [row for row in read(self.run / "journal") if row["event"] is None]

    def more_outcomes(self, count: int) -> None:
        """Waits for so many more that count."""
        goal = self.finals() + count
        self.wait(lambda: self.finals() >= goal)

    def finals(self) -> int:
        if not (self.run / "spec.yaml").exists():
            return 0
        return sum(o.status is not Status.LOST for o in read_outcomes(self.run / "journal"))

    def end(self) -> Findings:
        wait_for(lambda: self.driver.poll() is not None, saw=self.said)
        assert self.driver.returncode == 0, self.said()
        return audit(self.run / "journal", self.seen, in_peace(self.spec, self.calm) / "journal")


Staged = tuple[Path, Machines, Path]


@pytest.fixture(scope="module")
def stages() -> Iterator[list[tuple[contextlib.ExitStack, Staged]]]:
    """The cluster that is there, if one is."""
    there: list[tuple[contextlib.ExitStack, Staged]] = []
    yield there
    for stack, _ in there:
        stack.close()


@pytest.fixture
def cluster(
    stages: list[tuple[contextlib.ExitStack, Staged]], has_failed: Callable[[], bool]
) -> Iterator[Staged]:
    """Three nodes; started once for the tests of this file, and again after one that failed."""
    if not stages:
        stack = contextlib.ExitStack()
        stages.append((stack, stack.enter_context(stage(options()))))
    yield stages[0][1]
    if has_failed():
        stages.pop()[0].close()


def test_a_node_that_does_not_come_up_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass
    class Node:
        is_up: bool
        name: str = "two"
        is_alive: bool = False

        def said(self) -> str:
            return "timed out during startup"

    nodes = [Node(False), Node(False), Node(True), *[Node(False)] * 9]
    removed: list[Node] = []
    monkeypatch.setattr(Machines, "start", lambda self, cpus: nodes.pop(0))
    monkeypatch.setattr(Machines, "remove", lambda self, node: removed.append(node))
    machines = Machines(tmp_path)
    assert machines.add(1).is_up
    assert [node.is_up for node in removed] == [False, False]
    with pytest.raises(BenchError, match="node two did not come up: timed out during startup"):
        machines.add(1)


def test_a_command_has_come_to_search_once_it_shows_how_far_that_is() -> None:
    starting = "runs/run: caviar · loss\n[0s] importing the trainable and starting the workers\n"
    assert not has_begun(starting + "note: nodes: 1 of 3 has not answered\nerror: no room\n")
    assert has_begun(starting + "[0s] 0 of 60 · 0 at full length · 0 diverged · 0 failed\n")
    assert has_begun(starting + "[1m 02s] iteration 3 of 27 · 5 of at most 90 trained\n")


@needs_namespaces
def test_nodes_are_killed_frozen_cut_off_and_added_and_every_outcome_counts_once(
    cluster: Staged,
) -> None:
    folder, machines, disk = cluster
    story = Story(folder, machines, disk, "nodes", 0.3, samples=60)
    story.wait(lambda: len(machines.find(faults.WORKER)) == 5)
    one, two = machines.nodes[1:3]
    story.more_outcomes(3)
    one.kill()
    joined = machines.start(2)
    frozen = two.freeze()
    story.more_outcomes(1)  # of the head's worker
    thaw(frozen)
    (story.seen / "hold").touch()  # until the new node is up
    story.wait(lambda: joined.find(faults.WORKER))
    joined.cut()
    (story.seen / "hold").unlink()
    story.more_outcomes(3)
    joined.heal()
    found = story.end()
    assert found.is_clean, found
    assert found.acknowledged > 60
    assert found.lost_attempts, found  # what the killed node trained was lost, and trained again


@needs_namespaces
def test_a_search_among_faults_of_every_kind_loses_and_doubles_nothing_and_ends_by_itself(
    cluster: Staged,
) -> None:
    folder, machines, disk = cluster
    kinds = [kind for kind in faults.FAULTS if kind != "kill head"]  # which has a test of its own
    tally = Chaos(folder, machines, disk, 8, options(samples=20, gap=(1.0, 2.0), only=kinds)).play(6)
    said = (folder / "driver-8.log").read_text(errors="replace")
    assert tally.is_complete, said
    assert tally.hands == [], said
    assert tally.findings.is_clean, tally
    assert tally.findings.acknowledged > 20


@needs_namespaces
def test_a_search_whose_head_dies_says_how_to_go_on_and_does_on_a_new_cluster_beside_a_node_that_hangs(
    cluster: Staged,
) -> None:
    folder, machines, disk = cluster
    story = Story(folder, machines, disk, "head", 0.2, samples=60)
    story.more_outcomes(3)
    for pid in faults.raylet(machines.head):
        send(pid, signal.SIGKILL)
    wait_for(lambda: story.driver.poll() is not None, saw=story.said)
    assert story.driver.returncode == 2, story.said()
    assert story.said().rstrip().endswith(f"go on with: raysearch resume {story.run}")
    assert "Traceback" not in story.said()
    before = story.outcomes()
    machines.environment = {"RAY_health_check_failure_threshold": "1000"}  # Ray itself gives no node up
    machines.replace_head(1)
    hangs = machines.add(2)
    frozen = [pid for pid in faults.raylet(hangs) if send(pid, signal.SIGSTOP)]
    story.begin("resume", story.run)
    story.more_outcomes(2)
    assert f"node {hangs.address} (" in story.said()
    assert "no worker is started there until it does" in story.said()
    (story.seen / "hold").touch()  # until the node is used
    thaw(frozen)
    story.wait(lambda: hangs.find(faults.WORKER))
    (story.seen / "hold").unlink()
    found = story.end()
    assert story.outcomes()[: len(before)] == before
    assert found.is_clean, found


@pytest.mark.skipif(not NO_NAMESPACES, reason="the nodes with addresses of their own say more")
def test_without_namespaces_nodes_of_one_address_are_killed_and_added(
    tmp_path: Path, start_process: Children
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        script = Path(__file__).with_name("driver.py")
        driver = start_process(sys.executable, script, tmp_path, "tune", cluster.address)
        node = cluster.add_node(num_cpus=2)
        journal = tmp_path / "run" / "journal"
        driver.wait_for(
            lambda: (tmp_path / "run" / "spec.yaml").exists() and len([*read_outcomes(journal)]) > 10
        )
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=2)
        driver.end()
    finally:
        cluster.shutdown()
    finals = [(row["trial"], row["ordinal"]) for row in read(journal) if row["status"] == "completed"]
    assert len(finals) == len(set(finals))
    assert {trial for trial, _ in finals} == set(range(60))
