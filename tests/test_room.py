"""What a worker takes of a cluster, and how many fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysearch.cluster import capacity as module
from raysearch.cluster.capacity import Resources, beyond, brought, fitting, resources_of, room, shares_of
from raysearch.cluster.node_health import Pulse
from raysearch.cluster.room_ahead import check_room, this_machine
from raysearch.errors import ClusterError
from raysearch.spec import Workers

NODE = {"CPU": 4.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("workers", "fit"),
    [
        (Workers(), 8),
        (Workers(cpu=0.5, gpu=0.25), 16),
        (Workers(cpu=3), 2),
        (Workers(gpu=2), 2),
        (Workers(gpu=4), 0),
        (Workers(accelerator_type="A100"), 0),
        (Workers(bundles=({"GPU": 1.0}, {"GPU": 1.0})), 2),
        (Workers(bundles=({"GPU": 2.0}, {"GPU": 2.0})), 1),
        (Workers(bundles=({"GPU": 2.0}, {"GPU": 2.0}), placement="STRICT_PACK"), 0),
        (Workers(bundles=({"CPU": 1.0},), placement="STRICT_SPREAD"), 4),
        (Workers(bundles=({"CPU": 1.0},) * 2, placement="STRICT_SPREAD"), 0),
        (Workers(bundles=({"CPU": 1.0},) * 2, placement="SPREAD"), 2),
        (Workers(processes=2, gpu=1), 2),
        (Workers(processes=3, gpu=1), 1),
        (Workers(processes=3, gpu=1, nodes=1), 0),
        (Workers(processes=4, gpu=1, nodes=2), 1),
        (Workers(processes=8, cpu=1, nodes=1), 0),
        (Workers(processes=8, cpu=1), 1),
        (Workers(train={"num_workers": 2, "resources_per_worker": {"GPU": 1.0}}), 2),
        (Workers(train={"num_workers": 4, "resources_per_worker": {"CPU": 1.0}}), 1),
    ],
)
def test_workers_that_fit_on_two_nodes_of_four_cpus_and_two_gpus(workers: Workers, fit: int) -> None:
    assert room([NODE, NODE], resources_of(workers)) == fit


def test_a_node_of_the_right_kind_has_room_for_as_many_as_its_other_resources_allow() -> None:
    worker = resources_of(Workers(gpu=0.5, accelerator_type="A100"))
    assert room([{**NODE, "accelerator_type:A100": 1.0}, NODE], worker) == 4


def test_what_a_nested_run_takes_is_left_free_and_not_reserved() -> None:
    train = {"num_workers": 2, "resources_per_worker": {"GPU": 1.0}}
    assert resources_of(Workers(train=train)).placement(Pulse()).bundles == [{"CPU": 1.0}]
    own = Workers(gpu=0.5, bundles=({"CPU": 1.0}, {"GPU": 1.0}), placement="SPREAD")
    placement = resources_of(own).placement(Pulse())
    assert placement.bundles == [{"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0}, {"GPU": 1.0}]
    assert placement.strategy == "SPREAD"


def test_the_process_of_a_worker_that_has_others_train_takes_nothing() -> None:
    placement = resources_of(Workers(processes=4, gpu=1, nodes=2)).placement(Pulse())
    assert placement.bundles == [{"CPU": 2.0, "GPU": 2.0}] * 2
    assert (placement.head_bundle_is_empty, placement.strategy) == (True, "STRICT_SPREAD")
    assert resources_of(Workers(processes=2)).placement(Pulse()).bundles == [{"CPU": 1.0}] * 2


def test_more_processes_than_any_placement_holds_are_said_with_what_there_is() -> None:
    machine = this_machine()
    with pytest.raises(ClusterError) as caught:
        check_room(Workers(processes=int(machine["CPU"]) + 1), None, local=True)
    assert str(caught.value).startswith(
        f"one worker needs {int(machine['CPU']) + 1} processes with 1 CPU each, and no placement can hold "
        f"them: there is one node, with {machine['CPU']:g} CPU. Lower `workers.processes`"
    )
    check_room(Workers(processes=int(machine["CPU"]) + 1, min=1), None, local=True)
    check_room(Workers(processes=1), None, local=True)


def test_a_share_in_words() -> None:
    assert resources_of(Workers(processes=2, gpu=1)).words() == "2 processes with 1 CPU, 1 GPU each"
    spread = resources_of(Workers(processes=4, gpu=1, cpu=2, nodes=2))
    assert spread.words() == "4 processes with 2 CPU, 1 GPU each, 2 on each of 2 nodes"
    assert resources_of(Workers(processes=2, nodes=1)).words() == "2 processes with 1 CPU each, on one node"
    train = {"num_workers": 4, "resources_per_worker": {"GPU": 1.0}}
    assert resources_of(Workers(train=train)).words() == "1 CPU, and beside it 4 times 1 GPU"
    assert resources_of(Workers(gpu=0.25, memory=4 * 10**9)).words() == "1 CPU, 0.25 GPU, 4 GB memory"
    assert resources_of(Workers(accelerator_type="T4")).words() == "1 CPU, an accelerator T4"


def test_shares_grow_as_long_as_a_node_has_them_and_gpus_above_one_are_whole() -> None:
    def gpus(workers: Workers, *nodes: dict[str, float]) -> list[float]:
        return [share.bundle()["GPU"] for share in shares_of(workers, nodes)]

    double = Workers(gpu=0.25, on_oom={"gpu": 2.0})
    assert gpus(double, NODE) == [0.25, 0.5, 1.0, 2.0]
    assert gpus(Workers(gpu=0.5, on_oom={"gpu": 1.5}), NODE) == [0.5, 0.75, 2.0]
    assert gpus(Workers(gpu=2, on_oom={"gpu": 2.0}), NODE) == [2.0]
    assert gpus(Workers(gpu=0.25), NODE) == [0.25]
    text = "the next share, 4 GPU, is more than any node has: the most is 2 GPU"
    assert beyond(double, shares_of(double, [NODE]), [NODE]) == text


def test_a_worker_may_take_nothing_but_its_bundles() -> None:
    assert resources_of(Workers(cpu=0)).is_nothing
    bundled = resources_of(Workers(cpu=0, bundles=({"GPU": 1.0},)))
    assert not bundled.is_nothing
    assert room([NODE], bundled) == 2
    assert isinstance(bundled, Resources)


def test_what_an_autoscaler_could_bring_is_read_from_the_file_that_the_launcher_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(module, "BOOTSTRAP", file)
    assert brought() == []
    with pytest.raises(ClusterError, match=r"needs 64 CPU, and no node has that.*say so with `workers.min`"):
        fitting(resources_of(Workers(cpu=64)))
    assert fitting(resources_of(Workers(cpu=64)), may_come=True) == 0
    file.write_text(
        "available_node_types:\n"
        "  head: {resources: {CPU: 128}, max_workers: 0}\n"
        "  big: {resources: {CPU: 96, GPU: 8}, max_workers: 4}\n"
    )
    assert brought() == [{"CPU": 96.0, "GPU": 8.0}]
    assert fitting(resources_of(Workers(cpu=64))) == 0
    with pytest.raises(ClusterError, match="needs 100 CPU"):
        fitting(resources_of(Workers(cpu=100)))
