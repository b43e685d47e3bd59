"""Searches whose workers are groups of processes: on Ray, from the first trial to the results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ranks
from test_python_use import search

import raysearch
from raysearch.core.segment import Status
from raysearch.storage.journal.reading import read_outcomes

SPACE = {"lr": {"loguniform": [1e-3, 1e-1]}}
WORKERS = {"count": 1, "processes": 2}


def searched(trainable: Any, storage: Path, **more: Any) -> raysearch.Results:
    """A search of three trials, of which one goes on."""
    return search(storage, trainable, **{"space": SPACE, "executor": "tune", "workers": WORKERS, **more})


def test_a_trial_of_two_processes_is_promoted_on_ray_in_the_processes_that_are_there(
    ray_cluster: None, storage: Path
) -> None:
    results = searched(ranks.Ddp, storage)
    curves = results.curves()
    assert curves.process.nunique() == 1
    assert set(results.trials().iterations) <= {1, 3}
    assert results.segments().start.max() == 1  # one went on from its checkpoint


def test_what_a_rank_that_died_was_training_is_given_out_again(
    ray_cluster: None, storage: Path, tmp_path: Path
) -> None:
    config = {"fault": "kill", "marker": str(tmp_path / "once"), "length": 3}
    results = searched(ranks.ddp, storage, config=config)
    found = list(read_outcomes(storage / "run" / "journal"))
    [lost] = [o for o in found if o.status is Status.LOST]
    assert lost.error.startswith("the process of rank 1 died")
    assert set(results.trials().iterations) <= {1, 3}
    assert results.segments().start.max() == 1  # one went on from its checkpoint
    assert all(map(math.isfinite, results.curves().loss))


def test_panda_nudges_forks_and_rolls_back_a_model_of_two_processes(storage: Path, tmp_path: Path) -> None:
    results = searched(
        ranks.function,
        storage,
        executor="inline",
        strategy=raysearch.Panda(max_iterations=12, interval=2),
        baseline={"lr": 0.01},
        config={"fault": "nan", "marker": str(tmp_path / "once")},
    )
    found = list(read_outcomes(storage / "run" / "journal"))
    [diverged] = [o.error for o in found if o.status is Status.DIVERGED]
    assert diverged == "rank 1: loss was nan at iteration 2"
    lineage, curves = results.lineage(), results.curves()
    assert lineage[lineage.on_path].reached.max() == 12
    assert "nudge" in set(lineage.event)
    assert curves["used.lr.first"].nunique() > 1
    assert curves.spread.dropna().eq(0).all(), "the ranks did not train with the same values"
