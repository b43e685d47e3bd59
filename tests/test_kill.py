"""kill -9 at random moments: resume goes on, and nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import collections
import functools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import driver
import pytest
from waiting import Child, Children, wait_for

from raysearch.core.segment import Outcome, Status
from raysearch.storage.journal.reading import read_outcomes

DRIVER = Path(__file__).with_name("driver.py")
KILLS = 3


@pytest.fixture
def start(start_process: Children) -> Callable[..., Child]:
    """Starts the driver with these arguments."""
    return functools.partial(start_process, sys.executable, DRIVER)


def rows(storage: Path) -> list[Outcome]:
    run = storage / "run"
    return list(read_outcomes(run / "journal")) if (run / "spec.yaml").exists() else []


def finish(driver: Child) -> None:
    assert driver.end().endswith("complete\n")


def kill_at_random(driver: Child, storage: Path, rng: random.Random, more: int) -> None:
    """Waits for some more outcomes and a random moment, then kills the whole process group."""
    goal = len(rows(storage)) + rng.randint(0, more)
    wait_for(lambda: len(rows(storage)) >= goal or not driver.is_running, saw=lambda: driver.said)
    time.sleep(rng.uniform(0.0, 0.2))  # a random moment is what this test is about
    driver.kill()


def told(outcome: Outcome) -> tuple[Any, ...]:
    """What an outcome says, without the times and names of one run."""
    return (outcome.segment, outcome.status, {k: list(v) for k, v in outcome.curve.items()}, outcome.done)


@pytest.mark.slow
def test_a_driver_killed_at_any_moment_goes_on_and_ends_as_if_it_had_not_been(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    rng = random.Random(1)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    driver.main(str(calm), "inline")
    acknowledged: list[Outcome] = []
    for _ in range(KILLS):
        kill_at_random(start(rough, "inline"), rough, rng, 12)
        now = rows(rough)
        assert now[: len(acknowledged)] == acknowledged
        acknowledged = now
    finish(start(rough, "inline"))
    assert rows(rough)[: len(acknowledged)] == acknowledged
    assert [told(o) for o in rows(rough)] == [told(o) for o in rows(calm)]


@pytest.mark.slow
def test_a_killed_driver_of_a_cluster_goes_on_with_every_acknowledged_outcome(
    ray_cluster: None, start: Callable[..., Child], tmp_path: Path
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    rng = random.Random(2)
    kill_at_random(start(tmp_path, "tune", address), tmp_path, rng, 20)
    acknowledged = rows(tmp_path)
    finish(start(tmp_path, "tune", address))
    final = [o for o in rows(tmp_path) if o.status is not Status.LOST]
    assert rows(tmp_path)[: len(acknowledged)] == acknowledged
    counts = collections.Counter(o.segment.id for o in final)
    assert max(counts.values()) == 1
    assert {o.segment.trial for o in final} == set(range(60))
    assert all(o.segment.parent is None or o.segment.parent in counts for o in final)
