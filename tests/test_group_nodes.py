"""A worker whose processes lie on several nodes: placed there, and placed again when a node is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ranks
import yaml
from waiting import Children

from raysearch.core.segment import Status
from raysearch.storage.journal.reading import read_outcomes

pytestmark = [pytest.mark.slow, pytest.mark.own_cluster]


def test_processes_on_two_nodes_train_one_trial_and_a_lost_node_costs_a_segment(
    tmp_path: Path, start_process: Children
) -> None:
    from ray.cluster_utils import Cluster

    seen, spec = tmp_path / "seen", tmp_path / "search.yaml"
    seen.mkdir()
    (seen / "hold").touch()
    fields = {
        "name": "run",
        "storage": str(tmp_path),
        "trainable": f"{ranks.__file__}:function",
        "metric": "loss",
        "mode": "min",
        "space": {"lr": {"loguniform": [1e-3, 1e-1]}},
        "config": {"seen": str(seen)},
        "strategy": {
            "name": "caviar",
            "samples": 3,
            "max_iterations": 3,
            "min_iterations": 1,
            "finish": None,
        },
        "workers": {"count": 1, "processes": 2, "nodes": 2},
        "wandb": "off",
    }
    spec.write_text(yaml.safe_dump(fields))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        command = ["-m", "raysearch.cli", "launch", spec, "--address", cluster.address, "--skip-checks"]
        driver = start_process(sys.executable, *command)
        driver.wait_for(lambda: [*seen.glob("0-1-*")] and [*seen.glob("1-1-*")])
        assert {file.name for file in seen.glob("*-1-*")} == {"0-1-00", "1-1-10"}  # one rank on each node
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        (seen / "hold").unlink()
        driver.end()
        doctor = start_process(
            sys.executable, "-m", "raysearch.cli", "doctor", "--address", cluster.address, "--json"
        )
        assert "processes on all nodes can train together" in doctor.end()
    finally:
        cluster.shutdown()
    found = list(read_outcomes(tmp_path / "run" / "journal"))
    assert Status.LOST in {outcome.status for outcome in found}
    done = [outcome for outcome in found if outcome.status is Status.COMPLETED]
    assert {outcome.segment.stop for outcome in done} == {1, 3}
    assert {spread for outcome in done for spread in outcome.curve["spread"]} == {0.0}
