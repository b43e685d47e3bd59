"""Workers come and go on a real cluster, and what they trained is as if they had not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trainables
from test_tune import check_whole, outcomes, search
from waiting import Children

import raysearch
from raysearch.core.segment import Cause, Status
from raysearch.worker.preemption import ON_SIGTERM


def one_rung(samples: int, iterations: int) -> raysearch.Caviar:
    return raysearch.Caviar(
        samples=samples, max_iterations=iterations, min_iterations=iterations, sampler="sobol", finish=None
    )


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_told_to_go_saves_and_another_goes_on_from_there_with_the_same_numbers(
    storage: Path,
) -> None:
    marker = storage / "told"
    last: dict[str, Any] = {}
    search(
        trainables.Told,
        storage,
        "run",
        strategy=one_rung(4, 6),
        config={"marker": str(marker)},
        on_status=last.update,
    )
    rows = outcomes(storage, "run")
    check_whole(rows, 4)
    [lost] = [o for o in rows if o.status is Status.LOST]
    assert lost.cause is Cause.LEFT
    assert lost.error == f"its worker {ON_SIGTERM}; it goes on from iteration 3 of 6"
    [whole] = [o for o in rows if o.status is Status.COMPLETED and o.segment.id == lost.segment.id]
    assert lost.reached == 3
    assert whole.curve["steps"] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    rate = f"{lost.segment.config['rate']} "
    first = marker.with_suffix(f".{marker.read_text()}").read_text().splitlines()
    trained = [
        line
        for file in storage.glob("told.*")
        for line in file.read_text().splitlines()
        if line.startswith(rate)
    ]
    assert [line for line in first if line.startswith(rate)] == [f"{rate}{i}" for i in range(3)]
    assert sorted(trained) == [f"{rate}{i}" for i in range(6)]
    assert f"worker-{lost.worker.rpartition('-')[2]} {ON_SIGTERM}" in last["warnings"]

    search(trainables.Walk, storage, "undisturbed", strategy=one_rung(4, 6), workers=1, executor="inline")
    expected = {o.segment.id: o.curve for o in outcomes(storage, "undisturbed")}
    assert {o.segment.id: o.curve for o in rows if o.status is Status.COMPLETED} == expected


@pytest.mark.usefixtures("ray_cluster")
def test_trials_whose_memory_ran_out_end_well_on_bigger_workers(storage: Path) -> None:
    workers = {"count": 2, "cpu": 1, "on_oom": {"cpu": "x2"}}
    results = search(trainables.Hungry, storage, "run", 12, workers=workers, strategy=one_rung(12, 3))
    rows = outcomes(storage, "run")
    check_whole(rows, 12)
    assert {o.status for o in rows} == {Status.COMPLETED, Status.LOST}
    hungry = {o.segment.trial for o in rows if o.segment.config["rate"] > 0.7}
    lost = {o.segment.trial: o.error for o in rows if o.status is Status.LOST}
    assert {o.cause for o in rows} == {Cause.OTHER, Cause.SHARE_TOO_SMALL}
    assert hungry
    assert lost.keys() == hungry
    assert all(
        e.startswith("out of memory with 1 CPU, tried again with 2 CPU: MemoryError: 1 CPU")
        for e in lost.values()
    )
    assert len(results.trials()) == 12


@pytest.mark.usefixtures("ray_cluster")
def test_a_share_that_no_node_has_fails_the_trial_with_a_sentence_that_says_so(storage: Path) -> None:
    workers = {"count": 1, "cpu": 1, "on_oom": {"cpu": "x8"}}
    search(trainables.Hungry, storage, "run", 8, workers=workers, strategy=one_rung(8, 1), retries=3)
    failed = [o for o in outcomes(storage, "run") if o.status is not Status.COMPLETED]
    assert failed
    for outcome in failed:
        assert outcome.status is Status.FAILED
        assert outcome.error.startswith(
            "out of memory with 1 CPU, and the next share, 8 CPU, is more than any node has: the most is 4"
        )


@pytest.mark.slow
@pytest.mark.own_cluster
def test_nodes_join_leave_and_are_drained_and_nothing_is_an_error(
    tmp_path: Path, start_process: Children
) -> None:
    start_process(sys.executable, Path(__file__).with_name("elastic_story.py"), tmp_path).end()
    told = json.loads((tmp_path / "told.json").read_text())
    assert [text.partition(" ")[2] for text in told] == [
        "left with its node",
        "left its node, which is being drained",
    ]
    rows = outcomes(tmp_path, "run")
    assert {o.status for o in rows} == {Status.COMPLETED, Status.LOST}
    ended = [o.segment.id for o in rows if o.status is Status.COMPLETED]
    assert len(ended) == len({*ended})
    drained = next(o for o in rows if "is being drained" in o.error)
    assert drained.checkpoint is not None
    [whole] = [o for o in rows if o.segment.id == drained.segment.id and o.status is Status.COMPLETED]
    assert whole.curve["loss"][: drained.reached] == drained.curve["loss"]
    assert whole.curve["steps"] == [float(i) for i in range(1, 10)]
