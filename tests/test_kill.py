"""kill -9 at random moments: resume goes on, and nothing acknowledged is lost or counted twice."""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from raysearch.core.segment import Outcome, Status
from raysearch.storage.journal.reading import read_outcomes

DRIVER = Path(__file__).with_name("driver.py")
KILLS = 6


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def rows(storage: Path) -> list[Outcome]:
    run = storage / "run"
    return list(read_outcomes(run / "journal")) if (run / "spec.yaml").exists() else []


def finish(driver: subprocess.Popen[str]) -> None:
    said, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    assert said.endswith("complete\n")


def kill_at_random(driver: subprocess.Popen[str], storage: Path, rng: random.Random, more: int) -> None:
    """Waits for some more outcomes and a random moment, then kills the whole process group."""
    goal = len(rows(storage)) + rng.randint(0, more)
    while driver.poll() is None and len(rows(storage)) < goal:
        time.sleep(rng.uniform(0.0, 0.05))  # a random moment is what this test is about
    time.sleep(rng.uniform(0.0, 0.2))
    try:
        os.killpg(driver.pid, signal.SIGKILL)
    except ProcessLookupError:
        assert driver.poll() is not None
    driver.wait()


def told(outcome: Outcome) -> tuple[Any, ...]:
    """What an outcome says, without the times and names of one run."""
    return (outcome.segment, outcome.status, {k: list(v) for k, v in outcome.curve.items()}, outcome.done)


@pytest.mark.slow
def test_a_driver_killed_at_any_moment_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    rng = random.Random(1)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    finish(start(calm, "inline"))
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
    ray_cluster: None, tmp_path: Path
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    rng = random.Random(2)
    acknowledged: list[Outcome] = []
    for _ in range(2):
        kill_at_random(start(tmp_path, "tune", address), tmp_path, rng, 20)
        acknowledged = rows(tmp_path)
    finish(start(tmp_path, "tune", address))
    final = [o for o in rows(tmp_path) if o.status is not Status.LOST]
    assert rows(tmp_path)[: len(acknowledged)] == acknowledged
    counts = collections.Counter(o.segment.id for o in final)
    assert max(counts.values()) == 1
    assert {o.segment.trial for o in final} == set(range(60))
    assert all(o.segment.parent is None or o.segment.parent in counts for o in final)
