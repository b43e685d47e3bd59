"""What is imported ahead of a search's first outcome, and the phases that `bench startup --profile` shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from raysearch.bench.startup import BAR, bars
from raysearch.cluster.connect import connected
from raysearch.executors.tune import warm_up
from raysearch.spec.workers import Workers
from raysearch.storage import marks
from raysearch.storage.marks import Phase, mark, phases


def test_a_connection_that_was_there_is_no_new_cluster(ray_cluster: None) -> None:
    with connected(None, local=True) as is_new:
        assert not is_new
    assert ray.is_initialized()


@pytest.mark.parametrize(
    ("workers", "count"),
    [
        (Workers(count=1), 1),
        (Workers(count=10**6, cpu=1), "all"),
        (Workers(count=1, gpu=1), 0),
        (Workers(count=1, cpu=0.5), 0),
        (Workers(count=1, resources={"lab": 1.0}), 0),
        (Workers(count=1, processes=2), 0),
    ],
)
def test_only_workers_of_whole_cpus_are_warmed_up_and_no_more_than_fit(
    ray_cluster: None, workers: Workers, count: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "import_here", lambda modules: None)  # how many is what is asked here
    cpus = int(ray.cluster_resources()["CPU"])
    assert warm_up.warm_up(workers) == (min(cpus, warm_up.MOST) if count == "all" else count)


def test_what_cannot_be_imported_ahead_fails_where_it_is_needed_and_not_there() -> None:
    code = (
        "import sys; from raysearch.executors.tune.warm_up import import_here\n"
        "import_here(['nowhere.at_all', 'wave'])\n"
        "print('wave' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_marks_are_written_where_they_are_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "marks"
    mark("before")
    monkeypatch.setattr(marks, "_FILE", str(file))
    mark("first")
    mark("second: with words")
    found = phases(file.read_text(encoding="utf-8").splitlines(), 0.0)
    assert [phase.point for phase in found] == ["first", "second: with words"]
    assert found[0].seconds == found[0].at
    assert found[1].seconds == found[1].at - found[0].at


def test_the_longest_phase_has_the_longest_bar() -> None:
    first, second = bars([Phase("up", 1.0, 1.0), Phase("there", 5.0, 4.0)])
    assert first == f"   1.00 s    1.00 s {'#' * (BAR // 4):<{BAR}} up"
    assert second == f"   5.00 s    4.00 s {'#' * BAR} there"
    assert bars([]) == []
